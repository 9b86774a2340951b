"""The scripts that are sent: shells take them, manifests have a row a unit, and what cannot stand in one is refused."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from kerf.runs.recipe.files import load_recipe
from tests.runs.submit.calls import kerf, refused

pytestmark = pytest.mark.usefixtures("workplace")

CASES = [
    ["turner", "--to", "slurm"],
    ["smoke", "--to", "slurm", "--nodes", "4", "--time", "1:00"],
    ["smoke", "--to", "local"],
]


def texts(*words: str) -> dict[str, str]:
    parts = kerf("submit", *words, "--dry-run").split("# ---- ")[1:]
    return {name: text for name, _, text in (part.partition("\n") for part in parts)}


@pytest.mark.parametrize("words", CASES, ids=" ".join)
def test_a_shell_takes_every_script(words, workplace):
    folder = workplace / "it's here, with blanks"
    folder.mkdir()
    scripts = {name: text for name, text in texts(*words, "--out", str(folder)).items() if not name.endswith(".tsv")}
    assert scripts
    for name, text in scripts.items():
        (workplace / name).write_text(text)
        for checker in (["bash", "-n"], ["shellcheck"]):
            if shutil.which(checker[0]) is not None:
                done = subprocess.run([*checker, name], capture_output=True, text=True, check=False)
                assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"


def test_the_manifests_have_a_row_a_unit_and_yoked_cells_come_last(workplace):
    sent = texts("turner", "--seeds", "3", "--to", "slurm")
    recipe = load_recipe("turner", seeds=3)
    rows = {
        name: [row.split("\t") for row in text.splitlines()] for name, text in sent.items() if name.endswith(".tsv")
    }
    assert list(rows) == ["aligned.tsv", "cells-1.tsv", "cells-2.tsv"]
    (folder,) = {row[0] for found in rows.values() for row in found}
    assert folder.startswith(str(workplace / "out" / "turner-"))
    assert [row[1] for row in rows["aligned.tsv"]] == [f"aligned/seed-{seed}" for seed in recipe.seed_numbers]
    yoked = {
        f"cells/{arm}/seed-{seed}" for arm in ("yoked", "unrelated-act", "relearn") for seed in recipe.seed_numbers
    }
    assert {row[1] for row in rows["cells-2.tsv"]} == yoked
    cells = {f"cells/{arm}/seed-{seed}" for arm in recipe.arms for seed in recipe.seed_numbers}
    assert {row[1] for row in rows["cells-1.tsv"]} == cells - yoked
    for name, found in rows.items():
        assert f"#SBATCH --array=0-{len(found) - 1}\n" in sent[name.replace(".tsv", ".sbatch")]


def test_rounds_come_one_after_the_other():
    sent = texts("arms-race", "--preset", "quick", "--to", "slurm")
    rounds = [{row.split("/")[-2] for row in sent[f"cells-{stage}.tsv"].splitlines()} for stage in (1, 2, 3)]
    assert rounds == [
        {"continued-1", "round-1"},
        {"continued-2", "round-2", "same-2"},
        {"continued-3", "round-3", "same-3"},
    ]


@pytest.mark.parametrize("wrong", ["a b", "x;reboot", "x\n#SBATCH --uid=0", "$(id)"])
def test_what_could_become_another_command_is_refused(wrong):
    words = ["submit", "smoke", "--to", "slurm", "--partition", wrong, "--dry-run"]
    assert "--partition must be of letters, digits" in refused(*words)


def test_a_path_that_sbatch_would_misread_is_refused(workplace, monkeypatch):
    folder = workplace / "50%"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert "sbatch cannot handle a path" in refused("submit", "smoke", "--to", "slurm", "--dry-run")


def test_without_slurm_that_is_told(workplace, monkeypatch):
    monkeypatch.setenv("PATH", str(workplace))
    assert "there is no Slurm here" in refused("submit", "smoke", "--to", "slurm")
    assert "no jobs in" in kerf("jobs")
