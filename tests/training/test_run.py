"""Whole runs on a small synthetic data set: learning, resuming, stopping, refusing."""

import dataclasses
import json
import os
import shutil
import signal

import numpy as np
import pytest
import torch
from PIL import Image

from atrous import Segmenter
from atrous.data import load_dataset
from atrous.evaluation import LeakWarning
from atrous.training import Recipe, train
from atrous.training.data import count_class_weights
from atrous.training.recipe import recipe_from_table
from atrous.training.run import Run
from atrous.weights import load_model, read_weights, save_weights

pytestmark = pytest.mark.usefixtures("narrow_resnet18")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Photos whose left half is dark (class 0) and whose right half is bright (class 1)."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for folder in ("images", "labels", "splits"):
        (root / folder).mkdir()
    for index in range(6):
        image = rng.integers(0, 60, (40, 56, 3), np.uint8)
        image[:, 28:] += 180
        labels = np.zeros((40, 56), np.uint8)
        labels[:, 28:] = 1
        labels[:2] = 255
        Image.fromarray(image).save(root / f"images/p{index}.png")
        Image.fromarray(labels).save(root / f"labels/p{index}.png")
    (root / "splits/train.txt").write_text("\n".join(f"p{i}" for i in range(4)))
    (root / "splits/val.txt").write_text("p4\np5")
    return root


def recipe(root, **changes):
    table = {
        "name": "small",
        "data": {"dataset": "folder", "root": str(root), "workers": 0},
        "augment": {"crop_hw": (33, 33), "scales": (1.0,)},
        "network": {"name": "deeplabv2_resnet18", "head": "conv1x1"},
        "optimizer": {
            "kind": "adamw", "learning_rate": 2e-3, "iterations": 6, "batch_size": 2,
            "accumulate": 1, "freeze_bn": False, "ema_decay": 0.5,
        },
        "output": {"evaluate_every": 0, "checkpoint_every": 2, "log_every": 2},
    }  # fmt: skip
    for key, value in changes.items():
        table[key] = {**table.get(key, {}), **value} if isinstance(value, dict) else value
    return recipe_from_table(table)


def quiet(_text):
    pass


def weights_of(path):
    return load_model(path)[0].state_dict()


def assert_equal_weights(first, second):
    others = weights_of(second)
    for name, value in weights_of(first).items():
        assert torch.equal(value, others[name]), name


def test_a_run_writes_weights_with_their_scores_and_a_log(root, tmp_path):
    path = train(recipe(root), output=tmp_path, say=quiet)
    model, entry = load_model(path)
    assert model.num_classes == 2
    assert entry.metrics["folder/val"]["miou"] == pytest.approx(
        json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])["miou"], abs=1e-4
    )
    logged = [
        json.loads(line)["iteration"] for line in (tmp_path / "log.jsonl").read_text().splitlines()
    ]
    assert logged == [2, 4, 6, 6]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "best.safetensors", "checkpoint.pt", "environment.json", "evaluation.json",
        "files.json", "log.jsonl", "recipe.toml", "report.html", "small.safetensors",
    ]  # fmt: skip


def test_a_run_lists_its_images(root, tmp_path):
    train(recipe(root), output=tmp_path, say=quiet)
    assert json.loads((tmp_path / "files.json").read_text("utf-8")) == {
        "train": {"dataset": "folder/train", "images": ["p0", "p1", "p2", "p3"]},
        "val": {"dataset": "folder/val", "images": ["p4", "p5"]},
    }


def test_training_learns_what_is_easy(root, tmp_path):
    config = recipe(root, optimizer={"iterations": 60, "learning_rate": 5e-3, "ema_decay": 0.0})
    _, entry = load_model(train(config, output=tmp_path, say=quiet))
    assert entry.metrics["folder/val"]["miou"] > 0.65  # one class everywhere scores 0.25


def test_a_resumed_run_equals_an_unbroken_one(root, tmp_path):
    config = recipe(root)
    unbroken = train(config, output=tmp_path / "a", say=quiet)
    run = Run(config, tmp_path / "b", device="cpu", say=quiet)
    stop_after(run, 3)
    assert run.execute().name == "checkpoint.pt"
    resumed = train(config, output=tmp_path / "b", resume=True, say=quiet)
    assert_equal_weights(unbroken, resumed)


def test_a_resumed_run_draws_the_same_dropout(root, tmp_path):
    network = {"name": "deeplabv2_vgg16", "head": "largefov"}
    optimizer = {"kind": "sgd", "learning_rate": 1e-3, "ema_decay": 0.0}
    config = recipe(root, network=network, optimizer=optimizer)

    def fresh():
        return Run(config, tmp_path, device="cpu", say=quiet)

    unbroken = fresh()
    batches = unbroken.batches()
    expected = [unbroken.step(batches) for _ in range(2)]
    broken, resumed = fresh(), fresh()
    first = broken.step(broken.batches())
    resumed.load_state(broken.state())
    assert [first, resumed.step(resumed.batches())] == expected


def test_first_weights_are_remembered_and_not_needed_again(root, tmp_path):
    init = tmp_path / "init.safetensors"
    state, entry = read_weights(train(recipe(root), output=tmp_path / "first", say=quiet))
    entry = dataclasses.replace(entry, trained_on=("voc2012/trainval",))
    save_weights(init, state, entry, dtype=torch.float32)
    config = recipe(root, init=str(init))
    run = Run(config, tmp_path / "second", device="cpu", say=quiet)
    stop_after(run, 3)
    run.execute()
    init.unlink()
    path = train(config, output=tmp_path / "second", resume=True, say=quiet)
    assert load_model(path)[1].trained_on == ("voc2012/trainval", "folder/train")


def test_too_little_memory_is_one_line_that_says_what_to_do(root, tmp_path):
    run = Run(recipe(root), tmp_path, device="cpu", say=quiet)

    class Full(torch.nn.Module):
        def forward(self, *_batch, **_options):
            return torch.empty(2**50)  # what the allocator says of it is its own

    run.stepper.loss = Full()
    with pytest.raises(MemoryError, match=r"lower optimizer.batch_size"):
        run.execute()


def stop_after(run, iterations):
    """Send this process SIGTERM while the run takes its step number `iterations`."""
    step = run.step

    def step_and_signal(batches):
        loss = step(batches)
        if run.iteration == iterations:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss

    run.step = step_and_signal


def test_sigterm_saves_the_step_at_hand_and_says_how_to_go_on(root, tmp_path):
    said = []
    run = Run(recipe(root), tmp_path, device="cpu", say=said.append)
    stop_after(run, 3)
    run.execute()
    assert run.iteration == 3
    assert "--resume" in said[-1]
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["iteration"] == 3


@pytest.mark.parametrize("iteration", [4, 6])
def test_a_signal_while_the_network_is_scored_costs_no_step(root, tmp_path, monkeypatch, iteration):
    """Scoring is given up at once and done when the run goes on, between steps and at the end."""
    config = recipe(root, output={"evaluate_every": 2})
    whole = train(config, output=tmp_path / "whole", say=quiet)
    run, said = Run(config, tmp_path / "broken", device="cpu", say=quiet), []
    segment, scored = Segmenter.segment_variants, []

    def segment_and_signal(*arguments):
        if run.iteration == iteration:
            scored.append(iteration)
            os.kill(os.getpid(), signal.SIGTERM)
        return segment(*arguments)

    run.say = said.append
    monkeypatch.setattr(Segmenter, "segment_variants", segment_and_signal)
    assert run.execute() == run.checkpoint_path
    monkeypatch.undo()
    assert scored == [iteration]  # one of two images
    assert said[-1].startswith(f"stopped after iteration {iteration}; continue with --resume")
    state = torch.load(run.checkpoint_path, weights_only=True)
    assert state["iteration"] == iteration
    path = train(config, output=tmp_path / "broken", resume=True, say=quiet)
    for name in (path.name, "best.safetensors"):
        assert_equal_weights(whole.parent / name, path.parent / name)
    assert scores_of(whole.parent) == scores_of(path.parent)


def scores_of(folder):
    lines = map(json.loads, (folder / "log.jsonl").read_text("utf-8").splitlines())
    return [(line["iteration"], line.get("miou"), line.get("loss")) for line in lines]


def test_workers_and_accumulation_are_seen_by_the_stream_alone(root, tmp_path):
    """Two micro-batches of two are four samples a step, whoever reads them."""
    changes = {"optimizer": {"accumulate": 2, "iterations": 2}}
    first = train(recipe(root, **changes), output=tmp_path / "a", say=quiet)
    changes["data"] = {"workers": 2}
    second = train(recipe(root, **changes), output=tmp_path / "b", say=quiet)
    assert_equal_weights(first, second)


def test_coarse_iterations_run_at_stride_16_and_then_no_longer(root, tmp_path):
    run = Run(recipe(root, loss={"coarse_iterations": 2}), tmp_path, device="cpu", say=quiet)
    batches = run.batches()
    strides = []
    for _ in range(4):
        run.step(batches)
        strides.append(run.model.output_stride)
    assert strides == [16, 16, 8, 8]


def test_frozen_batch_norms_do_not_move(root, tmp_path):
    network = {"name": "deeplabv2_efficientnet_lite0"}
    config = recipe(root, network=network, optimizer={"freeze_bn": True, "frozen_stages": 2})
    run = Run(config, tmp_path, device="cpu", say=quiet)
    before = {k: v.clone() for k, v in run.model.state_dict().items()}
    run.step(run.batches())
    after = run.model.state_dict()
    still = {k for k in before if torch.equal(before[k], after[k])}
    assert {k for k in before if "_bn." in k or ".stem" in k or "stages.0" in k} <= still
    assert "head.branches.0.weight" not in still


def test_class_weights_favour_rare_classes_and_leave_the_mean_pixel_at_one(tmp_path):
    for folder in ("images", "labels", "splits"):
        (tmp_path / folder).mkdir()
    labels = np.zeros((10, 10), np.uint8)
    labels[0, :4], labels[9] = 1, 255  # 86 pixels of class 0, 4 of class 1, 10 unknown
    Image.fromarray(labels).save(tmp_path / "labels/a.png")
    Image.fromarray(np.zeros((10, 10, 3), np.uint8)).save(tmp_path / "images/a.png")
    (tmp_path / "splits/train.txt").write_text("a")
    (tmp_path / "classes.txt").write_text("often\nrarely")
    dataset = load_dataset("folder", tmp_path, split="train")
    assert count_class_weights(dataset, 0.0) is None
    often, rarely = count_class_weights(dataset, 0.5).tolist()
    assert rarely / often == pytest.approx((86 / 4) ** 0.5)
    assert (86 * often + 4 * rarely) / 90 == pytest.approx(1)


def test_the_weight_average_follows_closely_at_first(root, tmp_path):
    """Its decay is n / (n + 9) after step n, until that exceeds the recipe's."""
    config = recipe(root, optimizer={"ema_decay": 0.15})
    run = Run(config, tmp_path, device="cpu", say=quiet)
    name = "head.branches.0.weight"
    expected = run.model.state_dict()[name].clone()
    batches = run.batches()
    for decay in (1 / 10, 0.15, 0.15):  # 2 / 11 is more than 0.15
        run.step(batches)
        weight = run.model.state_dict()[name]
        assert not torch.allclose(weight, expected, atol=1e-4), "the step must move the weights"
        expected = decay * expected + (1 - decay) * weight
        torch.testing.assert_close(run.averaged_model.state_dict()[name], expected)


def test_a_used_folder_is_not_overwritten(root, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"")
    with pytest.raises(ValueError, match="already holds a run"):
        train(recipe(root), output=tmp_path, say=quiet)


def test_resuming_without_a_run_is_refused(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no run to resume"):
        train(recipe(root), output=tmp_path / "none", resume=True, say=quiet)
    assert not list(tmp_path.iterdir())


def test_a_run_killed_before_its_first_checkpoint_starts_from_scratch(root, tmp_path):
    said = []
    train(recipe(root), output=tmp_path, resume=True, say=said.append)
    assert said[0] == f"{tmp_path} holds no checkpoint; starting from scratch"
    assert (tmp_path / "small.safetensors").exists()


def test_a_run_that_cannot_start_leaves_no_folder(root, tmp_path):
    with pytest.raises(FileNotFoundError):
        train(recipe(root / "nowhere"), output=tmp_path / "run", say=quiet)
    assert not (tmp_path / "run").exists()


def test_a_damaged_checkpoint_is_named(root, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match=r"checkpoint.pt is not a readable checkpoint"):
        train(recipe(root), output=tmp_path, resume=True, say=quiet)


def test_resuming_with_another_recipe_names_the_difference(root, tmp_path):
    train(recipe(root), output=tmp_path, say=quiet)
    with pytest.raises(ValueError, match=r"optimizer.learning_rate = 0.002, the recipe has 0.1"):
        train(
            recipe(root, optimizer={"learning_rate": 0.1}), output=tmp_path, resume=True, say=quiet
        )


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(root, tmp_path):
    config = recipe(root)
    run = Run(config, tmp_path, device="cpu", say=quiet)
    step = run.step

    def break_at_3(batches):
        return float("nan") if run.iteration == 2 and step(batches) else step(batches)

    run.step = break_at_3
    with pytest.raises(FloatingPointError, match="the loss is nan at iteration 3"):
        run.execute()
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["iteration"] == 2


def test_an_image_in_both_splits_is_refused(root, tmp_path):
    config = recipe(root, data={"val_split": "train"})
    with pytest.raises(ValueError, match=r"4 image\(s\) are in both train and train"):
        train(config, output=tmp_path, say=quiet)


def test_weights_trained_on_trainval_carry_no_scores_of_val(root, tmp_path):
    (root / "splits/trainval.txt").write_text("\n".join(f"p{i}" for i in range(6)))
    config = recipe(root, data={"train_split": "trainval"}, optimizer={"iterations": 2})
    said = []
    with pytest.warns(LeakWarning, match="trained on folder/trainval, if that was this"):
        path = train(config, output=tmp_path, say=said.append)
    warned = [line for line in said if line.startswith("Warning: small was trained on folder/")]
    assert len(warned) == 1
    entry = load_model(path)[1]
    assert (entry.trained_on, entry.metrics) == (("folder/trainval",), {})


def copy_of(root, tmp_path, *, classes, first="p"):
    """The same data elsewhere, with other class names and names of images."""
    other = tmp_path / "other"
    for folder in ("images", "labels"):
        (other / folder).mkdir(parents=True)
        for path in (root / folder).iterdir():
            shutil.copy(path, other / folder / path.name.replace("p", first, 1))
    (other / "splits").mkdir()
    text = (root / "splits/val.txt").read_text().replace("p", first)
    (other / "splits/val.txt").write_text(text)
    (other / "classes.txt").write_text("\n".join(classes))
    return other


def test_scores_may_come_from_another_data_set(root, tmp_path):
    other = copy_of(root, tmp_path, classes=("0", "1"), first="q")
    config = recipe(root, data={"val_root": str(other)}, optimizer={"iterations": 1})
    run = Run(config, tmp_path / "run", device="cpu", say=quiet)
    assert [pair.name for pair in run.val_set.pairs] == ["q4", "q5"]
    assert run.train_set.pairs[0].image.parent == root / "images"


def test_a_data_set_to_score_needs_a_folder_and_the_same_classes(root, tmp_path):
    config = recipe(root, data={"val_dataset": "camvid"})
    with pytest.raises(ValueError, match="evaluates on camvid, .* give its folder with --val-data"):
        train(config, output=tmp_path, say=quiet)
    other = copy_of(root, tmp_path, classes=("0", "road"), first="q")
    config = recipe(root, data={"val_root": str(other)})
    with pytest.raises(ValueError, match="folder calls class 1 'road', not '1' as folder does"):
        train(config, output=tmp_path, say=quiet)
    (other / "classes.txt").write_text("0\n1\n2")
    with pytest.raises(ValueError, match="folder has 3 classes, not 2 as folder does"):
        train(config, output=tmp_path, say=quiet)


def test_a_recipe_without_data_asks_for_it(tmp_path):
    with pytest.raises(ValueError, match="give the data set's folder with --data"):
        train(Recipe("x"), output=tmp_path, say=quiet)


def test_learned_upsampling_learns(root, tmp_path):
    config = recipe(root, network={"upsampling": "transposed"}, loss={"at_pixels": True})
    run = Run(config, tmp_path, device="cpu", say=quiet)
    before = {n: p.clone() for n, p in run.model.named_parameters() if "learned_upsampling" in n}
    assert before
    run.step(run.batches())
    after = dict(run.model.named_parameters())
    assert all(not torch.equal(value, after[name]) for name, value in before.items())


def test_a_device_that_does_not_work_is_refused_at_once(root, tmp_path):
    with pytest.raises(ValueError, match="device 'nowhere' does not work here"):
        train(recipe(root), output=tmp_path, device="nowhere", say=quiet)


def test_coarse_rates_without_a_whole_number_are_refused_at_once(root, tmp_path):
    config = recipe(
        root, network={"head": "aspp", "atrous_rates": (3,)}, loss={"coarse_iterations": 2}
    )
    with pytest.raises(ValueError, match=r"\(3,\) at output stride 8 are not whole numbers"):
        train(config, output=tmp_path, say=quiet)


def test_a_run_that_ends_coarsely_still_gives_the_recipes_stride(root, tmp_path):
    config = recipe(root, loss={"coarse_iterations": 2}, optimizer={"iterations": 2})
    _, entry = load_model(train(config, output=tmp_path, say=quiet))
    assert entry.options["output_stride"] == 8


def test_the_best_weights_may_be_the_last_ones(root, tmp_path):
    final = train(recipe(root), output=tmp_path, say=quiet)
    assert_equal_weights(final, tmp_path / "best.safetensors")


def test_scores_of_several_scales_are_named_after_them(root, tmp_path):
    config = recipe(root, scales=(1.0, 0.5), optimizer={"iterations": 1})
    _, entry = load_model(train(config, output=tmp_path, say=quiet))
    assert list(entry.metrics) == ["folder/val scales 1.0, 0.5"]
