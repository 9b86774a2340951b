"""Variants: one recipe, several studies."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from kerf.lab.errors import KerfError
from kerf.runs.cli import main
from kerf.runs.recipe.files import load_recipe, load_recipes, read_recipe
from kerf.runs.recipe.model import recipe_hash
from kerf.runs.report.across import where_verdicts_differ

VARIANTS = {"soft": {"penalty": 1}, "hard": {"penalty": 20, "arms": {"frozen": None}}}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "two.yaml"
    path.write_text(
        yaml.safe_dump(read_recipe("smoke") | {"variants": VARIANTS, "presets": {"p": {"seeds": 1}}}, sort_keys=False)
    )
    return path


def test_each_variant_is_a_recipe_of_its_own(file):
    loaded = load_recipes(str(file))
    assert list(loaded) == ["soft", "hard"]
    assert [recipe.name for recipe in loaded.values()] == ["smoke-soft", "smoke-hard"]
    assert [recipe.penalty for recipe in loaded.values()] == [1.0, 20.0]
    assert "frozen" in loaded["soft"].arms
    assert "frozen" not in loaded["hard"].arms
    assert len({recipe_hash(recipe) for recipe in loaded.values()}) == 2


def test_presets_and_settings_lie_over_variants(file):
    assert [recipe.seeds for recipe in load_recipes(str(file), "p").values()] == [1, 1]
    assert [recipe.penalty for recipe in load_recipes(str(file), sets=["penalty=3"]).values()] == [3.0, 3.0]
    assert list(load_recipes(str(file), variant="hard")) == ["hard"]


def test_a_recipe_without_variants_stands_alone():
    assert list(load_recipes("smoke")) == [""]
    assert load_recipes("smoke")[""] == load_recipe("smoke")


@pytest.mark.parametrize(
    ("change", "asked", "why"),
    [
        ({}, {"variant": "sofd"}, "unknown variant 'sofd'; did you mean 'soft'?"),
        ({"variants": {"soft": {"penaltie": 1}}}, {}, "variants.soft: unknown field 'penaltie'"),
        ({"variants": {"soft": {"name": "x"}}}, {}, "a variant cannot change 'name'"),
        ({"variants": {"soft": 1}}, {}, "variants.soft must be a mapping"),
        ({"variants": []}, {}, "variants must be a mapping, got a list"),
        ({}, {"sets": ["variants.soft.penalty=1"]}, "variants are merged already"),
        ({"variants": {"a": {"penalty": 1}, "b": {"penalty": "much"}}}, {"variant": "a"}, "variants.b: penalty"),
    ],
)
def test_what_is_wrong_with_a_variant_is_said(file, change, asked, why):
    plain = yaml.safe_load(file.read_text()) | change
    file.write_text(yaml.safe_dump(plain))
    with pytest.raises(KerfError) as caught:
        load_recipes(str(file), **asked)
    assert why in str(caught.value)


def test_where_one_study_is_meant_several_are_refused(file):
    with pytest.raises(KerfError, match="several variants \\(soft, hard\\)"):
        load_recipe(str(file))


def test_check_shows_every_variant_and_its_folder(file, tmp_path):
    done = CliRunner().invoke(main, ["check", str(file), "--out", str(tmp_path / "both")])
    assert done.exit_code == 0, done.output
    assert str(tmp_path / "both" / "soft") in done.output.replace("\n", "")
    one = CliRunner().invoke(main, ["check", str(file), "--variant", "hard", "--out", str(tmp_path / "one")])
    assert "smoke-hard" in one.output
    assert "smoke-soft" not in one.output


@pytest.mark.slow
def test_all_variants_run_and_are_shown_next_to_each_other(tmp_path):
    file, out = tmp_path / "fast.yaml", tmp_path / "both"
    patch = {"seeds": 1, "iterations": 20, "arms": {"continued": {}, "penalised": {}}}
    plain = read_recipe("dilemma") | patch | {"variants": VARIANTS}
    plain["primaries"] = plain["primaries"][:1]
    file.write_text(yaml.safe_dump(plain, sort_keys=False))
    done = CliRunner().invoke(main, ["run", str(file), "--no-mlflow", "--out", str(out), "--workers", "1"])
    assert done.exit_code == 0, done.output
    for name in VARIANTS:
        assert (out / name / "table.txt").is_file()
    shown = done.output.partition("The variants next to each other")[2].splitlines()
    heads = [line.split() for line in shown if line.split()[1:] == ["soft", "hard"]]
    assert [head[0] for head in heads] == ["care"]
    assert sum(line.startswith("penalised ") for line in shown) == 2, "care and utility"


def test_where_a_conclusion_changes_is_said() -> None:
    found = {"a": {"p": "held", "q": "held"}, "b": {"p": "held", "q": "reversed"}, "c": {"q": "held"}}
    assert where_verdicts_differ(found) == [
        "p: held in all 2 variants",
        "q depends on the variant: held in a, c; reversed in b",
    ]
