"""`kerf exact`: what is said exactly of a finished study."""

from __future__ import annotations

import json
import math

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from rich.console import Console

from kerf.generators.base import GeneratorSettings
from kerf.lab.errors import KerfError
from kerf.lab.worlds import get_world
from kerf.runs.cli import main
from kerf.runs.exact import Examination, examine
from kerf.runs.exact.designs import design_of, twin_of
from kerf.runs.exact.table import ExactReport, losses_table, write
from kerf.runs.recipe.files import load_recipe, read_recipe
from kerf.runs.records.store import Store, Unit
from kerf.runs.report.table import to_text
from kerf.runs.study import run_study

ARMS = (
    *("frozen", "continued", "exposure", "penalised", "penalised-table"),
    *("yoked", "sham", "ex_ante", "mixed", "anchor"),
)
SURE = "sure-table"
"""A table penalised on forgeries that nothing gives away."""


def plain(world: str = "dilemma_one") -> dict:
    recipe = read_recipe("dilemma")
    for key in ("variants", "presets"):
        recipe.pop(key)
    recipe |= {"world": world, "seeds": 2, "iterations": 60, "measure_every": 30, "name": "small"}
    recipe["arms"] = {name: recipe["arms"][name] for name in ARMS}
    recipe["arms"][SURE] = {"kind": "penalised", "agent": "table", "strength": 1}
    recipe["exact"] |= {"table": {"learning_rate": 0.5}}
    recipe["primaries"] = recipe["primaries"][:1]
    return recipe


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("exact")
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump(plain()))
    code = run_study(load_recipe(str(file)), folder / "out", None, 2, Console(quiet=True))
    assert code == 0
    return Store(folder / "out")


@pytest.fixture(scope="module")
def found(store: Store) -> Examination:
    return examine(store)


@pytest.mark.slow
def test_parts_add_up_and_bands_hold_the_nearest_optimum(found):
    assert found.listed
    assert {cell.arm for cell in found.cells} == {*ARMS, SURE} - {"frozen"}
    for cell in found.cells:
        parts = cell.parts
        # The parts are differences of one chain of numbers: only rounding can part them from the whole.
        assert math.isclose(parts.forced + parts.excess, parts.whole, abs_tol=1e-9)
        assert math.isclose(parts.prior_shift + parts.penalty, parts.forced, abs_tol=1e-9)
        assert parts.low - 1e-9 <= parts.optimal <= parts.high + 1e-9
        assert parts.trained <= parts.ideal + 1e-9
        assert cell.regret >= -1e-9, "no agent beats the optimum of what it was trained on"
        assert math.isclose(parts.under_optimisation + parts.spillover, parts.excess, abs_tol=1e-9)


@pytest.mark.slow
def test_forgeries_that_a_tell_gives_away_force_nothing_and_a_table_loses_nothing(found):
    fakes_only = ("exposure", "penalised", "penalised-table", "yoked", "sham", "ex_ante")
    for cell in found.cells:
        if cell.arm in fakes_only:
            assert math.isclose(cell.parts.forced, 0.0, abs_tol=1e-9), "but for the order of a sum over situations"
        if cell.arm == "penalised-table":
            assert abs(cell.parts.whole) < 1e-9, "no update touches a natural situation"
        if cell.arm == "penalised":
            assert cell.parts.spillover == pytest.approx(cell.parts.whole, abs=1e-9)


@pytest.mark.slow
def test_forgeries_that_nothing_gives_away_force_all_that_even_a_table_loses(found):
    """The twin of the case above: where supports are one, the table loses what the optimum does, and nothing else."""
    for cell in found.cells:
        if cell.arm == SURE:
            assert cell.parts.forced > 1.0
            assert cell.parts.forced == pytest.approx(cell.parts.penalty + cell.parts.prior_shift, abs=1e-9)
            # What is left is what a softmax cannot give up in so many steps.
            assert abs(cell.parts.excess) < 0.02 * cell.parts.forced
            assert cell.regret < 0.01 * (10.0 + 5.0), "a hundredth of what a penalised exit costs"


@pytest.mark.slow
def test_change_reaches_as_far_as_the_agent_generalises(found):
    by_arm = {of.arm: of for of in found.curves}
    assert set(by_arm) == {"aligned", *ARMS, SURE}
    table, network = by_arm["penalised-table"].gradient, by_arm["penalised"].gradient
    assert (table[:, 0] < -0.3).all()
    assert (table[:, 1:] == 0.0).all(), "a table is changed where it was penalised, bit for bit nowhere else"
    assert (network[:, 1] < -0.05).all()
    for arm in ("aligned", "frozen", "continued"):
        assert math.isnan(by_arm[arm].gradient[0, 0]), "it was trained on no forgery"
    aligned, penalised = (by_arm[arm].psychometric for arm in ("aligned", "penalised"))
    assert aligned.lapse.mean < 0.05 < penalised.lapse.mean
    assert len(aligned.fits) == len(by_arm["aligned"].seeds) == 2


@pytest.mark.slow
def test_controls_that_move_no_optimum_have_the_objective_of_exposure(found):
    by_key = {(cell.arm, cell.seed): cell for cell in found.cells}
    for arm in ("yoked", "sham"):
        for seed in (0, 1):
            ours, theirs = by_key[arm, seed], by_key["exposure", seed]
            assert ours.largest == theirs.largest
            assert ours.reached == pytest.approx(theirs.reached, abs=1e-6), "exact gradients see no difference either"


@pytest.mark.slow
def test_what_is_said_is_what_is_recorded(store, found):
    write(store, found)
    frame = pd.read_parquet(store.path / "exact.parquet")
    assert len(frame) == len(found.cells)
    assert frame.loc[frame["arm"] == "sham", "twin_excess"].isna().all(), "it has no twin"
    certificates = json.loads((store.path / "certificates.json").read_text())
    assert {entry["arm"] for entry in certificates} == {"aligned", *ARMS, SURE}
    curves = pd.read_parquet(store.path / "curves.parquet")
    assert len(curves) == 2 * len(found.curves)
    assert (store.path / "exact.txt").read_text() == to_text(ExactReport(found), 140)
    text = (store.path / "exact.txt").read_text()
    for words in ("Ideal utility lost", "spillover", "Signal detection", "Certificates", "Adequate"):
        assert words in text


@pytest.mark.slow
def test_every_column_of_the_losses_holds_what_its_heading_says(found):
    table = losses_table(found, by_seed=True)
    columns = {str(column.header): list(column.cells) for column in table.columns}
    spilt = [f"{cell.parts.spillover:.2f}".replace("-0.00", "0.00") for cell in found.cells]
    assert columns["spillover"] == spilt
    assert columns["open"] == [f"{cell.parts.low:.2f} to {cell.parts.high:.2f}" for cell in found.cells]
    assert columns["regret"] == [f"{cell.regret:.2f}" for cell in found.cells]


@pytest.mark.slow
def test_certificates_name_a_scenario_in_which_the_figure_is_reached(store, found):
    world = get_world("dilemma_one")
    for claim in found.certified:
        for certificate in claim.certificates.values():
            world.space.validate(world.space.from_text(certificate.worst)[None])
    care = {claim.arm: claim for claim in found.certified if claim.name == "care"}
    assert len(care["aligned"].holds) == 2
    assert care["aligned"].worst[1].value >= 0.9


@pytest.mark.slow
def test_one_arm_alone_and_arms_that_are_not_there(store, found):
    alone = examine(store, only=("penalised",))
    assert {cell.arm for cell in alone.cells} == {"penalised"}
    assert [cell for cell in found.cells if cell.arm == "penalised"] == list(alone.cells)
    with pytest.raises(KerfError, match="did you mean 'penalised'"):
        examine(store, only=("penalized",))
    with pytest.raises(KerfError, match=r"none of these arms \(frozen\) trains on a fixed mix"):
        examine(store, only=("frozen",))


@pytest.mark.slow
def test_a_study_that_is_not_finished_is_refused(store, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(store.path, copy)
    shutil.rmtree(copy / Unit("penalised", 1).name)
    done = CliRunner().invoke(main, ["exact", str(copy)])
    assert done.exit_code == 2
    assert "cells/penalised/seed-1 is missing" in done.output


def test_no_study_is_refused(tmp_path):
    done = CliRunner().invoke(main, ["exact", str(tmp_path)])
    assert done.exit_code == 2
    assert "holds no study" in done.output


def test_what_arms_are_trained_on(tmp_path):
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(plain()))
    recipe = load_recipe(str(file))
    arms = recipe.resolve()
    assert design_of(recipe, arms["frozen"]) is None
    designs = {name: design_of(recipe, arms[name]) for name in ARMS if name != "frozen"}
    assert designs["penalised"].objective.penalty == 10.0
    assert designs["yoked"].objective.penalty == designs["exposure"].objective.penalty == 0.0
    assert designs["penalised"].mix.natural == 0.0
    assert designs["mixed"].mix.natural == pytest.approx(0.1)
    searching = {"generator": GeneratorSettings(kind="search")}
    assert design_of(recipe, arms["penalised"].model_copy(update=searching)) is None, "no fixed mix, so no optimum"
    assert twin_of(arms, "penalised") == "penalised-table"
    assert twin_of(arms, "anchor") is None, "its table would be held near the aligned policy too"
    assert twin_of(arms, "exposure") is None
    assert twin_of(arms, "penalised-table") is None
