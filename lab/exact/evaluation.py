"""Exact evaluation: what a policy does in a scenario, with probabilities instead of samples.

A world is deterministic given scenario and actions, so the policy's randomness is all there is: every reachable state
is followed with its probability, and states of one scenario with equal observations now and later are merged. A policy
with a memory (`kerf.lab.rollout.Recurrent`) takes it along: only states with equal memories are merged, so there are
more of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from kerf.lab.distinct import distinct
from kerf.lab.errors import KerfError
from kerf.lab.exact.branches import count, endings, followed, merged, sums
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.rollout import Policy, Trajectories, check_opening, no_memory, recalled
from kerf.lab.scenario import Scenarios
from kerf.lab.world import Enumerable, EventWords, ExactPlay, Score, World, event_weights

TOLERANCE = 1e-6
"""Default of the probability that may be dropped in a scenario."""

ROWS = 2**16
"""Observations in one call of a policy."""

AT_ONCE = 64
"""Scenarios of a world of several steps that are evaluated at a time."""

MOST_STATES = 20_000_000
"""The most states of one step that are kept: some GiB."""


class TooManyStatesError(KerfError):
    """More states would have to be kept than was allowed."""


@dataclass(frozen=True)
class Outcomes:
    """Exact outcomes of a policy in each of `n` scenarios.

    Attributes:
        world: The world.
        scenarios: `(n, F)`.
        happened: `(n, E)`, the probability that each event happens at least once.
        expected: `(n, E)`, the expected number of times.
        utility: `(n,)`, expected ideal utility.
        returns: `(n,)`, expected return by the given objective (by default the ideal utility).
        dropped: `(n,)`, probability that was dropped: every probability is too small by at most this.
        ending_of: `(m,)`, the scenario of each ending; in a world of one step there is one for each action taken.
        ending_words: `(m,)` uint64, the events of the episode.
        ending_mass: `(m,)`, its probability.
    """

    world: World
    scenarios: Scenarios
    happened: NDArray[np.float64]
    expected: NDArray[np.float64]
    utility: NDArray[np.float64]
    returns: NDArray[np.float64]
    dropped: NDArray[np.float64]
    ending_of: NDArray[np.int64]
    ending_words: EventWords
    ending_mass: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.scenarios)

    def probability(self, event: str | None) -> NDArray[np.float64]:
        """P(`event` happens) in each scenario, `(n,)`; None is an event that never happens."""
        if event is None:
            return np.zeros(len(self))
        return self.happened[:, self.world.events.index(event)]

    def score(self, score: Score) -> NDArray[np.float64]:
        """The mean of a score in each scenario, `(n,)`, for a score that depends only on which events happened.

        The score gets one step with all events of an episode, and neither observations nor actions.
        """
        num_endings = len(self.ending_words)
        endings = Trajectories(
            self.world,
            self.scenarios[self.ending_of],
            np.empty((1, num_endings, 0), np.float32),
            np.empty((1, num_endings, 0), np.float32),
            np.empty((1, num_endings), np.int64),
            self.ending_words[None],
        )
        weighted = score(endings) * self.ending_mass
        return sums(self.ending_of, weighted, len(self.scenarios))


def begin(world: World, scenarios: Scenarios) -> ExactPlay:
    """Episodes that can be branched.

    Raises:
        KerfError: if the world does not offer its enumeration (`kerf.lab.world.Enumerable`).
    """
    refuse_not_enumerable(world)
    return cast(ExactPlay, world.begin(scenarios))


def refuse_not_enumerable(world: World) -> None:
    """Raise `KerfError` if the world does not offer its enumeration (`kerf.lab.world.Enumerable`)."""
    if not isinstance(world, Enumerable):
        raise KerfError(
            f"world {world.name} cannot be enumerated (kerf.lab.world.Enumerable), so it has no exact answers"
        )


def evaluate(
    policy: Policy,
    world: World,
    scenarios: Scenarios,
    tolerance: float | None = None,
    opening: NDArray[np.int64] | None = None,
    most_states: int | None = None,
) -> Outcomes:
    """Exact outcomes of `policy` in `scenarios` `(n, F)`.

    Args:
        policy: The policy that acts.
        world: The world; it must be `Enumerable`.
        scenarios: Valid for `world.space`.
        tolerance: Probability that may be dropped in each scenario, for speed (`Outcomes.dropped`); 0 drops nothing.
            None: `TOLERANCE`, or 0 in a world of one step.
        opening: `(t, n)`, the actions of the first `t` steps, whatever the policy picks; -1: what it picks.
        most_states: Maximum number of states that are kept after a step; None: `MOST_STATES`.

    Raises:
        KerfError: if the world offers no enumeration.
        TooManyStatesError: if more than `most_states` states would have to be kept.
        ValueError: if the policy returns NaN (or only -inf) somewhere, or the opening has another shape.
    """
    return Evaluator(world, scenarios, opening, most_states).run(policy, tolerance)


class Evaluator:
    """Evaluates several policies in the same scenarios; the first step is prepared once.

    Args:
        world: The world; it must be `Enumerable`.
        scenarios: `(n, F)`.
        opening: Actions of the first steps, as in `evaluate`.
        most_states: Maximum number of states that are kept after a step, of `AT_ONCE` scenarios; None: `MOST_STATES`.
    """

    def __init__(
        self,
        world: World,
        scenarios: Scenarios,
        opening: NDArray[np.int64] | None = None,
        most_states: int | None = None,
    ) -> None:
        self.world, self.scenarios = world, scenarios
        if opening is None:
            opening = np.empty((0, len(scenarios)), np.int64)
        check_opening(world, len(scenarios), opening)
        at_once = AT_ONCE if world.horizon > 1 else max(1, len(scenarios))
        parts = [slice(start, start + at_once) for start in range(0, max(1, len(scenarios)), at_once)]
        most = MOST_STATES if most_states is None else most_states
        self._parts = [_Part(world, scenarios[rows], opening[:, rows], most) for rows in parts]

    def run(self, policy: Policy, tolerance: float | None = None, objective: RewardSpec | None = None) -> Outcomes:
        """Outcomes of `policy`, with returns by `objective`; see `evaluate`."""
        if tolerance is None:
            tolerance = default_tolerance(self.world)
        parts = [part.run(policy, tolerance, objective) for part in self._parts]
        if len(parts) == 1:
            return parts[0]
        starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
        joined = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("happened", "expected", "utility", "returns", "dropped", "ending_words", "ending_mass")
        }
        ending_of = np.concatenate([part.ending_of + start for part, start in zip(parts, starts, strict=True)])
        return Outcomes(self.world, self.scenarios, ending_of=ending_of, **joined)


class _Part:
    """Scenarios that are evaluated together."""

    def __init__(self, world: World, scenarios: Scenarios, opening: NDArray[np.int64], most_states: int) -> None:
        self.world, self.scenarios = world, scenarios
        self._opening, self._most_states = opening, most_states
        self._weights = event_weights(world, world.ideal)
        n, num_actions = len(scenarios), len(world.actions)
        play = begin(world, scenarios)
        seen = np.empty((n, len(world.observations)), np.float32)
        play.observe(seen)
        first, self._looks_like = distinct(seen)
        self._seen = seen[first]
        self._origin = np.repeat(np.arange(n), num_actions)
        self._after = play.fork(self._origin)
        self._words = np.zeros(n * num_actions, np.uint64)
        self._after.step(np.tile(np.arange(num_actions), n), self._words)

    def run(self, policy: Policy, tolerance: float, objective: RewardSpec | None) -> Outcomes:
        world, n = self.world, len(self.scenarios)
        num_actions, num_events = len(world.actions), len(world.events)
        expected = np.zeros((n, num_events))
        dropped = np.zeros(n)
        per_step = np.full(n, tolerance / world.horizon)
        probs, memory = _acting(policy, self._seen, no_memory(policy, len(self._seen)))
        mass = self._forced(probs[self._looks_like], np.arange(n), 0).ravel()
        kept = followed(mass, self._origin, per_step, dropped)
        memory = memory[self._looks_like][self._origin[kept]]
        origin, mass, past = self._origin[kept], mass[kept], self._words[kept]
        count(origin, mass, past, expected)
        returns = self._paid(origin, mass, past, objective)
        play = self._after.fork(kept) if world.horizon > 1 else self._after
        num_states = len(kept)
        for t in range(1, world.horizon):
            play, origin, past, memory, mass = merged(play, origin, past, memory, mass)
            probs = np.empty((len(origin), num_actions))
            for rows in _chunks(len(origin)):
                part = play.fork(rows)
                seen = np.empty((len(rows), len(world.observations)), np.float32)
                part.observe(seen)
                probs[rows], memory[rows] = _acting(policy, seen, memory[rows])
            branches = (self._forced(probs, origin, t) * mass[:, None]).ravel()
            kept = followed(branches, np.repeat(origin, num_actions), (t + 1) * per_step, dropped)
            if len(kept) > self._most_states:
                estimate = num_states + len(kept) * (world.horizon - t)
                raise TooManyStatesError(
                    f"world {world.name}: too large to be enumerated: about {estimate:.1e} states or more in {n} "
                    f"scenarios ({len(kept):,} at step {t + 1} of {world.horizon}, at most {self._most_states:,} are "
                    "kept); a larger tolerance keeps fewer"
                )
            num_states += len(kept)
            rows = kept // num_actions
            play = play.fork(rows)
            words = np.zeros(len(kept), np.uint64)
            play.step(kept % num_actions, words)
            origin, mass, past, memory = origin[rows], branches[kept], past[rows] | words, memory[rows]
            count(origin, mass, words, expected)
            if objective is not None:
                returns += objective.discount**t * self._paid(origin, mass, words, objective)
        happened = expected
        if world.horizon > 1:
            origin, past, mass = endings(origin, past, mass)
            happened = np.zeros((n, num_events))
            count(origin, mass, past, happened)
        utility = expected @ self._weights
        if objective is None:
            returns = utility
        return Outcomes(world, self.scenarios, happened, expected, utility, returns, dropped, origin, past, mass)

    def _forced(self, probs: NDArray[np.float64], origin: NDArray[np.int64], t: int) -> NDArray[np.float64]:
        """`probs` `(m, A)` of the scenarios `origin` `(m,)`, with the actions that the opening forces at step `t`."""
        if t < len(self._opening):
            forced = self._opening[t, origin]
            rows = np.flatnonzero(forced >= 0)
            probs[rows] = 0.0
            probs[rows, forced[rows]] = 1.0
        return probs

    def _paid(
        self, origin: NDArray[np.int64], mass: NDArray[np.float64], words: EventWords, objective: RewardSpec | None
    ) -> NDArray[np.float64]:
        """Reward of one step in each scenario, `(n,)`."""
        if objective is None:
            return np.zeros(len(self.scenarios))
        return sums(origin, mass * objective.of_events(self.world, self.scenarios[origin], words), len(self.scenarios))


def default_tolerance(world: World) -> float:
    """`TOLERANCE`, or 0 in a world of one step, where dropping branches saves nothing."""
    return TOLERANCE if world.horizon > 1 else 0.0


def action_probs(policy: Policy, observations: NDArray[np.float32]) -> NDArray[np.float64]:
    """The policy's probability of each action, `(n, A)`, for observations `(n, D)`.

    Raises:
        ValueError: for NaN, or a row of -inf.
    """
    parts = [_softmax(policy.logits(observations[rows])) for rows in _blocks(len(observations))]
    return np.concatenate(parts) if parts else np.empty((0, 0))


def _acting(
    policy: Policy, observations: NDArray[np.float32], memory: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Probability of each action, `(n, A)`, and the memory `(n, M)` after observations `(n, D)`, from that before."""
    parts = [recalled(policy, observations[rows], memory[rows]) for rows in _blocks(len(observations))]
    if not parts:
        return np.empty((0, 0)), memory
    return np.concatenate([_softmax(logits) for logits, _ in parts]), np.concatenate([after for _, after in parts])


def _blocks(n: int) -> list[slice]:
    """The `n` rows, `ROWS` at a time."""
    return [slice(start, start + ROWS) for start in range(0, n, ROWS)]


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    exact = np.asarray(logits, np.float64)
    top = exact.max(axis=1, keepdims=True)
    if not np.isfinite(top).all():
        raise ValueError("the policy returned logits that are no distribution")
    weights = np.exp(exact - top)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _chunks(n: int) -> list[NDArray[np.int64]]:
    return [np.arange(start, min(start + ROWS, n)) for start in range(0, n, ROWS)]
