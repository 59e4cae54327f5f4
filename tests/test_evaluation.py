"""Scores of a segmenter on a data set."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassJaccardIndex,
)

from atrous.data import load_dataset
from atrous.evaluation import LeakWarning, describe_leak, evaluate
from atrous.labels import LabelSet, voc_palette
from atrous.metrics import (
    TRIMAP_BANDS_PX,
    boundary_counts,
    confusion_matrix,
    distance_to_boundary,
)
from atrous.models import create_model
from atrous.predict import Segmenter
from atrous.preprocess import Preprocess
from atrous.weights import Entry

NAMES = ("dark", "bright", "never")


@pytest.fixture
def dataset(tmp_path):
    rng = np.random.default_rng(0)
    for folder in ("images", "labels", "splits"):
        (tmp_path / folder).mkdir()
    for index, width in enumerate((20, 33)):
        image = rng.integers(0, 256, (17, width, 3), np.uint8)
        labels = rng.integers(0, 2, (17, width)).astype(np.uint8)
        labels[0] = 255
        Image.fromarray(image).save(tmp_path / f"images/{index}.png")
        Image.fromarray(labels).save(tmp_path / f"labels/{index}.png")
    (tmp_path / "splits/val.txt").write_text("0\n1\n")
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))
    return load_dataset("folder", tmp_path, split="val")


@pytest.fixture
def segmenter():
    torch.manual_seed(0)
    model = create_model("deeplabv2_resnet18", 3, head="conv1x1").eval()
    return Segmenter((model, entry(model, NAMES)))


def entry(model, names):
    return Entry(
        name="test",
        options=model.options,
        label_set=LabelSet(names, voc_palette(len(names))),
        preprocess=Preprocess(),
        crf=None,
        metrics={},
        licence="none",
        notice="",
        source="random",
        recipe="",
        date="2026-01-01",
        url=None,
        sha256=None,
        size_bytes=None,
    )


def test_a_report_counts_every_known_pixel_of_every_image(segmenter, dataset):
    report = evaluate(segmenter, dataset)
    expected = sum(
        confusion_matrix(s.labels, segmenter(s.image).labels, num_classes=3) for s in dataset
    )
    np.testing.assert_array_equal(report.confusion, expected)
    assert report.confusion.sum() == 16 * (20 + 33)
    assert (report.dataset, report.images, report.iou.shape) == ("folder/val", 2, (3,))
    assert 0 <= report.miou <= 1


def test_variants_are_scored_from_one_reading(segmenter, dataset):
    reads = []

    class Counting(type(dataset)):
        def __getitem__(self, index):
            reads.append(index)
            return super().__getitem__(index)

    counting = Counting(dataset.name, dataset.split, dataset.label_set, dataset.pairs)
    reports = evaluate(segmenter, counting, variants={"plain": {}, "flip": {"flip": True}})
    assert reads == [0, 1]
    assert list(reports) == ["plain", "flip"]
    np.testing.assert_array_equal(
        reports["plain"].confusion, evaluate(segmenter, dataset).confusion
    )
    flipped = evaluate(segmenter.with_options(flip=True), dataset)
    np.testing.assert_array_equal(reports["flip"].confusion, flipped.confusion)


def test_a_report_as_json_has_null_for_classes_that_do_not_occur(segmenter, dataset):
    report = evaluate(segmenter, dataset)
    report.confusion[2, :] = report.confusion[:, 2] = 0
    values = json.loads(report.to_json())
    assert values["iou"]["never"] is None
    assert values["miou"] == pytest.approx(report.miou)
    assert np.array(values["confusion"]).sum() == report.confusion.sum()


def test_progress_hears_of_every_image(segmenter, dataset):
    heard = []
    evaluate(segmenter, dataset, progress=lambda done, total: heard.append((done, total)))
    assert heard == [(1, 2), (2, 2)]


def test_weights_of_other_classes_are_refused(segmenter, dataset):
    other = Segmenter((segmenter.model, entry(segmenter.model, ("a", "b", "c"))))
    with pytest.raises(ValueError, match=r"the network's 3 classes \(a, b, c, …\).*folder \(dark"):
        evaluate(other, dataset)


def test_an_empty_data_set_is_refused(segmenter, dataset):
    with pytest.raises(ValueError, match="folder/val holds no images"):
        evaluate(segmenter, dataset[:0])


def test_an_unknown_variant_option_is_named(segmenter, dataset):
    with pytest.raises(ValueError, match="no option is called 'flipp'"):
        evaluate(segmenter, dataset, variants={"x": {"flipp": True}})


def test_a_report_scores_boundaries_and_bands(segmenter, dataset):
    report = evaluate(segmenter, dataset)
    assert list(report.trimap) == list(TRIMAP_BANDS_PX)
    # Every pixel of these small images lies near a boundary.
    assert report.trimap[40] == pytest.approx(report.miou)
    expected = sum(
        boundary_counts(s.labels, segmenter(s.image).labels, num_classes=3) for s in dataset
    )
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(report.boundary_iou, expected[0] / expected[1])
    values = json.loads(report.to_json())
    assert values["trimap"]["1"] == pytest.approx(report.trimap[1], abs=1e-6)
    assert values["boundary_iou"]["dark"] == pytest.approx(report.boundary_iou[0], abs=1e-6)
    assert values["frequency_weighted_iou"] == report.frequency_weighted_iou


def test_a_report_equals_torchmetrics_updated_image_by_image(segmenter, dataset):
    known = {"num_classes": 3, "ignore_index": 255}
    metrics = {
        "confusion": MulticlassConfusionMatrix(**known),
        "iou": MulticlassJaccardIndex(**known, average=None),
        "miou": MulticlassJaccardIndex(**known),
        "pixel_accuracy": MulticlassAccuracy(**known, average="micro"),
        "class_accuracy": MulticlassAccuracy(**known),
        "frequency_weighted_iou": MulticlassJaccardIndex(**known, average="weighted"),
    }
    bands = {band: MulticlassJaccardIndex(**known) for band in TRIMAP_BANDS_PX}
    for sample in dataset:
        predicted = torch.from_numpy(segmenter(sample.image).labels).long()
        truth = torch.from_numpy(sample.labels).long()
        for metric in metrics.values():
            metric.update(predicted, truth)
        distance = distance_to_boundary(sample.labels, farthest_px=40)
        for band, metric in bands.items():
            near = torch.from_numpy(distance < band)
            metric.update(predicted, truth.where(near, 255))
    report = evaluate(segmenter, dataset)
    for name, metric in metrics.items():
        expected = metric.compute().numpy()
        # torchmetrics has 0 where we have NaN: a class that is nowhere.
        np.testing.assert_allclose(np.nan_to_num(getattr(report, name)), expected, rtol=1e-6)
    for band, metric in bands.items():
        assert report.trimap[band] == pytest.approx(metric.compute().item())


def test_the_mean_boundary_iou_leaves_out_what_does_not_occur(segmenter, dataset):
    report = evaluate(segmenter, dataset)
    report.boundary[:, 2] = 0
    assert np.isnan(report.boundary_iou[2])
    assert report.mean_boundary_iou == pytest.approx(report.boundary_iou[:2].mean())
    report.boundary[:] = 0
    assert np.isnan(report.mean_boundary_iou)
    report.confusion[:] = 0

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    assert json.loads(report.to_json(), parse_constant=refuse)["miou"] is None


def test_scores_on_the_training_split_are_warned_about(segmenter, dataset):
    assert describe_leak(segmenter.entry, dataset) is None
    segmenter.entry = dataclasses.replace(segmenter.entry, trained_on=("folder/train",))
    assert describe_leak(segmenter.entry, dataset) is None
    segmenter.entry = dataclasses.replace(segmenter.entry, trained_on=("folder/val",))
    with pytest.warns(LeakWarning, match="test was trained on folder/val, if that was this folder"):
        evaluate(segmenter, dataset)
