"""The command group: help without heavy imports, near names, one line for a failure."""

from __future__ import annotations

import errno
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable

import click
import pytest
from click.testing import CliRunner, Result

from atrous.cli import main as cli
from atrous.cli.main import COMMANDS, main
from atrous.errors import InputError, MissingPackageError

Load = Callable[[str], set[str]]

HEAVY = ("torch", "numpy", "PIL", "matplotlib", "rich", "safetensors")


def run(*args: str) -> Result:
    return CliRunner().invoke(main, args)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], Result]:
    """Run a command that raises what it is given."""

    def run_and_raise(error: BaseException) -> Result:
        @click.command
        def command() -> None:
            raise error

        module = types.ModuleType("atrous.cli.failing")
        module.command = command  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(COMMANDS, "failing", (module.__name__, "Fail."))
        return run("failing")

    return run_and_raise


@pytest.mark.parametrize("name", COMMANDS)
def test_every_listed_command_exists(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert isinstance(command, click.Command)
    assert command.help


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("Usage:")


def test_help_lists_every_command_with_its_summary() -> None:
    output = run("--help").output
    for name, (_, text) in COMMANDS.items():
        assert f"  {name} " in output
        assert text in output


def test_help_loads_no_heavy_module(loaded_modules: Load) -> None:
    code = """
from atrous.cli.main import main
main(["--help"], standalone_mode=False)
"""
    loaded = loaded_modules(code)
    assert "click" in loaded
    assert not loaded & set(HEAVY)
    assert not {name for name in loaded if name.startswith("atrous.cli.")} - {"atrous.cli.main"}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_help_loads_no_torch(name: str, loaded_modules: Load) -> None:
    code = f"""
from atrous.cli.main import main
main([{name!r}, "--help"], standalone_mode=False)
"""
    assert not loaded_modules(code) & {"torch", "numpy", "matplotlib", "atrous_crf.kernel"}


def test_version_is_the_packages() -> None:
    import atrous

    result = run("--version")
    assert result.output.strip() == f"atrous, version {atrous.__version__}"


def test_python_m_atrous_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "atrous", "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("Usage: python -m atrous")


def test_unknown_command_names_the_near_one() -> None:
    result = run("segmnet", "photo.jpg")
    assert result.exit_code == 2
    assert "no command is called 'segmnet'; did you mean segment?" in result.output


def test_unknown_command_without_a_near_one_lists_them_all() -> None:
    result = run("xyzzy")
    assert result.exit_code == 2
    assert ", ".join(COMMANDS) in result.output


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("scales is ();\n  give 1 first"), "Error: scales is (); give 1 first"),
        (FileNotFoundError(2, "No such file or directory", "a.jpg"), "Error: a.jpg: No such file"),
        (PermissionError(13, "Permission denied", b"out"), "Error: out: Permission denied"),
        (FileExistsError(17, "File exists", "out"), "Error: out: File exists; a folder is needed"),
        (FileNotFoundError("a.jpg does not exist"), "Error: a.jpg does not exist"),
        (OSError(), "Error: OSError"),
        (MemoryError("the photo is too large"), "Error: the photo is too large"),
        (MissingPackageError("install atrous[plot]"), "Error: install atrous[plot]"),
    ],
)
def test_failure_is_one_line_and_status_1(
    failing: Callable[[BaseException], Result], error: Exception, line: str
) -> None:
    result = failing(error)
    assert result.exit_code == 1
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("error", [ValueError("no"), ImportError("no"), AssertionError("no")])
def test_bugs_keep_their_traceback_and_ask_for_a_report(
    failing: Callable[[BaseException], Result], error: Exception
) -> None:
    result = failing(error)
    assert result.exception is error
    assert error.__notes__ == [cli.BUG_NOTICE]
    assert result.exit_code == 1


def test_a_users_terminal_shows_traceback_and_notice_of_a_bug() -> None:
    code = """
import sys
from atrous import image_io
from atrous.cli.main import main

def fail(*_):
    raise ValueError("a bug")

image_io.write_image = fail
main(["demo", "-o", sys.argv[1]])
"""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", code, folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):")
    assert "ValueError: a bug\n\nThis is a bug in atrous. Please report it" in done.stderr


def test_debug_variable_keeps_the_traceback(
    failing: Callable[[BaseException], Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cli.DEBUG_VARIABLE, "1")
    result = failing(InputError("where from?"))
    assert isinstance(result.exception, InputError)


def test_interrupt_is_status_130(failing: Callable[[BaseException], Result]) -> None:
    result = failing(KeyboardInterrupt())
    assert result.exit_code == 130
    assert result.stderr == "Interrupted.\n"


def test_reader_that_has_gone_is_not_reported(failing: Callable[[BaseException], Result]) -> None:
    result = failing(BrokenPipeError(errno.EPIPE, "Broken pipe"))
    assert result.exit_code == 1
    assert result.stderr == ""


def test_usage_error_is_status_2(failing: Callable[[BaseException], Result]) -> None:
    result = failing(click.UsageError("--scales takes numbers"))
    assert result.exit_code == 2
    assert "Error: --scales takes numbers" in result.stderr
