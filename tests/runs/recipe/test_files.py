"""Reading a recipe: what YAML means, and how presets and overrides merge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kerf.runs.recipe.files import load_recipe, merge
from kerf.runs.recipe.plain_yaml import parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E+3", 1000.0),
        (".5", 0.5),
        ("2.", 2.0),
        ("-3", -3),
        ("010", 10),
        ("true", True),
        ("null", None),
        ("~", None),
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("0x1F", "0x1F"),
        ("2024-01-01", "2024-01-01"),
        ("'1e-3'", "1e-3"),
        ("=", "="),
        ("<<", "<<"),
    ],
)
def test_scalars_mean_what_yaml_1_2_says(text, value):
    got = parse(f"field: {text}", "test")["field"]
    assert got == value
    assert type(got) is type(value)


def test_small_numbers_in_scientific_notation_are_numbers(write):
    path = Path(write())
    path.write_text(path.read_text() + "training:\n  learning_rate: 1e-5\n")
    recipe = load_recipe(str(path), sets=["training.reward_scale=1e-1"])
    assert (recipe.training.learning_rate, recipe.training.reward_scale) == (1e-5, 0.1)


# ---- presets and overrides


@pytest.mark.parametrize(
    ("base", "patch", "merged"),
    [  # the examples of RFC 7396, appendix A, that are objects
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merging_is_rfc_7396(base, patch, merged):
    before = json.dumps([base, patch])
    assert merge(base, patch) == merged
    assert json.dumps([base, patch]) == before


def test_file_preset_set_and_seeds_win_in_this_order(write):
    path = write({"penalty": 1, "iterations": 2, "presets": {"p": {"penalty": 3, "iterations": 4, "seeds": 5}}})
    assert load_recipe(path, "p", ["penalty=6", "penalty=7", "seeds=8"], 9) == load_recipe(
        path, sets=["penalty=7", "iterations=4", "seeds=9"]
    )


def test_an_arm_whose_name_holds_a_dot_can_be_set(write):
    file = write({"arms": {"exposure-0.5": {"kind": "exposure", "strength": 0.5}}})
    recipe = load_recipe(file, sets=["arms.exposure-0.5.strength=0.25"])
    assert recipe.arms["exposure-0.5"].strength == 0.25
    assert len(recipe.arms) == len(load_recipe(file).arms)


def test_a_file_wins_only_where_no_built_in_recipe_has_its_name(write, monkeypatch, tmp_path):
    write()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "turner").write_text("name: other")
    assert load_recipe("turner").name == "turner"
    assert load_recipe("toy.yaml").name == "toy"
