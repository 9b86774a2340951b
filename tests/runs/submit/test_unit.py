"""`kerf unit`: one unit at a time, in a folder that others work in; the records are those of `kerf run`."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from kerf.runs.recipe.files import load_recipe
from kerf.runs.records import atomic_io as disk
from kerf.runs.records.store import Store
from kerf.runs.study import prepare_study
from kerf.runs.submit.backend import STOPPED
from tests.runs.submit.calls import SMALL, kerf, refused

SETS = ("iterations=2", "arms={frozen: null}")


@pytest.fixture(autouse=True)
def study(workplace: Path) -> Path:
    """A study of which nothing is done yet."""
    prepare_study(load_recipe("smoke", sets=SETS, seeds=1), workplace / "study")
    return workplace / "study"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("seed-0", "expected a unit like aligned/seed-0 or cells/<arm>/seed-0, got 'seed-0'"),
        ("cells/penalized/seed-0", "unknown arm 'penalized'; did you mean 'penalised'?"),
        ("frozen/seed-0", "unknown arm 'frozen'"),
        ("aligned/seed-1", "the study's seeds are 0 to 0"),
        ("penalised/seed-0", "cells/penalised/seed-0 needs aligned/seed-0, which is missing"),
    ],
)
def test_mistakes_end_in_a_sentence(name, said, study):
    assert said in refused("unit", study, name)


def test_a_folder_without_a_study_or_with_another_recipe_is_refused(study):
    assert "holds no study" in refused("unit", "nowhere", "aligned/seed-0")
    (study / "recipe.yaml").write_text((study / "recipe.yaml").read_text().replace("iterations: 2", "iterations: 3"))
    assert "is not the recipe of" in refused("unit", study, "aligned/seed-0")


def test_it_does_not_work_beside_kerf_run_or_another_of_the_same_unit(study):
    with disk.file_lock(study / ".lock", "the study"):
        assert "another process is at work on the study" in refused("unit", study, "aligned/seed-0")
    with disk.file_lock(study / ".locks" / "aligned-seed-0", "it"):
        assert "another process is at work on aligned/seed-0" in refused("unit", study, "aligned/seed-0")
    with disk.file_lock(study / ".lock", "the study", shared=True):  # as other units do
        assert "needs aligned/seed-0" in refused("unit", study, "penalised/seed-0")
        assert "another process is at work on the study" in refused(
            "run", "smoke", *SMALL, "--out", study, "--no-mlflow"
        )


@pytest.mark.slow
def test_units_done_one_by_one_give_the_records_of_kerf_run(study, workplace):
    assert "aligned/seed-0 done: " in kerf("unit", study, "aligned/seed-0")
    assert kerf("unit", study, "aligned/seed-0") == "aligned/seed-0 is done already\n"
    for arm in ("penalised", "cells/continued", "exposure"):
        assert "done: " in kerf("unit", study, f"{arm}/seed-0", "--cpus", "2")
    report = kerf("run", "smoke", *SMALL, "--out", study, "--no-mlflow")
    assert "units of work" not in report
    kerf("run", "smoke", *SMALL, "--out", "reference", "--no-mlflow")
    ours, reference = Store(study), Store("reference")
    assert len(reference.units()) == 4
    assert [ours.digest(unit) for unit in ours.units()] == [reference.digest(unit) for unit in reference.units()]
    for name in ("effects.parquet", "primaries.json", "table.txt", "recipe.yaml", "battery.parquet", "study.json"):
        assert (study / name).read_bytes() == (workplace / "reference" / name).read_bytes()


@pytest.mark.slow
def test_a_signal_stops_it_in_good_order(workplace):
    recipe = load_recipe("smoke", sets=[*SETS, "align.imitation.iterations=100000"], seeds=1)
    prepare_study(recipe, workplace / "long")

    def tell() -> None:
        while not list((workplace / "long").glob("aligned/*.partial-*")):
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.getsignal(signal.SIGUSR1)
    ends = []
    for _ in range(2):
        teller = threading.Thread(target=tell)
        teller.start()
        said = kerf("unit", "long", "aligned/seed-0", code=STOPPED)
        teller.join()
        assert said.startswith("aligned/seed-0 stopped after iteration ")
        ends.append(int(said.split()[4]))
        assert list((workplace / "long" / "aligned").iterdir()) == []
        kept = (workplace / "long" / "checkpoints" / "aligned" / "seed-0").iterdir()
        assert max(int(folder.name) for folder in kept) == ends[-1], "nothing of what was done is lost"
    assert ends[1] > ends[0], "it went on where it was"
    assert signal.getsignal(signal.SIGUSR1) is before


@pytest.mark.slow
def test_a_cell_whose_agent_is_not_aligned_is_left_out(workplace):
    recipe = load_recipe("smoke", sets=[*SETS, "gate={value: 1, competence: 1, fooled: 1}"], seeds=1)
    prepare_study(recipe, workplace / "strict")
    kerf("unit", "strict", "aligned/seed-0")
    said = kerf("unit", "strict", "penalised/seed-0")
    assert said == "cells/penalised/seed-0 is left out: the agent of seed 0 is not aligned\n"
