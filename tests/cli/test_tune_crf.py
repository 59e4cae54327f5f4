"""`atrous tune-crf`: the table, the verdict and the weights that it writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from atrous.cli.main import main
from atrous.predict import Segmenter
from atrous.weights import read_weights, save_weights

from ..tune_crf.conftest import Case, noisy, segmenter, thin

__all__ = ["noisy", "segmenter", "thin"]  # fixtures


@pytest.fixture
def weights(segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "net.safetensors"
    save_weights(path, segmenter.model.state_dict(), segmenter.entry, dtype=torch.float16)
    return path


def run(case: Case, weights: Path, *args: object) -> Result:
    given = ["tune-crf", "folder", case.root, "--weights", weights, "--workers", 1]
    given += ["--probabilities", case.scores, "--search-images", 1, "--spatial-weight", 2]
    return CliRunner().invoke(main, [*map(str, given), *map(str, args)])


def test_the_best_parameters_go_into_a_copy_of_the_weights(noisy: Case, weights: Path) -> None:
    before = weights.read_bytes()
    result = run(noisy, weights, "-o", "out.safetensors")
    assert result.exit_code == 0, result.output
    assert "folder/val, 7 images that the search did not use" in result.output
    assert "within 3 px" in result.output
    assert "95 % intervals of 1000 resamples" in result.output
    assert "The CRF is on by default: on 7 images" in result.output
    assert "wrote out.safetensors" in result.output
    assert weights.read_bytes() == before
    (state, entry), (tuned_state, tuned) = map(read_weights, (weights, "out.safetensors"))
    assert tuned.use_crf
    assert tuned.crf is not None
    assert tuned.crf.spatial_weight == 2
    assert all(torch.equal(tuned_state[name], tensor) for name, tensor in state.items())
    assert tuned.label_set == entry.label_set
    # Half precision stays half precision.
    assert Path("out.safetensors").stat().st_size < 1.01 * len(before)
    again = run(noisy, weights, "-o", "out.safetensors")
    assert again.exit_code == 2
    assert "out.safetensors exists; choose another name or add --overwrite" in again.output


def test_where_it_does_not_help_the_crf_stays_off(thin: Case, weights: Path) -> None:
    result = run(thin, weights, "-o", weights, "--overwrite", "--work", "here")
    assert result.exit_code == 0, result.output
    assert "The CRF stays off by default: on 7 images" in result.output
    _, entry = read_weights(weights)
    assert not entry.use_crf
    assert entry.crf is not None
    assert (Path("here") / "report.json").is_file()


@pytest.mark.parametrize(
    ("args", "status", "says"),
    [
        (("-o", "out.pth"), 2, "out.pth: weights are written as .safetensors"),
        (("-o", "no/out.safetensors"), 1, "no is not a folder; create it first"),
        (("--report-images", "9"), 1, "1 images to search on and 9 to report on were asked for"),
        (("--split", "vall"), 1, "vall.txt does not exist; splits there: val"),
    ],
)
def test_wrong_usage_is_one_line(
    noisy: Case, weights: Path, args: tuple[str, ...], status: int, says: str
) -> None:
    result = run(noisy, weights, *args)
    assert result.exit_code == status
    assert says in result.output
    assert "Traceback" not in result.output


def test_ctrl_c_says_how_to_resume(
    noisy: Case, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("atrous.tune_crf.work.Work.score", interrupted)
    result = run(noisy, weights)
    assert result.exit_code == 130
    assert "Repeat the command to resume from tune-crf-drawn." in result.output
