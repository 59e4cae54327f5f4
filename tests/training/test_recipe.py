"""Recipes: what is accepted, what is refused, and how it is said."""

from pathlib import Path

import pytest

from atrous.training import Recipe, load_recipe
from atrous.training.recipe import override

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


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
        ('name = "x"\n[model]\nupsampling = "transposed"', "set loss.at_pixels = true"),
        ('name = "x"\n[optimizer]\nema_decay = 1.0', "ema_decay is 1.0"),
        ('name = "x"\n[loss]\ncoarse_iterations = 30000', "30000, more than the 20000"),
        ("name = ", "not a TOML file"),
    ],
)
def test_what_does_not_belong_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        load_recipe(write(tmp_path, text))


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
