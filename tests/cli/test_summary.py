"""`atrous summary`: a readable table, JSON, one line for a mistake."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from atrous.cli.summary import command


def run(*args: str) -> Result:
    return CliRunner().invoke(command, args)


def test_table_gathers_blocks_and_ends_with_the_totals() -> None:
    result = run("deeplabv2_resnet101", "--scales", "1,0.75,0.5")
    assert result.exit_code == 0, result.output
    row = next(line for line in result.output.splitlines() if "layer3.1-22" in line)
    assert row.split() == [
        "layer3.1-22",
        *("22", "x", "Bottleneck"),
        *("1024x65x65", "8", "2", "835", "24,578,048", "103.557"),
    ]
    assert "scale 0.75: image 385x385, scores 49x49, 107.3 GMAC" in result.output
    assert "scores 21x65x65, bilinear upsampling to 21x513x513" in result.output
    assert result.output.splitlines()[-1] == "44,048,532 parameters, 344.9 GMAC"


@pytest.mark.parametrize(
    "args",
    [
        ("deeplabv2_resnet101", "--layers", "--size", "2049x2049"),
        ("deeplabv2_efficientnet_lite0", "--layers", "--head", "aspp_concat"),
        ("deeplabv2_vgg16", "--layers", "--upsampling", "transposed"),
    ],
)
def test_longest_tables_fit_into_100_columns(args: tuple[str, ...]) -> None:
    output = run(*args).output
    assert max(map(len, output.splitlines())) <= 100
    assert "…" not in output


def test_layers_are_listed_on_request() -> None:
    output = run("deeplabv2_resnet18", "--layers", "--size", "65x65").output
    assert "layer1.0.bn2" in output
    assert "layer1.0.bn2" not in run("deeplabv2_resnet18", "--size", "65x65").output


def test_narrow_terminals_lose_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert "44,048,532 parameters" in run("deeplabv2_resnet101").output
    assert "…" not in run("deeplabv2_resnet101").output


def test_json_holds_every_number() -> None:
    result = run(
        *("deeplabv2_vgg16", "--classes", "3", "--size", "33x41", "--head", "largefov"),
        *("--output-stride", "16", "--upsampling", "transposed", "--json"),
    )
    summary = json.loads(result.output)
    assert summary["size_hw"] == [33, 41]
    assert summary["output_hw"] == [3, 3]
    assert summary["num_classes"] == 3
    assert summary["head"] == "largefov"
    assert summary["layers"][-1]["name"] == "learned_upsampling"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("deeplabv2_resnet102",), "did you mean deeplabv2_resnet101"),
        (
            ("deeplabv2_resnet18", "--head", "asp"),
            "'asp' is not one of 'aspp', 'aspp_s'",
        ),
        (("deeplabv2_resnet18", "--size", "513"), "'513' is not rows x columns such as 513x513"),
        (("deeplabv2_resnet18", "--size", "0x5"), "'0x5' is not rows x columns"),
        (("deeplabv2_resnet18", "--size", "-5x5"), "'-5x5' is not rows x columns"),
        (("deeplabv2_resnet18", "--scales", "0.5,1"), "give 1 first"),
        (("deeplabv2_resnet18", "--classes", "0"), "0 is not in the range x>=1"),
        (("deeplabv2_resnet18", "--output-stride", "4"), "'4' is not one of '8', '16'"),
        ((), "Missing argument 'NAME'"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(args: tuple[str, ...], message: str) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("Error:") == 1
