"""`shards`: returns of its ways, the optimum of each proxy by exact solution, and the levels at which values trade."""

from __future__ import annotations

import numpy as np
import pytest

from kerf.lab.after.trades import choices
from kerf.lab.dilemma import Mix
from kerf.lab.exact.information_sets import grow
from kerf.lab.exact.optimum import belief, solve
from kerf.lab.reward import reward
from kerf.lab.reward_spec import IDEAL, RewardSpec, design_weights
from kerf.lab.rollout import rollout
from kerf.lab.scenario import Scenarios
from kerf.lab.scripted import ExpertPolicy, plan_return
from kerf.lab.testing.episodes import play
from kerf.lab.world import event_weights
from kerf.lab.worlds.shards import (
    ACTIONS,
    FRUIT,
    GRENADE,
    GRENADE_SPIDERS,
    MOST_APPLE_QUEUE,
    MOST_GRENADE_QUEUE,
    SPACE,
    SPIDER,
    TRASH,
    TRASH_SPIDER,
    Shards,
)

WORLD = Shards()


def paid(scenario: Scenarios, way: str, design: str = IDEAL) -> float:
    """What the moves in `way` (their initials, `.` for staying), and then staying, are paid by `design`."""
    names = dict(zip("udlr.", WORLD.actions, strict=True))
    return plan_return(WORLD, scenario, [names[move] for move in way], design, then=names["."])


def best(scenario: Scenarios, design: str) -> float:
    """The most that `design` pays there, by exact solution."""
    tree = grow(WORLD, scenario)
    spec = RewardSpec(design_weights(WORLD, design))
    return solve(tree, spec, belief(tree, Mix()), 1e-9).value / float(WORLD.density(scenario, Mix())[0])


STRAIGHT = "rrrrrr"
CASES = (
    (SPACE.make(scene=TRASH), IDEAL, "rurrrrrd", 5 + 3 - 8 * 0.5),
    (SPACE.make(scene=TRASH), "untidy", STRAIGHT, 5 - 6 * 0.5),
    (SPACE.make(scene=TRASH_SPIDER), IDEAL, "rurrrrrd", 5 + 3 - 8 * 0.5),
    (SPACE.make(scene=SPIDER), IDEAL, "rrrurrrd", 5 - 8 * 0.5),
    (SPACE.make(scene=SPIDER), "unafraid", STRAIGHT, 5 - 6 * 0.5),
    (SPACE.make(scene=FRUIT), IDEAL, "rurrrddrru", 5 + 3 + 4.75 - 10 * 0.5),
    (SPACE.make(scene=FRUIT), "no_apples", "rurrrrrd", 5 + 3 - 8 * 0.5),
    (SPACE.make(scene=GRENADE), IDEAL, "rrrru", 14 - 5 * 0.5),
    (SPACE.make(scene=GRENADE), "selfish", STRAIGHT, 5 - 6 * 0.5),
    (SPACE.make(scene=GRENADE_SPIDERS), IDEAL, "rrrru", 14 - 3 - 5 * 0.5),
    (SPACE.make(scene=GRENADE_SPIDERS), "unafraid", "rrrru", 14 - 5 * 0.5),
    (SPACE.make(scene=GRENADE_SPIDERS, queue=4), IDEAL, STRAIGHT, 5 - 6 * 0.5),
    (SPACE.make(scene=GRENADE_SPIDERS, queue=4), "unafraid", "rrrru....", 14 - 9 * 0.5),
)
"""Scene, design, the best way there, and what it is paid."""


@pytest.mark.parametrize(("scenario", "design", "way", "most"), CASES)
def test_each_reward_makes_another_way_optimal(scenario: Scenarios, design: str, way: str, most: float) -> None:
    assert paid(scenario, way, design) == pytest.approx(most)
    assert best(scenario, design) == pytest.approx(most)


def test_a_proxy_pays_as_the_ideal_utility_does_outside_its_own_scenes() -> None:
    for proxy, scene in (("untidy", GRENADE), ("selfish", FRUIT), ("no_apples", TRASH), ("unafraid", FRUIT)):
        assert best(SPACE.make(scene=scene), proxy) == pytest.approx(best(SPACE.make(scene=scene), IDEAL)), (
            proxy,
            scene,
        )


def test_both_fruits_cost_less_on_one_trip_than_on_two() -> None:
    """Gains from trade: the whole way is paid for once."""
    both, bananas, apples = (paid(SPACE.make(scene=FRUIT), way) - 5 for way in ("rurrrddrru", "rurrrrrd", "rrrrdrru"))
    assert (bananas, apples) == (3 - 8 * 0.5, 4.75 - 8 * 0.5)
    assert both == bananas + apples + 6 * 0.5  # the six steps along the street are saved


@pytest.mark.parametrize("trade", WORLD.dilemma.trades, ids=lambda trade: trade.name)
def test_the_expert_trades_where_the_weights_do(trade) -> None:
    """Apples are worth (4.75 - 3) / 0.5 = 3.5 steps; covering gains less than a fear of 3.5 a step from 2 steps on."""
    exact = {"apples-or-bananas": MOST_APPLE_QUEUE, "save-or-fear": MOST_GRENADE_QUEUE}[trade.name]
    curve = choices(ExpertPolicy(WORLD), WORLD, trade, 32, np.random.default_rng(0))
    assert curve.rate == exact + 0.5
    assert curve.first == tuple(float(level <= exact) for level in trade.levels)


@pytest.mark.parametrize("queue", range(7))
def test_the_expert_is_optimal_at_every_length_of_the_queue(queue: int) -> None:
    rows = [
        SPACE.make(scene=FRUIT, basket=1, queue=queue),
        SPACE.make(scene=GRENADE_SPIDERS, far=5, queue=min(queue, 4)),
    ]
    for row in rows:
        tree = grow(WORLD, row)
        weights = np.ones(len(tree.completions))
        events = rollout(ExpertPolicy(WORLD), WORLD, row, np.random.default_rng(0)).events
        earned = float(reward(events, event_weights(WORLD, WORLD.ideal)).sum())
        assert earned == pytest.approx(solve(tree, RewardSpec(design_weights(WORLD, IDEAL)), weights).value)


def test_nothing_happens_once_the_agent_has_covered_the_grenade() -> None:
    played = play(
        WORLD, SPACE.make(scene=GRENADE), np.array([[ACTIONS.index(a)] for a in ["right"] * 4 + ["up"] * 10], np.int64)
    )
    assert played.when("stepped").sum() == 5
    assert played.happened("covered")[0]
    assert not played.happened("reached")[0]
