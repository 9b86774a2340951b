"""Consequences of an option: the expected number of each event if it is chosen, by the policy's own doing afterwards.

After the first action the policy goes on, with one commitment: an option is taken *instead of* the others that are open
at the decision point, so what they would have brought about at once is not done later either. (Without that, an agent
that would leave at the next step, had it not left now, would seem to have nothing at stake.) Where every action would
bring it about, the agent does what it would have done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerf.lab.exact.branches import count
from kerf.lab.exact.decision_points import DecisionPoints, Stage
from kerf.lab.exact.evaluation import action_probs
from kerf.lab.rollout import Policy, pick
from kerf.lab.world import EventWords, ExactPlay, World

ROLLOUTS = 4
"""Episodes played for each option in each completion."""


@dataclass(frozen=True)
class Consequences:
    """What a policy chooses at decision points, and what follows.

    Attributes:
        points: The decision points, `P` with `M` options.
        probs: `(M,)`, the policy's probability of each option.
        counts: By stage `(J, O, E)`: the mean number of times that each event happens from the decision point on, for
            each member and each of the point's options in their order (0 beyond its last).
    """

    points: DecisionPoints
    probs: NDArray[np.float64]
    counts: tuple[NDArray[np.float64], ...]

    def expected(self, belief: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Expected number of each event if each option is chosen, `(M, E)`, given `DecisionPoints.belief`."""
        points = self.points
        first = np.searchsorted(points.situation, np.arange(len(points)))
        expected = np.zeros((len(points.situation), len(points.world.events)))
        for stage, counts, probs in zip(points.stages, self.counts, belief, strict=True):
            member, place = np.nonzero(_has_option(points, stage))
            np.add.at(expected, first[stage.point[member]] + place, probs[member, None] * counts[member, place])
        return expected


def consequences(
    policy: Policy,
    points: DecisionPoints,
    seed: int | Sequence[int],
    rollouts: int = ROLLOUTS,
    afterwards: Policy | None = None,
) -> Consequences:
    """What `policy` chooses at `points`, and what follows.

    Args:
        policy: The policy that is read.
        points: From `decision_points`.
        seed: Of the numbers that pick actions, the same for all policies (common random numbers).
        rollouts: Episodes for each option in each completion; a world of one step needs one, and gets one.
        afterwards: The policy that acts after the first action; None: `policy` itself.

    Raises:
        ValueError: if a policy returns NaN (or only -inf) somewhere.
    """
    world = points.world
    chances = action_probs(policy, points.observations)
    probs = np.bincount(points.option.ravel(), chances.ravel(), len(points.situation))
    later = policy if afterwards is None else afterwards
    copies = 1 if world.horizon == 1 else rollouts
    streams = np.random.SeedSequence(seed).spawn(len(points.stages))
    counts = tuple(
        _play_on(later, chances, points, stage, copies, np.random.default_rng(stream))
        for stage, stream in zip(points.stages, streams, strict=True)
    )
    return Consequences(points, probs / np.bincount(points.situation, probs)[points.situation], counts)


def _has_option(points: DecisionPoints, stage: Stage) -> NDArray[np.bool_]:
    """`(J, O)`: which options each member's point has."""
    number = np.bincount(points.situation, minlength=len(points))[stage.point]
    return np.arange(number.max()) < number[:, None]


def _play_on(
    policy: Policy,
    chances: NDArray[np.float64],
    points: DecisionPoints,
    stage: Stage,
    copies: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Mean counts `(J, O, E)` of one stage."""
    world = points.world
    has = _has_option(points, stage)
    member, place = np.nonzero(has)
    first = np.searchsorted(points.situation, np.arange(len(points)))
    chosen = first[stage.point[member]] + place
    everything = np.bitwise_or.reduceat(points.words, first)
    forgone = np.repeat(everything[points.situation[chosen]] & ~points.words[chosen], copies)
    uniforms = rng.random((world.horizon - stage.step, len(has), copies), np.float32)
    uniforms = uniforms[:, member].reshape(len(uniforms), -1)
    allowed = points.option[stage.point[member]] == chosen[:, None]
    with np.errstate(divide="ignore"):
        logits = np.log(np.where(allowed, chances[stage.point[member]], 0.0))
    logits[~np.isfinite(logits).any(axis=1)] = 0.0
    logits = np.repeat(np.where(allowed, logits, -np.inf), copies, axis=0).astype(np.float32)
    play = stage.play.fork(np.repeat(member, copies))
    pair = np.repeat(np.arange(len(member)), copies)
    totals = np.zeros((len(member), len(world.events)))
    share = np.full(len(pair), 1.0 / copies)
    for step, numbers in enumerate(uniforms):
        if step:
            seen = np.empty((len(pair), len(world.observations)), np.float32)
            play.observe(seen)
            logits = np.array(policy.logits(seen), np.float32)
        play, words = _step(world, play, logits, numbers, forgone if step else np.zeros_like(forgone))
        count(pair, share, words, totals)
    counts = np.zeros((*has.shape, len(world.events)))
    counts[member, place] = totals
    return counts


def _step(
    world: World, play: ExactPlay, logits: NDArray[np.float32], numbers: NDArray[np.float32], forgone: EventWords
) -> tuple[ExactPlay, EventWords]:
    """One step by `logits` `(m, A)`, of which actions that bring about what is `forgone` `(m,)` are struck out."""
    actions = np.empty(len(numbers), np.int64)
    if not pick(logits, numbers, actions):
        raise ValueError("the policy returned logits that are no distribution")
    words = np.zeros(len(numbers), np.uint64)
    everyone = np.arange(len(numbers))
    after = play.fork(everyone)
    after.step(actions, words)
    wrong = np.flatnonzero(words & forgone)
    if not len(wrong):
        return after, words
    num_actions = len(world.actions)
    tried = play.fork(np.repeat(wrong, num_actions))
    of_actions = np.zeros(len(wrong) * num_actions, np.uint64)
    tried.step(np.tile(np.arange(num_actions), len(wrong)), of_actions)
    struck = of_actions.reshape(-1, num_actions) & forgone[wrong, None] != 0
    struck &= ~struck.all(axis=1, keepdims=True)
    left = np.where(struck, -np.inf, logits[wrong]).astype(np.float32)
    left[~np.isfinite(left).any(axis=1)] = 0.0
    left[struck] = -np.inf
    instead = np.empty(len(wrong), np.int64)
    pick(left, numbers[wrong], instead)
    actions[wrong] = instead
    after = play.fork(everyone)
    after.step(actions, words)
    return after, words
