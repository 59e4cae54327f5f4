"""`python -m atrous_crf.pydensecrf SCRIPT ARGS...`: run an unchanged script on this package."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

from . import install_as_pydensecrf

USAGE = "usage: python -m atrous_crf.pydensecrf SCRIPT [ARGUMENTS...]"


def run_script(script: str, arguments: list[str]) -> None:
    """Run a script as `python SCRIPT ARGUMENTS...` would, with this package as `pydensecrf`."""
    # Worker processes that are spawned, not forked, start with an empty sys.modules but inherit
    # sys.path. The module in this folder installs this package as `pydensecrf` there as well.
    sys.path[:1] = [str(Path(script).resolve().parent), str(Path(__file__).with_name("stand_in"))]
    sys.argv = [script, *arguments]
    install_as_pydensecrf()
    path = Path.cwd() / script  # python does not resolve `..` in __file__ either
    code = compile(path.read_bytes(), str(path), "exec")
    script_module = ModuleType("__main__")
    script_module.__file__ = str(path)
    sys.modules["__main__"] = script_module
    exec(code, script_module.__dict__)


def main() -> None:
    """Run the script that the command line names."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(USAGE)
        raise SystemExit(0 if len(sys.argv) > 1 else 2)
    if not Path(sys.argv[1]).is_file():
        print(f"{sys.argv[1]} does not exist; {USAGE}", file=sys.stderr)
        raise SystemExit(2)
    run_script(sys.argv[1], sys.argv[2:])


if __name__ == "__main__":
    main()
