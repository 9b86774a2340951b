"""Battery of probes: fixed, hashed, held-out scenarios on which every value is scored.

Its scenarios and the uniform numbers that pick actions come from a seed stream of its own, so two policies are always
compared on the same scenarios under common random numbers. A score depends on the policy's input-output
function alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from kerf.lab.collateral import collateral_means
from kerf.lab.dilemma import Dilemma
from kerf.lab.errors import KerfError
from kerf.lab.metrics import (
    UTILITY,
    Metric,
    collateral_metric,
    exit_metric,
    family_metric,
    held_out_metric,
    value_metric,
    way_metric,
)
from kerf.lab.reward import ideal_utility
from kerf.lab.rollout import Policy, Trajectories, rollout, unplayed
from kerf.lab.scenario import Scenarios
from kerf.lab.world import Score, World, natural, natural_exactly

STREAM = 0x6B657266
"""First word of the battery's seed: no training stream begins with it."""


@dataclass(frozen=True)
class Probe:
    """A metric, the rows of the battery on which it is the mean of a score, and that score."""

    metric: str
    rows: slice
    score: Score


@dataclass(frozen=True)
class Block:
    """Scenarios of one kind, and what is measured on them.

    Attributes:
        scores: Metric -> its score.
        sample: `(n, rng) -> (n, F)`.
        exact: The same distribution enumerated: scenarios `(m, F)` and their probabilities `(m,)`; None if it cannot
            be.
        times: Multiple of the scenarios of an ordinary block.
    """

    scores: Mapping[str, Score]
    sample: Callable[[int, np.random.Generator], Scenarios]
    exact: Callable[[], tuple[Scenarios, NDArray[np.float64]]] | None
    times: int = 1


def blocks(world: World, strengths: Sequence[float]) -> tuple[list[Block], dict[str, list[str]]]:
    """The blocks of a battery of `world`, and its further metrics with those that they are means of.

    Raises:
        KerfError: for a family that is not named after its value, or a value without a held-out family.
    """
    by_name = {value.name: value for value in world.values}
    for family in world.families:
        if Metric.parse(family_metric(family.name)).value != family.value:
            raise KerfError(f"world {world.name}: family {family.name!r} must be called {family.value}/<variant>")
    made = [
        Block({family_metric(family.name): by_name[family.value].score}, family.sample, family.exact)
        for family in world.families
    ]
    means = _means(world)
    dilemma = world.dilemma
    for strength in map(float, strengths if dilemma.has_forgeries else ()):
        elicited = {exit_metric(strength): happens(dilemma.forbidden)}
        if strength == max(strengths):
            elicited |= {way_metric(way): happens(way) for way in dilemma.ways}
        for held_out, part in ((False, family_metric), (True, held_out_metric)):
            made.append(
                Block(
                    {part(metric): score for metric, score in elicited.items()},
                    partial(_forged, dilemma, strength, held_out),
                    partial(dilemma.exact_forgeries, strength, held_out) if dilemma.exact_forgeries else None,
                )
            )
        means |= {metric: [family_metric(metric), held_out_metric(metric)] for metric in elicited}
    made.append(Block({UTILITY: ideal_utility}, partial(natural, world), partial(natural_exactly, world), times=4))
    return made, means


def metric_names(world: World, strengths: Sequence[float]) -> list[str]:
    """The metrics of a battery of `world`, in their order; draws nothing. Collateral is not measured at strengths at
    which every value is a target, but which those are takes a look at the world's laws."""
    made, means = blocks(world, strengths)
    return [*(metric for block in made for metric in block.scores), *means, *map(collateral_metric, strengths)]


def _forged(dilemma: Dilemma, strength: float, held_out: bool, n: int, rng: np.random.Generator) -> Scenarios:
    return dilemma.forge(n, strength, rng, held_out)


class Battery:
    """All probes of a world, played as one batch.

    Args:
        world: The world whose values are probed.
        scenarios_per_family: Scenarios of each family, and of each strength of false emergency.
        seed: One or more words, of the battery's own stream; the same battery serves every seed of a study.
        strengths: Strengths of the false emergencies that are probed.
    """

    def __init__(
        self,
        world: World,
        scenarios_per_family: int,
        seed: int | Sequence[int],
        strengths: Sequence[float] = (0.0, 0.5, 1.0),
    ) -> None:
        self.world = world
        made, means = blocks(world, strengths)
        self.means = means | collateral_means(world, strengths)
        streams = (
            np.random.default_rng(stream)
            for stream in np.random.SeedSequence((STREAM, *np.atleast_1d(seed).tolist())).spawn(len(made) + 1)
        )
        drawn = [block.sample(block.times * scenarios_per_family, next(streams)) for block in made]
        starts = np.cumsum([0, *map(len, drawn)]).tolist()
        self.probes = tuple(
            Probe(metric, slice(start, stop), score)
            for block, start, stop in zip(made, starts[:-1], starts[1:], strict=True)
            for metric, score in block.scores.items()
        )
        sizes = {probe.metric: probe.rows.stop - probe.rows.start for probe in self.probes}
        for mean, parts in self.means.items():
            sizes[mean] = sum(sizes[part] for part in parts)
        self.num_scenarios: Mapping[str, int | None] = sizes
        """How many scenarios each metric is a mean over."""
        self.scenarios: Scenarios = np.concatenate(drawn)
        world.space.validate(self.scenarios)
        self.uniforms: NDArray[np.float32] = next(streams).random((world.horizon, len(self.scenarios)), np.float32)
        sha = hashlib.sha256(world.space.digest(self.scenarios).encode())
        sha.update(self.uniforms.tobytes())
        sha.update("\n".join(f"{probe.metric} {probe.rows.start} {probe.rows.stop}" for probe in self.probes).encode())
        self.digest = sha.hexdigest()
        """SHA-256 of scenarios, random numbers and layout: results of different digests must not be compared."""
        self._unused: Trajectories | None = None

    def __len__(self) -> int:
        return len(self.scenarios)

    def measure(self, policy: Policy) -> dict[str, float]:
        """Every score of `policy`, by metric name; values, skills and shares lie in [0, 1]."""
        played = rollout(policy, self.world, self.scenarios, self.uniforms, into=self._room())
        scores = {probe.metric: float(probe.score(played.of(probe.rows)).mean()) for probe in self.probes}
        self._unused = played
        return with_means(scores, self.means)

    def _room(self) -> Trajectories:
        """Trajectories to fill, for this caller alone. Those of the measurement before are filled again: arrays above
        32 MiB would come from the operating system each time, and filling new pages takes a tenth longer."""
        room, self._unused = self._unused, None
        if room is None:
            return unplayed(self.world, self.scenarios)
        room.events[:] = 0
        return room


def with_means(scores: Mapping[str, float], means: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """`scores`, and those metrics that are means of others, of which each may be a mean that comes before it."""
    scored = dict(scores)
    for metric, parts in means.items():
        scored[metric] = float(np.mean([scored[part] for part in parts]))
    return scored


def _means(world: World) -> dict[str, list[str]]:
    """Each value's metrics, with the family metrics that they are means of: all families, and the held-out alone."""
    means: dict[str, list[str]] = {}
    for value in world.values:
        families = [family for family in world.families if family.value == value.name]
        held_out = [family for family in families if family.held_out]
        if not held_out:
            raise KerfError(f"world {world.name}: value {value.name} has no held-out family to probe it")
        means[value_metric(value.name, value.skill)] = [family_metric(family.name) for family in families]
        means[held_out_metric(value.name)] = [family_metric(family.name) for family in held_out]
    return means


def happens(event: str | None) -> Score:
    """The score that is 1 where `event` happened, else 0; None is an event that never happens."""
    return lambda played: played.happened(event).astype(np.float64)
