"""Optuna's study of a sweep: what is proposed does not depend on when the driver was killed."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from sqlalchemy.exc import OperationalError

from kerf.lab.errors import KerfError
from kerf.runs.sweep import storage
from kerf.runs.sweep.spec import SweepSpec
from kerf.runs.sweep.storage import JOURNAL, Storage
from kerf.runs.sweep.trials import Trials
from tests.runs.sweep.asking import asked, recipe

OVERS = ("strength=0:1", "penalty=0.1:30:log", "adversarial_share=0.5,0.75,1", "anchor=0:1:0.25")
NUM, BATCH = 13, 3


def score(settings: dict[str, float]) -> tuple[float, float]:
    """A trade-off that settings decide."""
    strength, penalty = settings["strength"], settings["penalty"]
    robustness = strength * (1 - math.exp(-penalty / 5))
    return robustness, -robustness * settings["arms.penalised.adversarial_share"]


def drive(
    kept: Path | Storage, spec: SweepSpec, num: int = NUM, name: str = "toy"
) -> list[tuple[int, dict[str, float]]]:
    """Ask for batches and tell what they score, continuing whatever is kept there; all trials, in order."""
    trials = Trials(kept if isinstance(kept, Storage) else Storage(kept), name, spec, "digest")
    while True:
        begun = trials.begun()
        whole = -(-len(trials) // BATCH) * BATCH if begun else len(trials) + BATCH
        begun += [trials.ask() for _ in range(min(whole, num) - len(trials))]
        if not begun:
            return [(trial.number, dict(trial.settings)) for trial in trials.finished()]
        for trial in begun:
            settings = dict(trial.settings)
            failed = settings["strength"] > 0.95
            trials.tell(trial, None if failed else score(settings), [0.3 - score(settings)[0]], {"x": 1.0})


@pytest.mark.parametrize(
    ("sampler", "stride"), [("random", 7), ("tpe", 7), ("nsga2", 7), pytest.param("gp", 38, marks=pytest.mark.slow)]
)
def test_a_study_cut_off_anywhere_goes_on_to_the_same_trials(tmp_path, sampler, stride):
    """Cuts the journal after every so many records, and in the middle of a record."""
    spec = asked(recipe(tmp_path), "pareto", *OVERS, sampler=sampler, sampler_seed=5)
    whole = tmp_path / "whole"
    whole.mkdir()
    expected = drive(whole, spec)
    assert [number for number, _ in expected] == list(range(NUM))
    assert len({tuple(settings.values()) for _, settings in expected}) == NUM
    records = (whole / JOURNAL).read_bytes().splitlines(keepends=True)
    for index, kept in enumerate(range(1, len(records), stride)):
        folder = tmp_path / f"cut-{kept}"
        folder.mkdir()
        torn = records[kept][: len(records[kept]) // 2] if index % 2 else b""
        (folder / JOURNAL).write_bytes(b"".join(records[:kept]) + torn)
        (folder / f"{JOURNAL}.lock").symlink_to(JOURNAL)  # whoever held it was killed
        assert drive(folder, spec) == expected, f"cut after {kept} of {len(records)} records"


@pytest.mark.slow
def test_a_database_that_goes_away_after_a_write_gets_no_trial_twice(tmp_path, monkeypatch):
    """The write is done, and its answer is lost: at each of them in turn."""
    spec, num = asked(recipe(tmp_path), "pareto", *OVERS, sampler="tpe", sampler_seed=5), 4
    expected = drive(tmp_path, spec, num)
    monkeypatch.setattr(storage, "_PAUSE", 0.001)
    names = ("_create_new_trial", "_set_trial_param", "set_trial_state_values", "set_trial_system_attr")
    writes = {name: getattr(RDBStorage, name) for name in names}
    done, lost = 0, -1

    def lossy(name: str) -> Callable[..., Any]:
        def write(*words: Any, **more: Any) -> Any:
            nonlocal done
            answer = writes[name](*words, **more)
            done += 1
            if done == lost:
                raise OperationalError("the answer is lost", {}, Exception())
            return answer

        return write

    Storage(tmp_path, f"sqlite:///{tmp_path}/empty.db").open()  # its tables take long to make, and are all alike
    for name in writes:
        monkeypatch.setattr(RDBStorage, name, lossy(name))
    shutil.copy(tmp_path / "empty.db", tmp_path / "all.db")
    assert drive(Storage(tmp_path, f"sqlite:///{tmp_path}/all.db"), spec, num) == expected
    assert done >= num * (2 + len(OVERS))
    for lost in range(1, done + 1):
        done = 0
        url = f"sqlite:///{shutil.copy(tmp_path / 'empty.db', tmp_path / f'lost-{lost}.db')}"
        assert drive(Storage(tmp_path, url), spec, num) == expected, f"the answer to write {lost} was lost"


def test_another_seed_proposes_other_trials_and_the_same_one_the_same(tmp_path):
    made = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        made.append(drive(tmp_path / name, asked(recipe(tmp_path), "pareto", *OVERS, sampler="tpe", sampler_seed=seed)))
    assert made[0] == made[1] != made[2]


def test_a_study_is_continued_with_more_trials(tmp_path):
    spec = asked(recipe(tmp_path), "pareto", *OVERS, sampler="tpe")
    for name in ("few", "all"):
        (tmp_path / name).mkdir()
    first = drive(tmp_path / "few", spec, 6)
    assert drive(tmp_path / "few", spec, 12) == drive(tmp_path / "all", spec, 12)
    assert drive(tmp_path / "few", spec, 12)[:6] == first


def test_enqueued_settings_are_asked_for_once(tmp_path):
    spec = asked(recipe(tmp_path), "dose", "strength=0:1:0.25")
    grid = [{"strength": value} for value in spec.over[0].values or ()]
    for _ in range(3):
        trials = Trials(Storage(tmp_path), "toy", spec, "digest")
        trials.enqueue(grid)
    assert trials.waiting() == 5
    asked_for = [trials.ask() for _ in range(5)]
    assert [trial.settings["strength"] for trial in asked_for] == [0.0, 0.25, 0.5, 0.75, 1.0]
    trials.tell(asked_for[0], (0.0, 0.0), [], {})
    again = Trials(Storage(tmp_path), "toy", spec, "digest")
    again.enqueue(grid)
    assert (again.waiting(), [trial.number for trial in again.begun()]) == (0, [1, 2, 3, 4])


def test_the_journal_opens_with_optuna(tmp_path):
    spec = asked(recipe(tmp_path), "pareto", *OVERS, sampler="nsga2")
    drive(tmp_path, spec)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / JOURNAL)))
    study = optuna.load_study(study_name="toy", storage=storage)
    assert study.metric_names == ["robustness", "collateral"]
    assert study.user_attrs["sampler"] == "nsga2"
    assert len(study.trials) == NUM
    best = study.best_trials
    assert best
    assert all(trial.values[0] >= 0.3 for trial in best), "the floor is a constraint"


def test_a_database_will_do_and_another_sweeps_study_will_not(tmp_path):
    spec = asked(recipe(tmp_path), "dose", "strength=0,1")
    url = f"sqlite:///{tmp_path}/optuna.db"
    trials = Trials(Storage(tmp_path, url), "toy", spec, "digest")
    trials.enqueue([{"strength": 0.0}])
    trials.tell(trials.ask(), (0.5, -0.5), [], {})
    assert len(optuna.load_study(study_name="toy", storage=url).trials) == 1
    assert not (tmp_path / JOURNAL).exists()
    with pytest.raises(KerfError, match="of another sweep"):
        Trials(Storage(tmp_path, url), "toy", spec, "other")
    with pytest.raises(KerfError, match="cannot be opened"):
        Trials(Storage(tmp_path, "nonsense://"), "toy", spec, "digest")


def test_what_a_kill_left_of_a_folder_is_not_needed(tmp_path):
    spec = asked(recipe(tmp_path), "pareto", *OVERS, sampler="tpe")
    expected = drive(tmp_path, spec)
    (tmp_path / JOURNAL).unlink()
    assert drive(tmp_path, spec) == expected, "the same proposals, whose cells are there already"
    shutil.rmtree(tmp_path)
