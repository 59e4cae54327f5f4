"""The command `atrous`: loads commands lazily and reports expected errors on one line.

A command is imported when it runs, not to print help: importing torch alone takes a second.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import click

from .. import __version__
from ..errors import EXPECTED_ERRORS
from ..suggestions import did_you_mean

# name -> module with `command`, one line of help; in the order in which a new user meets them
COMMANDS = {
    "demo": ("atrous.cli.demo", "Segment the photo that comes with the package."),
    "segment": ("atrous.cli.segment", "Segment photos and folders of photos."),
    "crf": ("atrous.cli.crf", "Refine any model's scores, or label masks, with the dense CRF."),
    "train": ("atrous.cli.train", "Train a network from a recipe."),
    "evaluate": ("atrous.cli.evaluate", "Score weights on a labelled data set."),
    "tune-crf": ("atrous.cli.tune_crf", "Find a network's CRF parameters, and what they gain."),
    "doctor": ("atrous.cli.doctor", "Say whether a data set on disk will train."),
    "weights": ("atrous.cli.weights", "List weights, their licences and where to get more."),
    "convert": (
        "atrous.cli.convert",
        "Turn other projects' weight files into this one's format.",
    ),
    "summary": ("atrous.cli.summary", "Print a network's layers, parameters and arithmetic."),
    "plot": ("atrous.cli.plot", "Draw a network's architecture."),
}

DEBUG_VARIABLE = "ATROUS_DEBUG"
BUG_NOTICE = (
    "\nThis is a bug in atrous. Please report it with this traceback, the command, and its input "
    "if you can share it."
)
CLICK_ERRORS = (click.ClickException, click.Abort, click.exceptions.Exit)
INTERRUPTED = 130  # what a shell reports for a process that Ctrl-C ended


class LazyGroup(click.Group):
    """A group whose commands live in modules of their own, imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return importlib.import_module(COMMANDS[cmd_name][0]).command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(
                f"no command is called {args[0]!r}{did_you_mean(args[0], COMMANDS)}", ctx
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; expected errors become one line and exit status 1, bugs a traceback."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # click ends quietly when the reader of a pipe has gone
        except EXPECTED_ERRORS as error:
            if os.environ.get(DEBUG_VARIABLE):
                raise
            raise click.ClickException(one_line(error)) from error
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(INTERRUPTED)
        except Exception as error:
            if not isinstance(error, CLICK_ERRORS):
                error.add_note(BUG_NOTICE)  # printed below the traceback
            raise


def one_line(error: Exception) -> str:
    """Say what an exception says, on one line; an error of the system names its file first."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        line = f"{os.fsdecode(error.filename)}: {error.strerror}"
        if isinstance(error, (FileExistsError, NotADirectoryError)):
            return f"{line}; a folder is needed there, so move that file or name another folder"
        return line
    return " ".join(str(error).split()) or type(error).__name__


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"Set {DEBUG_VARIABLE}=1 to see where in the program an error came from.",
)
@click.version_option(__version__, prog_name="atrous")
def main() -> None:
    """DeepLab v2: from a photo to a label for every pixel."""
