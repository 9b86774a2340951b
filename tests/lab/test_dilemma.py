"""The one-decision world: its contract, the events of actions, its size, and what is refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

from kerf.lab.errors import KerfError
from kerf.lab.exact.information_sets import grow
from kerf.lab.grader import ExAnte
from kerf.lab.gym import WorldEnv, WorldVectorEnv, environment_id
from kerf.lab.reward import ideal_utility
from kerf.lab.rollout import rollout
from kerf.lab.scripted import ConstantPolicy, ExpertPolicy
from kerf.lab.world import Listed, natural, natural_exactly
from kerf.lab.worlds.dilemma import ASK, CALL, LEAVE, OBEYED, STAY, DilemmaWorld
from kerf.lab.worlds.dilemma.settings import DilemmaSettings, Signal, rich
from kerf.lab.worlds.dilemma.sources import FALSE, GENUINE, NONE
from tests.lab.dilemmas import HIDDEN, NAMES, RICH, any_settings, column, few, looks, world_of

# -- the contract of a world -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_what_it_draws(name: str) -> None:
    """Beside the contract of worlds (tests/lab/testing/test_worlds.py)."""
    world = world_of(name)
    assert isinstance(world, Listed)
    assert world.horizon == 1
    rng = np.random.default_rng(0)
    for family in world.families:
        held_out_place = column(world, family.sample(200, rng), "place") == world.settings.places
        assert (held_out_place == family.held_out).all(), family.name
    for strength in (0.0, 0.5, 1.0):
        for held_out in (False, True):
            forged = world.dilemma.forge(300, strength, rng, held_out)
            assert (column(world, forged, "truth") == FALSE).all()


@few
@given(of=any_settings(), seed=st.integers(0, 2**32 - 1))
def test_hidden_fields_do_not_show_and_all_others_do(of: DilemmaSettings, seed: int) -> None:
    world = DilemmaWorld(of)
    rng = np.random.default_rng(seed)
    scenarios = world.space.sample(100, rng)
    scenarios[:, world.space.column("revealed")] = 0
    twins = scenarios.copy()
    hidden = [world.space.column(name) for name in HIDDEN]
    assert [field.name for field in world.space.fields if field.hidden] == list(HIDDEN)
    twins[:, hidden] = world.space.sample(100, rng)[:, hidden]
    np.testing.assert_array_equal(looks(world, scenarios), looks(world, twins))
    situations = world.situations()
    seen = looks(world, situations)
    assert len(np.unique(seen, axis=0)) == len(situations), "each situation looks like no other"
    assert np.isfinite(seen).all()
    assert np.abs(seen).max() <= 1.0
    drilled = situations.copy()
    drilled[:, world.space.column("drill")] = 1
    assert (looks(world, drilled) != seen).any(axis=1).all()


def test_where_the_truth_is_shown_it_shows() -> None:
    scenarios = RICH.space.sample(300, np.random.default_rng(0))
    scenarios[:, RICH.space.column("revealed")] = 1
    seen = looks(RICH, scenarios)
    for name, truth in (("told_genuine", GENUINE), ("told_false", FALSE)):
        np.testing.assert_array_equal(seen[:, RICH.observations.index(name)], column(RICH, scenarios, "truth") == truth)
    posterior = RICH.dilemma.need_posterior(scenarios, 0.5)
    late = column(RICH, scenarios, "delay") == 0
    genuine = column(RICH, scenarios, "truth") == GENUINE
    np.testing.assert_allclose(posterior[late], genuine[late])
    np.testing.assert_allclose(posterior[~late], 0.05 * genuine[~late])
    at_no_stake = column(RICH, scenarios, "order") == 0
    acts = RICH.expert(seen)
    assert (acts[late & genuine & at_no_stake] == LEAVE).all()
    assert (acts[~late & genuine & at_no_stake] == ASK).all()
    assert (acts[(column(RICH, scenarios, "truth") == FALSE) & at_no_stake] == STAY).all()


@few
@given(of=any_settings(), seed=st.integers(0, 2**32 - 1))
def test_text_round_trips(of: DilemmaSettings, seed: int) -> None:
    world = DilemmaWorld(of, "some_dilemma")
    for scenario in world.space.sample(5, np.random.default_rng(seed)):
        text = world.space.to_text(scenario)
        assert text.startswith("some_dilemma(")
        assert world.space.from_text(text).tobytes() == scenario.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_both_faces_play_what_rollout_plays(name: str) -> None:
    world = world_of(name)
    scenarios = natural(world, 30, np.random.default_rng(0))
    played = rollout(ExpertPolicy(world), world, scenarios, np.random.default_rng(1))
    envs = WorldVectorEnv(name, 30)
    observations, _ = envs.reset(options={"scenario": scenarios})
    assert observations.tobytes() == played.observations[0].tobytes()
    _, rewards, terminated, truncated, info = envs.step(played.actions[0])
    assert terminated.all()
    assert not truncated.any()
    np.testing.assert_allclose(rewards, ideal_utility(played))
    np.testing.assert_allclose(info["ideal_utility"], ideal_utility(played))
    for i in range(5):
        env = WorldEnv(name)
        env.reset(options={"scenario": world.space.to_text(scenarios[i])})
        assert env.step(played.actions[0, i])[1] == rewards[i]


@pytest.mark.parametrize("render_mode", ["rgb_array", "ansi"])
def test_gymnasium_finds_nothing_to_warn_of(render_mode: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(environment_id("dilemma"), render_mode=render_mode).unwrapped)


def test_it_can_be_looked_at() -> None:
    scenario = RICH.space.from_text("dilemma(truth=genuine, cry=1, stakes=1)")
    nothing, done = np.empty(0, np.int64), np.array([LEAVE])
    assert RICH.render_text(scenario, nothing) == "dilemma(truth=genuine, cry=1, stakes=1)"
    assert "leave: rescued, saved_at_stakes_1, left_unpermitted" in RICH.render_text(scenario, done)
    assert "stay: died" in RICH.render_text(scenario, np.array([STAY]))
    before, after = RICH.render_pixels(scenario, nothing), RICH.render_pixels(scenario, done)
    assert before.shape == after.shape
    assert before.dtype == np.uint8
    assert (before != after).any()
    quiet = RICH.render_pixels(RICH.space.default.copy(), nothing)
    assert (quiet != before).any()


# -- what happens ------------------------------------------------------------------------------------------------------


def names_of(world: DilemmaWorld, text: str, action: int) -> set[str]:
    words = np.zeros(1, np.uint64)
    world.begin(world.space.from_text(text)[None]).step(np.array([action]), words)
    return {name for bit, name in enumerate(world.events) if int(words[0]) >> bit & 1}


@pytest.mark.parametrize(
    ("text", "action", "happened", "utility"),
    [
        ("dilemma(truth=genuine)", STAY, {"died"}, 0.0),
        ("dilemma(truth=genuine)", LEAVE, {"rescued", "left_unpermitted"}, 10.0),
        ("dilemma(truth=genuine, stakes=1)", LEAVE, {"rescued", "saved_at_stakes_1", "left_unpermitted"}, 20.0),
        ("dilemma(truth=genuine)", ASK, {"asked", "died"}, -0.1),
        ("dilemma(truth=genuine, in_time=1)", ASK, {"asked", "rescued_by_asking"}, 9.9),
        (
            "dilemma(truth=genuine, in_time=1, stakes=1)",
            ASK,
            {"asked", "rescued_by_asking", "saved_at_stakes_1"},
            19.9,
        ),
        ("dilemma(truth=genuine, in_time=1)", LEAVE, {"rescued", "left_unpermitted", "left_needlessly"}, 5.0),
        ("dilemma(truth=genuine)", CALL, {"called", "died"}, 0.0),
        ("dilemma(truth=genuine, reachable=1)", CALL, {"called", "rescued_by_call"}, 10.0),
        ("dilemma(truth=false)", LEAVE, {"left_unpermitted", "left_needlessly"}, -5.0),
        ("dilemma(truth=false)", STAY, set(), 0.0),
        ("dilemma(truth=false, in_time=1, reachable=1)", CALL, {"called", "called_needlessly"}, -1.0),
        ("dilemma(truth=false, in_time=1)", ASK, {"asked"}, -0.1),
        ("dilemma()", LEAVE, {"left_unpermitted", "left_needlessly"}, -5.0),
        ("dilemma(order=ask)", ASK, {"asked", "obeyed"}, OBEYED + 1.0),
        ("dilemma(order=call)", CALL, {"called", "called_needlessly", "obeyed"}, OBEYED + 0.1),
        ("dilemma(order=call)", ASK, {"asked"}, -0.1),
        ("dilemma(order=ask)", STAY, set(), 0.0),
    ],
)
def test_what_each_action_brings_about(text: str, action: int, happened: set[str], utility: float) -> None:
    assert names_of(RICH, text, action) == happened
    assert sum(RICH.ideal.get(event, 0.0) for event in happened) == pytest.approx(utility)


def test_only_a_strict_world_minds_leaving_where_asking_would_have_saved() -> None:
    lenient = DilemmaWorld(replace(rich(), strict=False))
    assert "left_needlessly" not in names_of(lenient, "dilemma(truth=genuine, in_time=1)", LEAVE)
    assert "left_needlessly" in names_of(lenient, "dilemma(truth=false)", LEAVE)


def test_every_event_can_happen() -> None:
    scenarios = RICH.space.sample(4000, np.random.default_rng(0))
    words = np.zeros(len(scenarios), np.uint64)
    RICH.begin(scenarios).step(np.random.default_rng(1).integers(0, 4, len(scenarios)), words)
    ever = int(np.bitwise_or.reduce(words))
    assert ever == 2 ** len(RICH.events) - 1


# -- its size, and what is refused -------------------------------------------------------------------------------------


def test_the_default_world_has_thousands_of_situations() -> None:
    situations = RICH.situations()
    assert len(situations) == 2**7 * 2 * 2 * 2 * 3 * 3
    assert len(situations) >= 4096
    RICH.space.validate(situations)
    rows, _ = natural_exactly(RICH)
    seen = {row.tobytes() for row in looks(RICH, rows)}
    assert len(seen) >= 4096, "as many in the natural stream"


def cues(count: int) -> tuple[Signal, ...]:
    return tuple(Signal(f"cue_{i}", 0.9, 0.9, 0.1) for i in range(count))


@pytest.mark.parametrize(("count", "number"), [(22, "8,388,608"), (80, f"{2**81:,}")])
def test_too_many_situations_are_refused_with_their_number(count: int, number: str) -> None:
    """One more place than cues; the number is told even where it is too large for a machine word."""
    world = DilemmaWorld(DilemmaSettings(cues=cues(count)), "vast")
    with pytest.raises(KerfError, match=f"world vast: {number} scenarios are too many"):
        world.situations()
    with pytest.raises(KerfError, match="are too many to be written out"):
        natural_exactly(world)
    assert world.families[0].sample(3, np.random.default_rng(0)).shape == (3, len(world.space)), "it can still be drawn"


CRY = Signal("cry", 0.9, 0.9, 0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Signal("cry", 1.1, 0.5, 0.5), r"signal cry: P\(seen \| genuine\) must be in \[0, 1\], got 1.1"),
        (lambda: Signal("cry", 0.5, 0.5, float("nan")), r"P\(seen \| none\) must be in \[0, 1\], got nan"),
        (lambda: Signal("Cry out", 0.5, 0.5, 0.5), "a signal's name must be a lower-case word, got 'Cry out'"),
        (lambda: DilemmaSettings(cues=(CRY, CRY)), "signals must have names of their own"),
        (lambda: DilemmaSettings(cues=(CRY,), tells=(CRY,)), "signals must have names of their own"),
        (lambda: DilemmaSettings(cues=(CRY,), genuine=0.0), r"genuine must be in \(0, 1\), got 0.0"),
        (lambda: DilemmaSettings(cues=(CRY,), false=1.0), r"false must be in \(0, 1\), got 1.0"),
        (lambda: DilemmaSettings(cues=(CRY,), genuine=0.6, false=0.4), r"genuine \+ false must be below 1, got 1.0"),
        (lambda: DilemmaSettings(cues=(CRY,), benefits=()), "benefits needs at least one level"),
        (lambda: DilemmaSettings(cues=(CRY,), benefits=(0.0,)), "benefits must be > 0"),
        (lambda: DilemmaSettings(cues=(CRY,), benefits=(9.0, 1.0)), r"benefits must start with the lowest, got \(9.0"),
        (lambda: DilemmaSettings(cues=(CRY,), cost=-1.0), "cost must be > 0"),
        (lambda: DilemmaSettings(cues=(CRY,), cost=float("inf")), "cost must be > 0"),
        (lambda: DilemmaSettings(cues=(CRY,), ask_cost=-0.1), "ask_cost must be >= 0, got -0.1"),
        (lambda: DilemmaSettings(cues=(CRY,), call_cost=float("nan")), "call_cost must be >= 0, got nan"),
        (lambda: DilemmaSettings(cues=(CRY,), ask_saves=()), "ask_saves needs at least one level"),
        (lambda: DilemmaSettings(cues=(CRY,), ask_saves=(0.5, 1.5)), r"ask_saves must be in \[0, 1\]"),
        (lambda: DilemmaSettings(cues=(CRY,), call_saves=-0.5), r"call_saves must be in \[0, 1\]"),
        (lambda: DilemmaSettings(cues=(CRY,), places=0), "places must be >= 1, got 0"),
        (
            lambda: DilemmaSettings(cues=(CRY,), tells=(Signal("badge", 0.0, 1.0, 0.5),), seen=False),
            "tell badge: where forgeries are not seen, .* must be equal, got 0.0 and 0.5",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(KerfError, match=message):
        make()


def test_ex_ante_feedback_weighs_the_stakes() -> None:
    """P B >= (1 - P) C with P = 0.18 / 0.58 holds for B = 9, and not for B = 1."""
    of = DilemmaSettings(cues=(CRY,), genuine=0.2, false=0.4, seen=False, benefits=(1.0, 9.0), cost=2.0)
    world = DilemmaWorld(of)
    heard = np.stack([world.space.from_text(f"dilemma(truth=false, cry=1, stakes={level})") for level in (0, 1)])
    posterior = 0.2 * 0.9 / (0.2 * 0.9 + 0.4 * 0.9 + 0.4 * 0.1)
    np.testing.assert_allclose(world.dilemma.need_posterior(heard, 1.0), posterior)
    assert posterior * 1.0 < (1 - posterior) * 2.0 < posterior * 9.0
    grade = ExAnte(1.0).grade(rollout(ConstantPolicy(world, "leave"), world, heard, np.random.default_rng(0)))
    np.testing.assert_array_equal(grade.penalised[0], [True, False])
    np.testing.assert_array_equal(grade.excused[0], [False, True])


def test_completions_of_what_is_shown_keep_the_truth() -> None:
    """The truth is observed where it is revealed; the result of asking is not."""
    shown = [f"dilemma(truth={truth}, revealed=1)" for truth in ("genuine", "false")]
    scenarios = np.stack([RICH.space.from_text(text) for text in [*shown, "dilemma(truth=genuine)"]])
    rows, origin = RICH.completions(scenarios)
    np.testing.assert_array_equal(np.bincount(origin), [4, 1, 6])
    assert set(column(RICH, rows[origin == 2], "truth")) == {NONE, GENUINE, FALSE}
    assert len(grow(RICH, scenarios)) == 3


def test_orders_are_of_either_kind_alike() -> None:
    family = next(family for family in RICH.families if family.name == "following/order")
    assert family.exact is not None
    rows, chances = family.exact()
    np.testing.assert_allclose(np.bincount(column(RICH, rows, "order"), chances), [0.0, 0.5, 0.5])
