"""Studies with yoked and sham arms, really run: who waits for whom, and whose records equal whose."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kerf.lab.errors import KerfError
from kerf.runs.recipe.arms import needs
from kerf.runs.recipe.files import load_recipe
from kerf.runs.records.penalty_counts import read_penalty_counts, write_penalty_counts
from kerf.runs.records.store import ALIGNED, Store, Unit
from kerf.runs.study import DONE, FAILED
from tests.runs.test_study import records, study

ARMS = (
    "arms={frozen: null, yoked: {}, sham: {}, unyoked: {kind: yoked, penalty: 0}, unshaped: {kind: sham, shaping: 0}, "
    "before: {kind: yoked, yoked_to: rule}, rule: {kind: sign_flip, grader: rule, penalty: 3}}"
)
SEED = 0


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("studies") / "yoked"
    code, printed = study(out, ARMS, workers=2)
    assert code == DONE, printed
    return out


def cell(out: Path, arm: str) -> Path:
    return out / Unit(arm, SEED).name


def table(out: Path, arm: str, name: str) -> pd.DataFrame:
    """A table of a cell, without the arm's name."""
    return pd.read_parquet(cell(out, arm) / f"{name}.parquet").drop(columns="arm")


@pytest.mark.slow
@pytest.mark.parametrize(("arm", "partner", "penalty"), [("yoked", "penalised", 10.0), ("before", "rule", -3.0)])
def test_a_yoked_cell_is_dealt_what_its_partner_was_dealt(out, arm, partner, penalty):
    penalty_counts = table(out, partner, "penalty_counts")
    pd.testing.assert_frame_equal(table(out, arm, "penalty_counts"), penalty_counts)
    assert (penalty_counts["penalty"] == penalty).all()
    assert (penalty_counts["episodes"] > 0).all()
    own, partners = (table(out, name, "training").query("metric == 'sample/penalised'") for name in (arm, partner))
    pd.testing.assert_frame_equal(own, partners)
    dealt = penalty_counts.groupby("iteration")["episodes"].sum().reindex(range(1, 5), fill_value=0)
    np.testing.assert_allclose(partners["value"], dealt / 64)
    policies = {(cell(out, name) / "policy.safetensors").read_bytes() for name in (arm, partner, "exposure")}
    assert len(policies) == 3


@pytest.mark.slow
def test_only_cells_that_are_penalised_have_penalty_counts(out):
    with_penalty_counts = {path.parent.parent.name for path in out.rglob("penalty_counts.parquet")}
    assert with_penalty_counts == {"penalised", "yoked", "rule", "before"}


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["unyoked", "unshaped"])
def test_without_penalty_or_shaping_a_cell_is_exposure_byte_for_byte(out, arm):
    assert (cell(out, arm) / "policy.safetensors").read_bytes() == (
        cell(out, "exposure") / "policy.safetensors"
    ).read_bytes()
    for name in ("measures", "training"):
        pd.testing.assert_frame_equal(table(out, arm, name), table(out, "exposure", name), check_exact=True)
    assert not table(out, "sham", "training").equals(table(out, "exposure", "training")), "a sham must leave a mark"


@pytest.mark.slow
def test_one_worker_gives_the_same_bytes_as_two(out, tmp_path):
    assert study(tmp_path / "again", ARMS, workers=1)[0] == DONE
    assert records(tmp_path / "again") == records(out)


@pytest.mark.slow
@pytest.mark.parametrize("lost", [["yoked"], ["before", "rule"]])
def test_a_study_that_lost_yoked_cells_is_finished_with_the_same_bytes(out, tmp_path, lost):
    torn = tmp_path / "torn"
    shutil.copytree(out, torn)
    for arm in lost:
        shutil.rmtree(cell(torn, arm))
    kept = {path: path.stat().st_mtime_ns for path in torn.rglob("done.json")}
    code, printed = study(torn, ARMS, workers=2)
    assert code == DONE
    assert f"{len(lost)} unit" in printed
    assert kept.items() <= {path: path.stat().st_mtime_ns for path in torn.rglob("done.json")}.items()
    assert records(torn) == records(out)


@pytest.mark.slow
def test_a_cell_whose_partner_failed_is_not_run(out, tmp_path):
    """A penalty that no 32-bit number holds: the partner's training cannot go on."""
    code, printed = study(tmp_path / "s", "arms={frozen: null, yoked: {}, penalised: {penalty: 1e300}}", workers=2)
    assert code == FAILED
    why = "set aside after 3 tries: FloatingPointError: training diverged"
    assert f"failed: cells/penalised/seed-0: {why}" in printed
    assert "failed: cells/yoked/seed-0: it needs cells/penalised/seed-0, which is missing" in printed
    assert Store(tmp_path / "s").units() == [Unit(ALIGNED, 0), Unit("continued", 0), Unit("exposure", 0)]


def test_a_yoked_cell_needs_its_partners_of_the_same_seed():
    arms = load_recipe("smoke", sets=["arms.yoked={}"]).resolve()
    assert needs(arms, Unit(ALIGNED, 3)) == []
    assert needs(arms, Unit("penalised", 3)) == [Unit(ALIGNED, 3)]
    assert needs(arms, Unit("yoked", 3)) == [Unit(ALIGNED, 3), Unit("penalised", 3)]


@pytest.mark.parametrize("penalty_counts", [[[0, 2, 0], [7, 0, 1]], [[0, 0, 0], [0, 0, 0]]])
def test_doses_are_read_as_they_were_written(tmp_path, penalty_counts):
    store, unit = Store(tmp_path), Unit("penalised", 0)
    with store.unit(unit) as folder:
        write_penalty_counts(folder, unit, [np.array(row) for row in penalty_counts], -1.5)
    assert [list(row) for row in read_penalty_counts(store, unit, 2, 3)] == penalty_counts
    if np.any(penalty_counts):
        with pytest.raises(KerfError, match="dealt penalties beyond 1 iterations of 3 steps"):
            read_penalty_counts(store, unit, 1, 3)
