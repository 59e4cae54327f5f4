"""The log of a run, and times as people read them."""

import json
from pathlib import Path

import pytest

from atrous.training.log import RunLog, format_duration


def iterations(path):
    return [json.loads(line)["iteration"] for line in path.read_text().splitlines()]


def test_rewinding_drops_what_came_after_the_checkpoint(tmp_path):
    said = []
    log = RunLog(tmp_path / "log.jsonl", said.append)
    for iteration in (10, 20, 30):
        log.write(iteration, f"at {iteration}", loss=0.5)
    log.path.write_text(log.path.read_text() + '{"iteration": 40, "lo')  # a kill mid-line
    log.rewind(20, drop_scores=False)
    assert iterations(log.path) == [10, 20]
    assert said == ["at 10", "at 20", "at 30"]


def test_rewinding_drops_scores_that_follow_the_checkpoint(tmp_path):
    """They are logged after it and are made again; older ones are older than the checkpoint."""
    log = RunLog(tmp_path / "log.jsonl", lambda _: None)
    log.write(10, "", miou=0.1)
    log.write(20, "", loss=0.5)
    log.write(20, "", miou=0.2)
    log.rewind(20, drop_scores=True)
    assert iterations(log.path) == [10, 20]
    assert "miou" not in log.path.read_text().splitlines()[-1]


def test_rewinding_a_log_that_is_not_there_does_nothing(tmp_path):
    RunLog(tmp_path / "log.jsonl", print).rewind(5, drop_scores=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
def test_a_full_disk_is_said_with_the_files_name():
    with pytest.raises(OSError, match=r"/dev/full could not be written \(No space left"):
        RunLog(Path("/dev/full"), print).write(1, "", loss=1.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 00 s"), (95, "1 min 35 s"), (7380, "2 h 03 min")],
)
def test_durations_read_as_people_say_them(seconds, text):
    assert format_duration(seconds) == text
