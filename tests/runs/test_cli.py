"""The command line: instant help, version, checking and listing recipes, default folders."""

from __future__ import annotations

import resource
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner

from kerf.runs.cli import main
from kerf.runs.recipe.files import load_recipe
from kerf.runs.recipe.folders import default_out
from kerf.runs.recipe.model import recipe_hash

KERF = Path(sys.executable).with_name("kerf")
HEAVY = {"ray", "torch", "mlflow", "pandas", "numba", "scipy", "numpy", "pyarrow", "pydantic", "rich"}


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["bench", "train", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(words):
    program = (
        "import sys\nfrom kerf.runs.cli import main\n"
        f"try:\n    main({words!r})\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print('LOADED', *({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=True)
    assert done.stdout.splitlines()[-1].split() == ["LOADED"]


def test_help_is_instant():
    """By its own processor time, whatever else the machine does meanwhile."""

    def seconds():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([KERF, "--help"], capture_output=True, timeout=240, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(5)) < 0.4


def test_the_version_is_the_distributions():
    result = CliRunner().invoke(main, ["--version"])
    assert result.output == f"kerf {version('kerf-lab')}\n"


def test_check_shows_what_a_recipe_comes_to_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["check", "turner", "--preset", "quick"])
    assert result.exit_code == 0, result.output
    recipe = load_recipe("turner", "quick")
    assert recipe_hash(recipe) in result.output
    assert "8 (0 to 7)" in result.output
    assert "out/turner-quick" in result.output
    for name in [*recipe.arms, *(primary.name for primary in recipe.primaries)]:
        assert name in result.output
    assert "…" not in result.output, "nothing is cut off at 80 columns"
    assert list(tmp_path.iterdir()) == []


def test_recipes_lists_every_recipe_and_preset():
    result = CliRunner().invoke(main, ["recipes"])
    assert result.exit_code == 0, result.output
    for word in ("turner", "smoke", "full, quick", "essays"):
        assert word in result.output


@pytest.mark.parametrize(
    "words", [["run"], ["run", "smoke", "--sets", "x"], ["nonsense"], ["run", "smoke", "--workers", "0"]]
)
def test_a_wrong_command_line_exits_with_2(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, words).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_finished_agents_are_not_attacked_by_what_only_training_has(tmp_path):
    result = CliRunner().invoke(main, ["attack", str(tmp_path), "--objective", "positive_value_loss"])
    assert result.exit_code == 2
    assert "objective positive_value_loss: needs the rewards and the critic of an agent in training" in result.output


def test_the_default_folder_names_the_preset_and_what_was_changed():
    plain, changed = load_recipe("turner", "quick"), load_recipe("turner", "quick", ["penalty=1"])
    assert default_out(load_recipe("turner"), None, changed=False) == Path("out/turner")
    assert default_out(plain, "quick", changed=False) == Path("out/turner-quick")
    assert default_out(changed, "quick", changed=True) == Path(f"out/turner-quick-{recipe_hash(changed)[:8]}")


@pytest.mark.parametrize("end", ["pass", "sys.exit(0)"])
def test_what_is_left_in_a_buffer_and_cannot_be_written_is_told_too(end):
    """Not all that prints flushes; where a command ends by itself, click does not either."""
    program = (
        "import sys, click\nfrom kerf.runs.terminal.command_group import Commands\ngroup = Commands('kerf')\n"
        f"@group.command()\ndef leave():\n    sys.stdout.write('a line')\n    {end}\ngroup(['leave'])\n"
    )
    words = [sys.executable, "-c", program]
    with open("/dev/full", "w") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, timeout=240)
    assert (done.returncode, done.stderr) == (1, "kerf: stdout cannot be written: No space left on device\n")
