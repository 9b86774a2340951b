"""`kerf sweep` as its users type it: mistakes, files, and the same thing said in two ways."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from kerf.lab.errors import KerfError
from kerf.runs.cli import main
from kerf.runs.sweep.file import read_sweep
from kerf.runs.terminal.command_group import REFUSED
from tests.runs.sweep.asking import RECIPE, asked, recipe

CANARY = "canary-93a7e"
DOSE = ("dose", "turner", "--over", "strength=0,1", "--no-mlflow")


def kerf(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, list(words))
    return done.exit_code, done.output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("dose", "turner", "--over", "strengh=0:1:0.1"), "did you mean 'strength'"),
        (("dose", "turnr", "--over", "strength=0:1:0.1"), "did you mean 'turner'"),
        (("dose", "turner", "--over", "strength=1:0:0.1"), "which is empty"),
        (("dose", "turner", "--over", "strength=0:1"), "a dose sweep is over a grid or a list"),
        (("dose", "dilemma", "--over", "strength=0:1:0.5"), "has several variants"),
        (("pareto", "turner", "--over", "penalty=0:30:log"), "must begin above 0"),
        (("threshold", "turner", "--over", "strength=0:1", "--limit", "cars=-0.1"), "did you mean 'care'"),
        (("pareto", "turner", "--over", "strength=0:1", "--mlflow", "x", "--no-mlflow"), "exclude each other"),
        (("run", "no-such-file.yaml"), "no such file"),
        ((*DOSE, "--storage", "trials.db"), "expected the URL of a database"),
        ((*DOSE, "--storage", f"postgresql://me:{CANARY}@host:port/sweeps"), "expected the URL of a database"),
        ((*DOSE, "--storage", f"postgresql://me:{CANARY}@{CANARY}@host/sweeps"), "%40 in its place"),
        ((*DOSE, "--storage", f"postgres://me:{CANARY}@host/sweeps"), "knows no database 'postgres'"),
        ((*DOSE, "--storage", f"mssql+pymssql://me:{CANARY}@host/sweeps"), "pip install pymssql"),
        ((*DOSE, "--storage", f"mysql://host/sweeps?password={CANARY}"), "pip install mysqlclient"),
    ],
)
def test_mistakes_end_in_one_sentence_and_start_nothing(words, sentence):
    code, printed = kerf("sweep", *words)
    assert code == REFUSED
    assert sentence in printed
    assert printed.startswith("kerf: ")
    assert len(printed.strip().splitlines()) == 1
    assert CANARY not in printed


def test_the_environment_may_name_the_database(monkeypatch):
    monkeypatch.setenv("KERF_STORAGE", f"postgres://me:{CANARY}@host/sweeps")
    code, printed = kerf("sweep", *DOSE)
    assert code == REFUSED
    assert "--storage postgres://me:***@host/sweeps: SQLAlchemy knows no database 'postgres'" in printed


def test_a_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    code, printed = kerf("sweep", "dose", "turner", "--over", "strength=0,1", "--no-mlflow", "--out", str(tmp_path))
    assert code == REFUSED
    assert "holds files but no study" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def write(path: Path, **fields: object) -> str:
    path.write_text(yaml.safe_dump(fields, sort_keys=False))
    return str(path)


def test_a_file_asks_for_what_the_command_line_does(tmp_path):
    base = recipe(tmp_path, {"seeds": 4, "iterations": 3})
    file = write(
        tmp_path / "sweep.yaml",
        sweep="pareto",
        recipe="toy-sweep.yaml",
        seeds=4,
        set={"iterations": 3},
        over={"strength": "0:1", "penalty": "0.1:30:log", "adversarial_share": [0.75, 1]},
        floor={"care": -0.1},
        trials=12,
        sampler="nsga2",
    )
    (tmp_path / "toy-sweep.yaml").write_text(yaml.safe_dump(RECIPE))
    overs = ("strength=0:1", "penalty=0.1:30:log", "adversarial_share=0.75,1")
    spec = asked(base, "pareto", *overs, floors=("care=-0.1",), trials=12, sampler="nsga2")
    found = read_sweep(file)
    assert found.spec == spec
    assert found.spec.digest(found.recipe) == spec.digest(base)


def test_what_a_file_sets_has_the_type_that_it_has_there(tmp_path):
    """Text stays text, whatever it looks like, and a key with a dot is found."""
    arms = {"penalised-0.5": {"kind": "penalised"}}
    (tmp_path / "toy-sweep.yaml").write_text(yaml.safe_dump(RECIPE | {"arms": RECIPE["arms"] | arms}))
    changes = {
        "about": "12",
        "network.hidden": [4, 2],
        "network.activation": "relu",
        "network.shared_trunk": False,
        "exact.training.learning_rate": 1e-3,
        "arms.penalised-0.5.adversarial_share": 0.25,
        "arms.yoked": None,
        "uncontrolled": True,
    }
    over = {"penalty": [0, 1]}
    found = read_sweep(write(tmp_path / "s.yaml", sweep="dose", recipe="toy-sweep.yaml", set=changes, over=over)).recipe
    assert (found.about, found.network.hidden, found.network.shared_trunk) == ("12", (4, 2), False)
    assert (found.network.activation, found.uncontrolled) == ("relu", True)
    assert found.exact is not None
    assert found.exact.training.learning_rate == 1e-3
    assert found.arms["penalised-0.5"].adversarial_share == 0.25
    assert "yoked" not in found.arms
    with pytest.raises(KerfError, match='got "3"'):
        read_sweep(write(tmp_path / "s.yaml", sweep="dose", recipe="toy-sweep.yaml", set={"seeds": "3"}, over=over))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"sweep": "doze"}, "sweep must be 'dose', 'pareto' or 'threshold'"),
        ({"sweeps": "dose"}, "has no field `sweep`"),
        ({"sweep": "dose", "ovr": {}}, "did you mean 'over'"),
        ({"sweep": "dose", "recipe": "turner"}, "over is missing"),
        ({"sweep": "dose", "recipe": "turner", "over": {}}, "over must have 1 or more entries"),
        ({"sweep": "dose", "recipe": "turner", "over": {"strength": "0:1:x"}}, "expected a number, got 'x'"),
        ({"sweep": "dose", "recipe": "turner", "over": {"strength": [0, 1]}, "trials": 3}, "which belongs to pareto"),
        ({"sweep": "dose", "recipe": "turner", "over": {"strength": [0, 1]}, "arm": "penal"}, "unknown arm 'penal'"),
        (
            {"sweep": "dose", "recipe": "turner", "over": {"strength": [0, 1]}, "limit": {"care": -1, "aid": -1}},
            "limit must be one metric",
        ),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(tmp_path, fields, sentence):
    with pytest.raises(KerfError, match=sentence) as refused:
        read_sweep(write(tmp_path / "sweep.yaml", **fields))
    assert "sweep.yaml" in str(refused.value)
