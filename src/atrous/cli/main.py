"""The command `atrous`: loads commands lazily and reports expected errors on one line.

A command is imported when it runs, not to print help: importing torch alone takes a second.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import click

from .. import __version__
from ..errors import EXPECTED_ERRORS, one_line
from ..suggestions import did_you_mean

# Name -> module with `command`, one line of help; in the order in which users need them
COMMANDS = {
    "demo": ("atrous.cli.demo", "Segment the sample photo in the package."),
    "segment": ("atrous.cli.segment", "Segment images and folders of images."),
    "crf": ("atrous.cli.crf", "Refine any model's scores, or label masks, with the dense CRF."),
    "train": ("atrous.cli.train", "Train a network from a recipe."),
    "evaluate": ("atrous.cli.evaluate", "Score weights on a labelled data set."),
    "tune-crf": (
        "atrous.cli.tune_crf",
        "Search CRF parameters and measure the gain.",
    ),
    "split": ("atrous.cli.split", "Divide a folder of images and masks into train and val."),
    "doctor": ("atrous.cli.doctor", "Check whether a data set is ready for training."),
    "weights": ("atrous.cli.weights", "List available weights and their licences."),
    "convert": (
        "atrous.cli.convert",
        "Convert weight files of other projects.",
    ),
    "summary": ("atrous.cli.summary", "Print the layers, parameters and operations of a network."),
    "plot": ("atrous.cli.plot", "Draw the architecture of a network."),
}

DEBUG_VARIABLE = "ATROUS_DEBUG"
BUG_NOTICE = (
    "\nThis is a bug in atrous. Please report it with this traceback, the command, and its input "
    "if you can share it."
)
CLICK_ERRORS = (click.ClickException, click.Abort, click.exceptions.Exit)
INTERRUPTED = 130  # as a shell reports a process that Ctrl-C ended


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
            raise  # click ends quietly when the reader of a pipe is gone
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


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"Set {DEBUG_VARIABLE}=1 to see the traceback of every error.",
)
@click.version_option(__version__, prog_name="atrous")
def main() -> None:
    """DeepLab v2: from a photo to a label for every pixel."""
