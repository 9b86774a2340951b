"""Exact battery of a world whose families are enumerated: all scenarios, with probabilities instead of draws."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerf.lab.battery import Battery, Block, blocks, with_means
from kerf.lab.collateral import collateral_means
from kerf.lab.errors import KerfError
from kerf.lab.exact.evaluation import Evaluator, refuse_not_enumerable
from kerf.lab.rollout import Policy
from kerf.lab.scenario import Scenarios
from kerf.lab.world import Score, World


@dataclass(frozen=True)
class _Exact:
    scores: Mapping[str, Score]
    evaluator: Evaluator
    probs: NDArray[np.float64]


def written_out(world: World, made: Sequence[Block]) -> list[tuple[Scenarios, NDArray[np.float64]]]:
    """All scenarios of each of the blocks that a battery is made of, and their probabilities.

    Raises:
        KerfError: as `ExactBattery`.
    """
    if world.horizon != 1:
        raise KerfError(f"world {world.name} has {world.horizon} steps: only worlds of one step are probed exactly")
    refuse_not_enumerable(world)
    written = []
    for block in made:
        if block.exact is None:
            raise KerfError(f"world {world.name}: {next(iter(block.scores))} is not written out, so it is not exact")
        written.append(block.exact())
        world.space.validate(written[-1][0])
    return written


class ExactBattery:
    """All probes of a world, without sampling. Same methods as `kerf.lab.battery.Battery`.

    Args:
        world: A world of one step that is `Enumerable` and enumerates its families and forgeries.
        strengths: Strengths of the false emergencies that are probed.

    Raises:
        KerfError: if the world has more steps (a score could then depend on more than the events), or does not
            enumerate them.
    """

    def __init__(self, world: World, strengths: Sequence[float] = (0.0, 0.5, 1.0)) -> None:
        self.world = world
        made, means = blocks(world, strengths)
        self.means = means | collateral_means(world, strengths)
        self._blocks: list[_Exact] = []
        sha = hashlib.sha256(f"exact {sorted(world.ideal.items())}".encode())
        drawn: list[Scenarios] = []
        for block, (scenarios, probs) in zip(made, written_out(world, made), strict=True):
            self._blocks.append(_Exact(block.scores, Evaluator(world, scenarios), probs / probs.sum()))
            drawn.append(scenarios)
            sha.update(world.space.digest(scenarios).encode())
            sha.update(np.round(probs, 12).tobytes())
            sha.update("\n".join(block.scores).encode())
        self.scenarios: Scenarios = np.concatenate(drawn)
        """Every scenario of every probe."""
        self.num_scenarios: Mapping[str, int | None] = dict.fromkeys(
            [*(metric for block in made for metric in block.scores), *self.means]
        )
        """None for every metric: none is a mean over a sample."""
        self.digest = sha.hexdigest()
        """SHA-256 of scenarios, probabilities, ideal and layout: results of different digests must not be compared."""

    def __len__(self) -> int:
        return len(self.scenarios)

    def measure(self, policy: Policy) -> dict[str, float]:
        """Every score of `policy`, by metric name, exactly; values, skills and shares lie in [0, 1] up to rounding."""
        scores: dict[str, float] = {}
        for block in self._blocks:
            outcomes = block.evaluator.run(policy, tolerance=0.0)
            for metric, score in block.scores.items():
                scores[metric] = float(outcomes.score(score) @ block.probs)
        return with_means(scores, self.means)


AnyBattery = Battery | ExactBattery
"""A battery, sampled or enumerated."""
