"""`atrous convert` from the command line to a file that `load_model` takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from atrous.cli.convert import DATASETS
from atrous.cli.main import main
from atrous.network_options import NetworkOptions
from atrous.weights import load_model
from atrous.weights.checkpoint import empty_model
from atrous.weights.convert.classes import LABEL_SETS


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["convert", *map(str, arguments)])


@pytest.fixture(scope="module")
def isht7_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a VOC network under isht7's names."""
    model = empty_model(NetworkOptions(name="deeplabv2_resnet50", num_classes=21, head="aspp"))
    state = {
        "Scale." + key.removeprefix("backbone.").replace("head.branches", "layer5.conv2d_list"):
            torch.zeros_like(value)
        for key, value in model.state_dict().items()
    }  # fmt: skip
    path = tmp_path_factory.mktemp("foreign") / "voc.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def backbone_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = empty_model(NetworkOptions(name="deeplabv2_resnet18", num_classes=2))
    state = {key: torch.zeros_like(value) for key, value in model.backbone.state_dict().items()}
    path = tmp_path_factory.mktemp("foreign") / "resnet18.pth"
    torch.save(state, path)
    return path


def test_network_is_written_with_its_classes_and_licence(isht7_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "mine.safetensors"
    result = run(isht7_file, "-o", output, "--dataset", "voc", "--licence", "MIT", "--half")
    assert result.exit_code == 0, result.output
    model, entry = load_model(output)
    assert model.num_classes == 21
    assert entry.name == "mine"
    assert entry.label_set.names[15] == "person"
    assert (entry.licence, entry.notice) == ("MIT", "")
    assert entry.source == "voc.pth, of isht7/pytorch-deeplab-resnet"
    assert entry.crf is not None
    assert not entry.use_crf
    assert output.stat().st_size < 60e6  # 31 million parameters in two bytes each
    assert "isht7/pytorch-deeplab-resnet" in result.output
    assert "stride_in_1x1=True" in result.output
    assert "BGR minus (104.008, 116.669, 122.675); padding mean_to_8k1" in result.output
    assert f"next: atrous segment IMAGE -o OUTPUT --weights {output}" in result.output


def test_backbone_gets_a_head_for_the_named_classes(backbone_file: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("cat\n\n dog \nStraße\n", encoding="utf-8")
    output = tmp_path / "net.safetensors"
    result = run(backbone_file, "-o", output, "--classes", names, "--rates", "2,4")
    assert result.exit_code == 0, result.output
    model, entry = load_model(output)
    assert entry.label_set.names == ("cat", "dog", "Straße")
    assert model.atrous_rates == (2, 4)
    assert entry.licence == "unknown"
    assert "terms" in entry.notice
    assert "head for 3 classes is new" in result.output
    assert f'next: train its head; in a recipe: init = "{output}"' in result.output


def test_classes_without_names_are_numbered(backbone_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "net.safetensors"
    result = run(backbone_file, "-o", output)
    assert result.exit_code == 0, result.output
    assert load_model(output)[1].label_set.names[:2] == ("class 0", "class 1")
    assert "classes are numbered; name them with --classes or --dataset" in result.output


def test_offered_data_sets_are_those_that_are_known() -> None:
    assert set(DATASETS) == set(LABEL_SETS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "x.pth"], "x.pth must end in .safetensors"),
        ([], "Missing option '-o'"),
        (["-o", "x.safetensors", "--rates", "six"], "'six' is not a list of whole numbers"),
        (["-o", "x.safetensors", "--rates", "6,0"], "'6,0' is not a list of whole numbers"),
        (["-o", "x.safetensors", "--dataset", "mars"], "'mars' is not one of"),
        (
            ["-o", "x.safetensors", "--dataset", "voc", "--classes", "a"],
            "--classes and --dataset both name the classes",
        ),
    ],
)
def test_wrong_usage_ends_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("net.pth", *arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert not list(tmp_path.iterdir())


def failure(result: Result) -> str:
    """Return the one line of a failed command."""
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1
    return result.output


def test_failures_are_one_line_and_leave_nothing(isht7_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.safetensors"
    assert "gone.pth does not exist" in failure(run(tmp_path / "gone.pth", "-o", output))
    wrong_count = failure(run(isht7_file, "-o", output, "--dataset", "cityscapes"))
    assert "scores 21 classes, but 19 are asked for" in wrong_count
    nowhere = failure(run(isht7_file, "-o", tmp_path / "nowhere" / "out.safetensors"))
    assert "nowhere is not a folder; create it first" in nowhere
    names = tmp_path / "names.txt"
    assert "names.txt" in failure(run(isht7_file, "-o", output, "--classes", names))
    names.write_text("\n")
    assert "is empty" in failure(run(isht7_file, "-o", output, "--classes", names))
    assert [path.name for path in tmp_path.iterdir()] == ["names.txt"]


def test_text_file_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "notes.pth"
    path.write_text("remember the milk")
    assert "notes.pth" in failure(run(path, "-o", tmp_path / "out.safetensors"))
