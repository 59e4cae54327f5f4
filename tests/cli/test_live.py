"""The live line shows how far a run is, and lets other lines by."""

import io

import pytest
from rich.console import Console

from atrous.cli.live import LiveLine
from atrous.training.log import Progress


def test_the_line_says_how_long_still_and_what_it_waits_for(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("TERM", "xterm")  # as in a terminal that can move its cursor
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, color_system=None)
    with LiveLine(console) as line:
        line.say("[1] resuming after iteration 30")
        line.show(Progress(40, 100, loss=1.2345, seconds=2.0, data_wait=0.07))
        line.bars.refresh()
    shown = screen.getvalue()
    assert "[1] resuming after iteration 30\n" in shown.replace("\r", "")
    assert "40/100" in shown
    assert "loss 1.234  2.00 s/it, 7% of it for data  2 min 00 s left" in shown
