"""Penalty thresholds in closed form against the exact optimum, which knows nothing of the formula."""

from __future__ import annotations

import numpy as np
import pytest

from kerf.lab.dilemma import Mix
from kerf.lab.exact.information_sets import grow
from kerf.lab.exact.optimum import belief, nearest, solve
from kerf.lab.grader import ExPost
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.scenario import Scenarios
from kerf.lab.scripted import ExpertPolicy
from kerf.lab.world import World
from kerf.lab.worlds import get_world
from kerf.runs.recipe.files import load_recipe, load_recipes
from kerf.runs.recipe.theory import theory_of

STATION, DILEMMA = get_world("station"), get_world("dilemma")


def acts(world: World, scenario: Scenarios, mix: Mix, penalty: float) -> float:
    """How often an optimal agent does the forbidden act in what looks like `scenario` `(1, F)`."""
    tree = grow(world, scenario)
    optimum = solve(tree, RewardSpec(grader=ExPost(), penalty=penalty), belief(tree, mix, np.ones(1)))
    return float(nearest(optimum, ExpertPolicy(world)).reshape(-1)[world.events.index(world.dilemma.forbidden)])


def late(world: World, value: str, number: int) -> Scenarios:
    rng = np.random.default_rng(7)
    (family, *_) = [family for family in world.families if family.value == value and not family.held_out]
    return family.sample(number, rng)


@pytest.mark.parametrize(("share", "strength"), [(0.25, 1.0), (0.25, 0.75), (0.1, 1.0)])
def test_the_optimum_of_the_station_stops_to_help_at_the_threshold(share: float, strength: float) -> None:
    mix = Mix(1.0 - share, strength)
    # One scenario in 80 has so much else to do on the way that an optimal agent would not help at all; these have not.
    for scenario in late(STATION, "care", 3)[1:]:
        threshold = STATION.dilemma.penalty_threshold(scenario[None], mix)[0]
        assert threshold == pytest.approx((1 - share) * (8 / 29) * 10 / (share * strength**4) - 5)
        assert acts(STATION, scenario[None], mix, threshold - 0.05) == pytest.approx(1.0)
        assert acts(STATION, scenario[None], mix, threshold + 0.05) == pytest.approx(0.0)


@pytest.mark.parametrize(("share", "strength"), [(0.2, 1.0), (0.2, 0.5), (0.5, 0.75), (0.05, 0.25)])
def test_the_optimum_of_the_dilemma_stops_to_help_at_the_threshold(share: float, strength: float) -> None:
    mix = Mix(1.0 - share, strength)
    scenarios = np.concatenate([late(DILEMMA, value, 20) for value in ("care", "proportion", "discernment")])
    thresholds = DILEMMA.dilemma.penalty_threshold(scenarios, mix)
    finite = np.isfinite(thresholds) & (thresholds > 0.01)
    assert finite.sum() >= 10
    for scenario, threshold in zip(scenarios[finite], thresholds[finite], strict=True):
        assert acts(DILEMMA, scenario[None], mix, threshold - 0.005) == pytest.approx(1.0)
        assert acts(DILEMMA, scenario[None], mix, threshold + 0.005) == pytest.approx(0.0)
    for scenario in scenarios[thresholds < 0.0]:
        assert acts(DILEMMA, scenario[None], mix, 0.0) == pytest.approx(0.0)


def test_where_nothing_is_needed_no_penalty_is_worth_it_and_where_nothing_is_forged_any_is() -> None:
    law = STATION.dilemma.penalty_threshold
    assert (law(late(STATION, "diligence", 5), Mix(0.75, 1.0)) == -np.inf).all()
    assert (law(late(STATION, "proportion", 5), Mix(0.75, 1.0)) == -np.inf).all(), "asking is enough"
    assert (law(late(STATION, "care", 5), Mix(1.0)) == np.inf).all(), "nature's forgeries are seen through"
    assert (law(late(STATION, "care", 5), Mix(0.0, 1.0)) == -np.inf).all(), "among forgeries alone nothing is real"


def test_what_training_never_shows_has_no_threshold() -> None:
    """At strength 0 every forgery shows every tell, so that forgeries alone say nothing of real emergencies."""
    alone = Mix(0.0, 0.0)
    assert np.isnan(STATION.dilemma.penalty_threshold(late(STATION, "care", 5), alone)).all()
    two = get_world("dilemma_two")
    assert np.isnan(two.dilemma.penalty_threshold(late(two, "care", 5), alone)).all()
    found = theory_of(load_recipes("forced-or-chiselled", variant="mlp")["mlp"])
    for arm in ("exposure-0", "penalised-0", "penalised-0-table"):
        assert found[arm].reading == "may help or not: training shows no such case"
    assert found["exposure-0.5"].reading == "does not help: forgeries force it"


def test_what_theory_says_of_the_flagship() -> None:
    found = theory_of(load_recipe("turner", sets=["arms.latent={}"]))
    said = {name: (round(of.threshold, 1), of.reading) for name, of in found.items()}
    helps, stops = "helps", "does not help: the penalty forces it"
    assert said == {
        "exposure": (3.3, helps),
        "penalised-2": (3.3, helps),
        "penalised-6": (3.3, stops),
        "penalised": (3.3, stops),
        "exposure-tells": (21.2, helps),
        "penalised-tells": (21.2, helps),
        "exposure-tenth": (19.8, helps),
        "penalised-tenth": (19.8, helps),
        "exposure-alone": (-np.inf, "does not help: forgeries force it"),
        "penalised-alone": (-np.inf, "does not help: forgeries force it"),
    }, "and nothing of arms that shape, anchor, perturb, reward, excuse, or come after others"
