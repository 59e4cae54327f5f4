"""The progress bar: a bar on a terminal, lines elsewhere, nothing when quiet."""

from __future__ import annotations

import io

import pytest

from atrous import progress
from atrous.progress import ProgressBar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that stands still until it is set."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")  # as in a terminal that can move its cursor
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    return Terminal()


def test_terminal_shows_label_count_and_rate(terminal: Terminal, clock: Clock) -> None:
    with ProgressBar(8, "[a].png", stream=terminal) as bar:
        clock.now = 2.0
        bar.advance()
        bar._bars.refresh()
    assert "[a].png" in terminal.getvalue()
    assert "1/8" in terminal.getvalue()
    assert "0.50 images/s" in terminal.getvalue()


def test_terminal_shows_text_and_lines_above_the_bar(terminal: Terminal) -> None:
    with ProgressBar(unit="", stream=terminal) as bar:
        bar.print("[1] resuming after iteration 30")
        bar.update(40, 100, text="loss 1.234  2.00 s/it")
        bar._bars.refresh()
    shown = terminal.getvalue()
    assert "[1] resuming after iteration 30\n" in shown.replace("\r", "")
    assert "40/100" in shown
    assert "loss 1.234  2.00 s/it" in shown


def test_bytes_are_shown_in_mb(terminal: Terminal, clock: Clock) -> None:
    with ProgressBar(label="downloading a", unit="bytes", stream=terminal) as bar:
        clock.now = 2.0
        bar.update(5_000_000, 10_000_000)
        bar._bars.refresh()
    assert "5.0/10.0 MB" in terminal.getvalue()
    assert "2.5 MB/s" in terminal.getvalue()


def test_a_line_is_written_every_ten_seconds_without_a_terminal(clock: Clock) -> None:
    stream = io.StringIO()
    with ProgressBar(100, stream=stream) as bar:
        for clock.now in (4.0, 9.0, 11.0, 20.0, 21.5):
            bar.advance()
    assert stream.getvalue().splitlines() == [
        "3 of 100, 0.27 images/s, 0:05:56 left",
        "5 of 100, 0.23 images/s, 0:06:48 left",
    ]


def test_lines_of_bytes_and_of_text(clock: Clock) -> None:
    stream = io.StringIO()
    with ProgressBar(label="a", unit="bytes", stream=stream) as bar:
        clock.now = 11.0
        bar.update(11_000_000, None)
        clock.now = 22.0
        bar.update(22_000_000, 33_000_000)
    with ProgressBar(9, unit="", stream=stream) as bar:
        clock.now = 40.0
        bar.update(3, text="loss 1.2")
    assert stream.getvalue().splitlines() == [
        "a: 11.0 MB, 1.0 MB/s",
        "a: 22.0 of 33.0 MB, 1.0 MB/s, 0:00:11 left",
        "3 of 9, loss 1.2",
    ]


def test_each_stage_has_its_own_rate(clock: Clock) -> None:
    stream = io.StringIO()
    with ProgressBar(stream=stream) as bar:
        for stage, now in (("round 1", 0.0), ("round 1", 100.0), ("report", 300.0)):
            clock.now = now
            bar.update_stage(stage, 1, 10)
            clock.now += 20.0
            bar.update_stage(stage, 2, 10)
    assert stream.getvalue().splitlines() == [
        "round 1: 2 of 10, 0.10 images/s, 0:01:20 left",
        "round 1: 2 of 10, 0.10 images/s, 0:01:20 left",
        "report: 2 of 10, 0.10 images/s, 0:01:20 left",
    ]


def test_quiet_shows_nothing(terminal: Terminal, clock: Clock) -> None:
    with ProgressBar(2, stream=terminal, is_quiet=True) as bar:
        clock.now = 60.0
        bar.advance()
        bar.print("done")
    assert terminal.getvalue() == ""


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(
    terminal: Terminal, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with ProgressBar(8, stream=terminal) as bar:
        clock.now = 11.0
        bar.advance()
    assert terminal.getvalue() == "1 of 8, 0.09 images/s, 0:01:17 left\n"
