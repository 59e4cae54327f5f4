"""Recipes: what is accepted, what is refused, and how it is said."""

import dataclasses
import importlib.util
import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from atrous.cli.main import main
from atrous.training import Recipe, load_recipe, train
from atrous.training.checkpoint import RENAMED_KEYS
from atrous.training.recipe import override, recipe_from_table
from atrous.training.run import Run
from atrous.weights import read_weights

GOLDEN = Path(__file__).parents[1] / "golden"
RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
SPEC = importlib.util.spec_from_file_location("trees", Path(__file__).with_name("trees.py"))
trees = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(trees)


def quiet(_text):
    pass


def write(tmp_path, text):
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return path


def test_defaults_are_the_papers(tmp_path):
    config = load_recipe(write(tmp_path, 'name = "x"'))
    assert config == Recipe("x")
    optimizer = config.optimizer
    assert (optimizer.learning_rate, optimizer.momentum, optimizer.weight_decay) == (
        2.5e-4,
        0.9,
        5e-4,
    )
    assert (optimizer.power, optimizer.iterations) == (0.9, 20_000)
    assert optimizer.batch_size * optimizer.accumulate == 10
    assert config.augment.crop_hw == (321, 321)
    assert config.augment.scales == (0.5, 0.75, 1.0, 1.25, 1.5)


def test_tables_fill_the_nested_values(tmp_path):
    text = """
        name = "x"
        [augment]
        crop_hw = [33, 41]
        scales = [1, 2.5]
        [optimizer]
        kind = "adamw"
    """
    config = load_recipe(write(tmp_path, text))
    assert config.augment.crop_hw == (33, 41)
    assert config.augment.scales == (1.0, 2.5)
    assert config.optimizer.kind == "adamw"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "x"\n[optimiser]\n', "unknown key 'optimiser'; did you mean optimizer"),
        ('name = "x"\n[optimizer]\nlr = 1.0', "unknown key 'optimizer.lr'"),
        ('name = "x"\n[optimizer]\nlearnin_rate = 1.0', "did you mean learning_rate"),
        ("seed = 1", "the key 'name' is missing"),
        ('name = "x"\nseed = "1"', "seed is '1'; it must be of type int"),
        ('name = "x"\nseed = true', "seed is True; it must be of type int"),
        ('name = "x"\noptimizer = 3', "optimizer is 3; it must be a table"),
        ('name = "x"\n[optimizer]\nkind = "adam"', "kind is 'adam'; it must be 'sgd' or 'adamw'"),
        ('name = "x"\n[augment]\ncrop_hw = [33]', "crop_hw has 1 items; it needs 2"),
        ('name = "x"\n[augment]\ncrop_hw = 33', "crop_hw is 33; it must be a list"),
        ('name = "x"\n[augment]\nscales = []', "scales has 0 items; it needs at least 1"),
        (
            'name = "x"\n[optimizer]\niterations = 0',
            "optimizer.iterations is 0; it must be above 0",
        ),
        ('name = "x"\n[data]\nworkers = -1', "data.workers is -1; it must be 0 or more"),
        ('name = "x"\n[augment]\ncrop_hw = [0, 33]', "must be above 0"),
        ('name = "x"\n[augment]\nscales = [1.0, -1.0]', "must be above 0"),
        ('name = "x"\n[network]\nupsampling = "transposed"', "set loss.at_pixels = true"),
        ('name = "x"\n[optimizer]\nema_decay = 1.0', "ema_decay is 1.0"),
        ('name = "x"\n[loss]\ncoarse_iterations = 30000', "30000, more than the 20000"),
        ("name = ", "not a TOML file"),
    ],
)
def test_what_does_not_belong_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        load_recipe(write(tmp_path, text))


def test_a_folder_instead_of_a_recipe_is_called_that(tmp_path):
    with pytest.raises(FileNotFoundError, match="is a folder; give a recipe file"):
        load_recipe(tmp_path)


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing.toml does not exist"):
        load_recipe(tmp_path / "nothing.toml")


def test_override_takes_toml_values_and_bare_words():
    config = Recipe("x")
    assert override(config, "optimizer.iterations=7").optimizer.iterations == 7
    assert override(config, "augment.scales=[1, 1.5]").augment.scales == (1.0, 1.5)
    assert override(config, "data.root=some/folder").data.root == "some/folder"


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("optimizer.iterations", "is not KEY=VALUE"),
        ("optimizer.iteration=3", "did you mean iterations"),
        ("optimiser.iterations=3", "did you mean optimizer"),
    ],
)
def test_override_refuses_what_does_not_exist(assignment, message):
    with pytest.raises(ValueError, match=message):
        override(Recipe("x"), assignment)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_loads_and_says_its_command_first(path):
    load_recipe(path)
    head = path.read_text().splitlines()[:8]
    assert f"atrous train recipes/{path.name}" in "\n".join(head)
    assert all(line.startswith("#") for line in head[:3])


def test_a_recipe_of_version_0_1_loads_as_the_present_one():
    old = load_recipe(GOLDEN / "recipe_0_1.toml")
    (present,) = [path for path in RECIPES if path.stem == "coco_stuff10k_resnet101"]
    assert old == load_recipe(present)
    assert override(old, "model.init=none") == override(old, "init=none")
    assert override(old, "model.init=none").init == "none"
    assert override(old, "model.padding=none").preprocess.padding == "none"


def test_an_unknown_key_of_the_table_model_is_refused(tmp_path):
    text = 'name = "x"\n[model]\noutput_strid = 8'
    with pytest.raises(ValueError, match=r"output_strid'; did you mean output_stride"):
        load_recipe(write(tmp_path, text))


def test_a_table_model_that_is_no_table_is_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown key 'model'"):
        load_recipe(write(tmp_path, 'name = "x"\nmodel = 3'))


def small_recipe(root):
    """The recipe of tests/golden/checkpoint_0_1.json, in the present tables."""
    optimizer = {
        "kind": "adamw", "learning_rate": 2e-3, "iterations": 6, "batch_size": 2,
        "accumulate": 1, "freeze_bn": False, "ema_decay": 0.5,
    }  # fmt: skip
    return recipe_from_table(
        {
            "name": "small",
            "data": {"dataset": "folder", "root": str(root), "workers": 0},
            "augment": {"crop_hw": [33, 33], "scales": [1.0]},
            "network": {"name": "deeplabv2_resnet18", "head": "conv1x1"},
            "optimizer": optimizer,
            "output": {"evaluate_every": 0, "checkpoint_every": 2, "log_every": 2},
        }
    )


@pytest.mark.usefixtures("narrow_resnet18")
def test_a_checkpoint_of_version_0_1_resumes(tmp_path):
    """checkpoint_0_1.json has the keys and the recipe as version 0.1 wrote them."""
    recipe = small_recipe(trees.write_tree(tmp_path / "data"))
    whole = train(recipe, output=tmp_path / "whole", say=quiet)
    run = Run(recipe, tmp_path / "broken", device="cpu", say=quiet)
    run.init_trained_on = ("voc2012/train",)
    batches = run.batches()
    for _ in range(4):
        run.step(batches)
    state = run.state()
    golden = json.loads((GOLDEN / "checkpoint_0_1.json").read_text())
    assert list(state) == [RENAMED_KEYS.get(key, key) for key in golden["keys"]]
    old = dict(zip(golden["keys"], state.values(), strict=True))
    old["config"] = golden["config"]
    old["config"]["data"]["root"] = str(tmp_path / "data")
    (tmp_path / "broken").mkdir()
    torch.save(old, tmp_path / "broken/checkpoint.pt")
    path = train(recipe, output=tmp_path / "broken", resume=True, say=quiet)
    trees.assert_same_weights(path, whole)
    assert read_weights(path)[1].trained_on == ("voc2012/train", "folder/train")


@pytest.mark.usefixtures("narrow_resnet18")
def test_a_number_of_classes_that_differs_from_the_data_set_is_refused(tmp_path):
    recipe = small_recipe(trees.write_tree(tmp_path / "data"))
    network = dataclasses.replace(recipe.network, num_classes=3)
    recipe = dataclasses.replace(recipe, network=network)
    with pytest.raises(ValueError, match="num_classes is 3 but the data set has 2 classes"):
        train(recipe, output=tmp_path / "run", say=quiet)


@pytest.mark.usefixtures("narrow_resnet18")
def test_data_may_lie_in_a_folder_with_odd_characters(tmp_path):
    root = trees.write_tree(tmp_path / 'it\'s "[a] = b\\c" # é\t')
    words = trees.command(root, tmp_path / "run", "optimizer.iterations=1", "data.workers=0")[3:]
    words += ["--set", "network.name=deeplabv2_resnet18"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    saved = load_recipe(tmp_path / "run/recipe.toml")
    assert saved.data.root == str(root)
