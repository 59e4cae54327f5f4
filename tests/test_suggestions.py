"""Unknown names bring up the similar ones, or all."""

from __future__ import annotations

from atrous.suggestions import did_you_mean


def test_similar_names_are_suggested() -> None:
    assert did_you_mean("scael", ["scale", "flip"]) == "; did you mean scale?"
    assert did_you_mean("voc201", ["voc2012", "voc2007", "ade20k"]) == (
        "; did you mean voc2012 or voc2007?"
    )


def test_without_similar_names_all_are_listed() -> None:
    assert did_you_mean("?", ["scale", "flip"]) == "; choose from scale, flip"


def test_without_names_nothing_is_said() -> None:
    assert did_you_mean("x", []) == ""


def test_what_is_not_text_is_compared_as_text() -> None:
    assert did_you_mean(10, ["101", "75"]) == "; did you mean 101?"
