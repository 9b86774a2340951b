"""The recipe is one that Kerf takes, and its arms come to what its comments say."""

from __future__ import annotations

import subprocess
import sys

from click.testing import CliRunner
from kerf_example_late import RECIPE

from kerf.runs.cli import main
from kerf.runs.recipe.arms import before
from kerf.runs.recipe.files import load_recipe


def test_the_arms_come_to_what_they_are_for():
    arms = load_recipe(str(RECIPE)).resolve()
    assert [arm.name for arm in before(arms, "late")] == ["exposure"]
    assert arms["late"].penalty == arms["penalised"].penalty == 10
    assert (arms["half"].adversarial_share, arms["half"].kind, arms["half"].penalty) == (0.5, "mixed", 10)
    assert (arms["held"].training.anchor_coeff, arms["held"].adversarial_share) == (0.1, 0.75)
    assert arms["sign_flip"].signed_penalty == -10


def test_kerf_check_shows_them():
    done = CliRunner().invoke(main, ["check", str(RECIPE), "--preset", "quick"])
    assert done.exit_code == 0, done.output
    assert "control  continued" in done.output
    assert "half-protects" in done.output


def test_the_package_says_where_the_recipe_is():
    done = subprocess.run([sys.executable, "-m", "kerf_example_late"], cwd=RECIPE.parents[1], capture_output=True)
    assert done.stdout.decode().strip() == str(RECIPE)
