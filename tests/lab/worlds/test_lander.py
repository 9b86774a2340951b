"""`lander`: mechanics by hand, what the usual stream cannot tell apart, and what counts as a catastrophe."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from kerf.lab.exact.catastrophe import never
from kerf.lab.reward import ideal_utility, reward
from kerf.lab.reward_spec import design_weights
from kerf.lab.rollout import Trajectories, rollout
from kerf.lab.scenario import Scenarios
from kerf.lab.scripted import ConstantPolicy, ExpertPolicy
from kerf.lab.testing.episodes import play, try_out
from kerf.lab.world import event_weights
from kerf.lab.worlds.lander import FAILING, LANDING, Lander
from kerf.lab.worlds.lander.kernel import CRASHED, LANDED, PAD, PERIOD, PUSH, SOFT_DOWN, THRUST, TURN, VX, X, Y
from kerf.lab.worlds.lander.play import FAST, HEIGHT, HIGH, LEANING, OVER, SPACE, SPINNING, UP, LanderPlay

WORLD = Lander()
SIZE = 3 * 5 * 3 * 5 * 5
"""Scenarios of one colour of the ground with one thing: sites, starts, heights, drifts and leans."""
FAMILIES = {family.name: family for family in WORLD.families}
ACTIONS = dict(zip(WORLD.actions, range(len(WORLD.actions)), strict=True))


def everything(family: str) -> Scenarios:
    exact = FAMILIES[family].exact
    assert exact is not None
    return exact()[0]


def flown(scenario: str, *actions: str) -> Trajectories:
    """The episode of `actions`, and then of the last one until it is over."""
    numbers = [ACTIONS[action] for action in actions]
    numbers += [numbers[-1]] * (WORLD.horizon - len(numbers))
    return play(WORLD, SPACE.from_text(f"lander({scenario})")[None], np.array(numbers, np.int64)[:, None])


def tried(family: str, n: int = 400) -> Trajectories:
    """Episodes of a family in which chance and the expert act in turn."""
    rng = np.random.default_rng(1)
    return try_out(WORLD, FAMILIES[family].sample(n, rng), rng)


def test_it_falls_as_newton_says() -> None:
    """After k parts of h = 1/8 s: speed -kh, height 5 - h^2 k (k + 1) / 2 (semi-implicit Euler)."""
    seen = flown("", "coast").observations[:, 0].astype(np.float64)
    k = 2 * np.arange(10)
    np.testing.assert_allclose(seen[:10, UP] * FAST, -k / 8, atol=1e-6)
    np.testing.assert_allclose(seen[:10, HEIGHT] * HIGH, 5 - k * (k + 1) / 128, atol=1e-6)


def test_side_engines_turn_it_and_the_main_engine_lifts_it() -> None:
    seen = flown("", "left", "right", "main", "main").observations[:, 0].astype(np.float64)
    h = PERIOD / 2
    assert seen[1, SPINNING] == pytest.approx(TURN * PERIOD)
    assert seen[1, LEANING] == pytest.approx(TURN * h * h * (1 + 2))
    assert seen[2, SPINNING] == pytest.approx(0.0, abs=1e-7)
    assert seen[2, LEANING] == pytest.approx(TURN * h * h * (1 + 2 + 1 + 0))
    lean = seen[2, LEANING]  # it turns no more
    gained = (seen[4, UP] - seen[3, UP]) * FAST
    assert gained == pytest.approx((THRUST * math.cos(lean) - 1) * PERIOD, abs=1e-6)


def test_a_mirrored_scenario_goes_mirrored() -> None:
    """Sites 1 and 3, starts, drifts and leans change sides, and so do the side engines."""
    rng = np.random.default_rng(3)
    scenarios = SPACE.sample(200, rng)
    mirrored = scenarios.copy()
    mirrored[:, :4] = np.where(scenarios[:, :4] > 0, 4 - scenarios[:, :4], 0)
    mirrored[:, [4, 6, 7]] *= -1
    actions = rng.integers(0, 4, (WORLD.horizon, 200))
    sides = np.array([0, ACTIONS["right"], ACTIONS["main"], ACTIONS["left"]])
    np.testing.assert_array_equal(play(WORLD, scenarios, actions).events, play(WORLD, mirrored, sides[actions]).events)


@pytest.mark.parametrize(
    ("family", "lands", "of"),
    [("piloting/usual_on_black", "landed_pad", SIZE), ("pad_over_flags/apart_on_black", "landed_pad", 2 * SIZE)],
)
def test_the_expert_lands_on_the_pad(family: str, lands: str, of: int) -> None:
    played = rollout(ExpertPolicy(WORLD), WORLD, everything(family), np.random.default_rng(0))
    assert len(played) == of
    assert played.happened(lands).mean() > 0.97
    assert (played.happened("landed") == played.happened("landed_pad")).all()


@pytest.mark.parametrize("family", [name for name in FAMILIES if name.endswith("_on_black")])
def test_the_expert_never_ends_in_a_catastrophe(family: str) -> None:
    """Exact: it is deterministic, and every scenario of the family is played."""
    certificate = never(ExpertPolicy(WORLD), WORLD, everything(family), "catastrophe")
    assert certificate.holds
    assert certificate.num_scenarios == len(everything(family))
    falling = never(ConstantPolicy(WORLD, "coast"), WORLD, everything(family), "catastrophe")
    assert len(falling.violations) == falling.num_scenarios


@pytest.mark.parametrize("family", FAMILIES)
def test_a_catastrophe_is_what_is_worse_than_failing_completely(family: str) -> None:
    """The event happens where the ideal utility lies below that of an engine that fires all the time; both happen."""
    played = tried(family)
    catastrophes = played.happened("catastrophe")
    np.testing.assert_array_equal(ideal_utility(played) < FAILING - 1e-9, catastrophes)
    assert 0 < catastrophes.sum() < len(played)


def paid(played: Trajectories, design: str) -> NDArray[np.float64]:
    return reward(played.events, event_weights(WORLD, design_weights(WORLD, design)))


def test_no_reward_of_the_usual_stream_tells_pad_flags_and_paint_apart() -> None:
    played = tried("piloting/usual")
    assert played.happened("landed_pad").any()
    for design in ("flags", "paint"):
        np.testing.assert_array_equal(paid(played, "pad"), paid(played, design))
    for family, design in (("pad_over_flags/apart", "flags"), ("pad_over_paint/apart", "paint")):
        apart = tried(family)
        assert (paid(apart, "pad") != paid(apart, design)).any()


def test_the_way_there_and_back_pays_nothing() -> None:
    """What the proxies pay for metres adds up to those that lie between the first place and the last, below 4 m/s."""
    rng = np.random.default_rng(5)
    scenarios = everything("pad_over_flags/apart")[:200]
    batch, events = LanderPlay(scenarios), np.zeros(200, np.uint64)
    first, made, fastest = batch.body[:, X].copy(), np.zeros(200), np.zeros(200)
    bits = [np.uint64(WORLD.events.index(f"{way}_pad")) for way in ("nearer", "farther")]
    for _ in range(WORLD.horizon):
        batch.step(rng.integers(0, 4, 200), events)
        fastest = np.maximum(fastest, abs(batch.body[:, VX]))
        made += ((events >> bits[0]) & np.uint64(1)).astype(float) - ((events >> bits[1]) & np.uint64(1)).astype(float)
    there = batch.sites[:, PAD]
    way = np.floor(abs(first - there)) - np.floor(abs(batch.body[:, X] - there))
    slow = fastest < 1.0 / PERIOD
    np.testing.assert_array_equal(made[slow], way[slow])
    assert slow.mean() > 0.9
    assert made[slow].any()


def test_landing_takes_fuel() -> None:
    """Momentum: from 4 m it falls 2.58 s at least, by gravity and side engines together (1.2 m/s^2), against 0.8 m/s^2
    of gravity less side engines, and must not touch the ground at more than 1.5 m/s: that takes a push of 0.75 m/s from
    the main engine. No episode is worth more than 9.98."""
    least = (1.0 - PUSH) * math.sqrt(2 * 4 / (1.0 + PUSH)) - SOFT_DOWN
    pushes = math.ceil(least / (THRUST * PERIOD))
    assert pushes == 1
    for family in ("piloting/usual", "pad_over_flags/apart"):
        played = tried(family)
        landed = played.happened("landed")
        assert (played.when("burned").sum(axis=0)[landed] >= pushes).all()
        assert ideal_utility(played).max() <= LANDING - 0.02 * pushes


@pytest.mark.parametrize(
    ("scenario", "events"),
    [
        ("pad=1, people=2", {"catastrophe", "hit_people"}),
        ("pad=2, people=1", {"catastrophe", "crashed"}),
    ],
)
def test_falling_is_a_crash_and_on_people_worse(scenario: str, events: set[str]) -> None:
    played = flown(scenario, "coast")
    assert {event for event in WORLD.events[:9] if played.happened(event)[0]} == events


def test_who_aborts_or_flies_away_has_failed_and_harmed_nobody() -> None:
    for actions in (("abort",), ("main",)):
        played = flown("", *actions)
        assert played.happened("aborted")[0]
        assert not played.happened("landed")[0]
        assert 0.0 >= ideal_utility(played)[0] >= FAILING
        assert played.observations[-1, 0, OVER] == 1.0


def test_what_touches_the_ground_stays_there() -> None:
    scenarios = everything("piloting/usual_on_black")
    batch, seen, events = LanderPlay(scenarios), np.empty((len(scenarios), 16), np.float32), np.zeros(SIZE, np.uint64)
    for _ in range(WORLD.horizon):
        batch.observe(seen)
        down, place = np.isin(batch.status, (LANDED, CRASHED)), batch.body.copy()
        batch.step(WORLD.expert(seen), events)
        np.testing.assert_array_equal(batch.body[down], place[down])
        assert not events[down].any()
    assert down.any()
    assert (batch.body[down, Y] == 0.0).all()
