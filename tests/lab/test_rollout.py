"""The rollout function: common random numbers, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from kerf.lab.rollout import pick, rollout
from kerf.lab.scripted import ExpertPolicy, UniformPolicy
from kerf.lab.world import natural
from tests.lab.policies import WORLD

SCENARIOS = natural(WORLD, 120, np.random.default_rng(0))
NUM_ACTIONS = len(WORLD.actions)


@dataclass(frozen=True)
class Answers:
    """A policy that is any function of observations."""

    answer: Callable[[np.ndarray], np.ndarray]

    def logits(self, observations: np.ndarray) -> np.ndarray:
        return self.answer(observations).astype(np.float32)


LINEAR = np.random.default_rng(9).standard_normal((len(WORLD.observations), NUM_ACTIONS)) * 2
SOME_POLICY = Answers(lambda observations: observations @ LINEAR)


def test_cutting_the_batch_in_parts_changes_nothing() -> None:
    uniforms = np.random.default_rng(1).random((WORLD.horizon, len(SCENARIOS)), np.float32)
    policy = Answers(lambda observations: (observations[:, :, None] * LINEAR).sum(axis=1))  # same sum at any batch size
    whole = rollout(policy, WORLD, SCENARIOS, uniforms)
    for cut in (slice(0, 1), slice(1, 50), slice(50, 120)):
        part = rollout(policy, WORLD, SCENARIOS[cut], uniforms[:, cut])
        for name in ("observations", "logits", "actions", "events"):
            assert getattr(part, name).tobytes() == getattr(whole, name)[:, cut].tobytes(), name


def test_a_generator_and_its_numbers_play_the_same() -> None:
    drawn = rollout(SOME_POLICY, WORLD, SCENARIOS, np.random.default_rng(2))
    numbers = np.random.default_rng(2).random((WORLD.horizon, len(SCENARIOS)), np.float32)
    given = rollout(SOME_POLICY, WORLD, SCENARIOS, numbers)
    other = rollout(SOME_POLICY, WORLD, SCENARIOS, np.random.default_rng(3))
    assert drawn.events.tobytes() == given.events.tobytes()
    assert drawn.actions.tobytes() == given.actions.tobytes()
    assert drawn.actions.tobytes() != other.actions.tobytes()


def test_episodes_are_whole_and_typed() -> None:
    played = rollout(SOME_POLICY, WORLD, SCENARIOS, np.random.default_rng(2))
    shape = (WORLD.horizon, len(SCENARIOS))
    assert len(played) == len(SCENARIOS)
    assert (played.observations.shape, played.observations.dtype) == ((*shape, len(WORLD.observations)), np.float32)
    assert (played.logits.shape, played.logits.dtype) == ((*shape, NUM_ACTIONS), np.float32)
    assert (played.actions.shape, played.actions.dtype) == (shape, np.int64)
    assert (played.events.shape, played.events.dtype) == (shape, np.uint64)
    np.testing.assert_array_equal(played.happened("left"), played.when("left").any(axis=0))
    np.testing.assert_array_equal(played.field("door"), SCENARIOS[:, WORLD.space.column("door")])
    assert len(rollout(SOME_POLICY, WORLD, SCENARIOS[:0], np.random.default_rng(2))) == 0


def spoil(value: float, everywhere: bool) -> Answers:
    def answer(observations: np.ndarray) -> np.ndarray:
        logits = np.zeros((len(observations), NUM_ACTIONS))
        late = observations[:, WORLD.observations.index("time")] > 0.2
        logits[late, slice(None) if everywhere else 3] = value
        return logits

    return Answers(answer)


@pytest.mark.parametrize(
    ("value", "everywhere"), [(np.nan, False), (np.nan, True), (-np.inf, True), (np.inf, False)], ids=str
)
def test_logits_that_are_no_distribution_are_refused(value: float, everywhere: bool) -> None:
    with pytest.raises(ValueError, match="no distribution at step 5"):
        rollout(spoil(value, everywhere), WORLD, SCENARIOS, np.random.default_rng(0))


def test_uniforms_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(24, 120\), got \(24, 119\)"):
        rollout(SOME_POLICY, WORLD, SCENARIOS, np.zeros((WORLD.horizon, 119), np.float32))


def test_an_opening_forces_actions_and_what_follows_has_the_same_numbers() -> None:
    scenarios, uniforms = SCENARIOS[:6], np.random.default_rng(1).random((WORLD.horizon, 6), np.float32)
    policy, ask = UniformPolicy(WORLD), WORLD.actions.index("ask")
    plain = rollout(policy, WORLD, scenarios, uniforms)
    opening = np.full((3, 6), -1)
    np.testing.assert_array_equal(rollout(policy, WORLD, scenarios, uniforms, opening=opening).actions, plain.actions)
    opening[2, :4] = ask
    forced = rollout(policy, WORLD, scenarios, uniforms, opening=opening)
    assert (forced.actions[2, :4] == ask).all()
    np.testing.assert_array_equal(np.delete(forced.actions, 2, axis=0), np.delete(plain.actions, 2, axis=0))
    np.testing.assert_array_equal(forced.events[:, 4:], plain.events[:, 4:])
    assert (forced.observations[3:, :4] != plain.observations[3:, :4]).any(), "it is played, not only written down"
    for wrong in (np.zeros((WORLD.horizon + 1, 6), np.int64), opening[:, 1:], np.full((1, 6), NUM_ACTIONS)):
        with pytest.raises(ValueError, match="opening must"):
            rollout(policy, WORLD, scenarios, uniforms, opening=wrong)


def test_minus_infinity_is_never_taken() -> None:
    played = rollout(spoil(-np.inf, False), WORLD, SCENARIOS, np.random.default_rng(4))
    taken = np.stack([(played.actions == action).any(axis=1) for action in range(NUM_ACTIONS)])
    assert taken[3, :5].any()
    assert not taken[3, 5:].any()
    assert taken[[0, 1, 2, *range(4, NUM_ACTIONS)]].any(axis=1).all()


@pytest.mark.parametrize("uniform", [0.0, np.nextafter(np.float32(1), np.float32(0))])
def test_minus_infinity_is_not_taken_at_the_ends_either(uniform: float) -> None:
    logits = np.array([[-np.inf, 0.0, 1.0, -np.inf], [-np.inf, -np.inf, -80.0, -np.inf]], np.float32)
    actions = np.full(2, -1)
    assert pick(logits, np.full(2, uniform, np.float32), actions)
    assert actions.tolist() == [1 if uniform == 0.0 else 2, 2]


def test_actions_are_drawn_from_the_softmax() -> None:
    """Chi-square tests at level 0.001 over three rows of logits."""
    rng = np.random.default_rng(5)
    num_draws = 50_000
    for row in ([0.0, 1.0, -1.0, 2.0], [100.0, 99.0, 98.5, 99.9], [-3.0, -3.0, -3.0, -5.0]):
        logits = np.tile(np.array(row, np.float32), (num_draws, 1))
        actions = np.empty(num_draws, np.int64)
        assert pick(logits, rng.random(num_draws, np.float32), actions)
        weights = np.exp(np.array(row) - max(row))
        counts = np.bincount(actions, minlength=len(row))
        assert stats.chisquare(counts, num_draws * weights / weights.sum()).pvalue > 0.001 / 3


def test_the_same_number_picks_the_same_action_for_a_like_policy() -> None:
    """Common random numbers: two policies that agree somewhere do the same there."""
    uniforms = np.random.default_rng(6).random((WORLD.horizon, len(SCENARIOS)), np.float32)
    first = rollout(UniformPolicy(WORLD), WORLD, SCENARIOS, uniforms)
    shifted = rollout(Answers(lambda o: np.full((len(o), NUM_ACTIONS), 7.0)), WORLD, SCENARIOS, uniforms)
    assert first.actions.tobytes() == shifted.actions.tobytes()


def test_a_certain_policy_needs_no_luck() -> None:
    first, second = (rollout(ExpertPolicy(WORLD), WORLD, SCENARIOS, np.random.default_rng(seed)) for seed in (0, 1))
    assert first.events.tobytes() == second.events.tobytes()
