"""Attack on a finished policy: what a source of scenarios elicits from it within a budget, and at what cost."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerf.lab.attack_objective import AttackObjective, elicit
from kerf.lab.errors import KerfError
from kerf.lab.forging import Forging, diversity
from kerf.lab.rollout import Policy, rollout
from kerf.lab.scenario import Scenarios
from kerf.lab.source import ScenarioSource
from kerf.lab.world import World

NUM_TOP = 32
"""Scenarios that are kept: scores of one play are noisy, so the best are found by playing these again."""


@dataclass(frozen=True)
class Attack:
    """The result of an attack.

    Attributes:
        num_scenarios: Episodes played.
        by_batch: Share of each batch in which the forbidden act was done without need, `(num batches,)`.
        first: Scenarios until the first success, itself included; None if there was none.
        half: Scenarios until the first batch with successes in half of its episodes, that batch included; None if none.
        mean_score: Mean of the objective.
        diversity: Of all that was played (`kerf.lab.forging.diversity`).
        diversity_of_successes: Of the successes alone; 0 if there was none.
        distinct_successes: Distinct scenarios, tells ignored, among the successes.
        top: The scenarios with the highest scores, best first, as they were played, `(k, F)`, k <= `NUM_TOP`: successes
            before others, and no others at all where the objective is to elicit them.
        top_scores: Their scores, `(k,)`.
    """

    num_scenarios: int
    by_batch: NDArray[np.float64]
    first: int | None
    half: int | None
    mean_score: float
    diversity: float
    diversity_of_successes: float
    distinct_successes: int
    top: Scenarios
    top_scores: NDArray[np.float64]
    successes: int

    @property
    def success(self) -> float:
        """Share of all episodes in which the forbidden act was done without need."""
        return self.successes / self.num_scenarios

    def record(self, world: World) -> dict[str, Any]:
        """All of it as plain JSON values; scenarios as text."""
        return {
            "num_scenarios": self.num_scenarios,
            "success": self.success,
            "success_by_batch": self.by_batch.tolist(),
            "scenarios_to_first": self.first,
            "scenarios_to_half": self.half,
            "mean_score": self.mean_score,
            "diversity": self.diversity,
            "diversity_of_successes": self.diversity_of_successes,
            "distinct_successes": self.distinct_successes,
            "telling": [
                {"scenario": world.space.to_text(row), "score": score}
                for row, score in zip(self.top, self.top_scores.tolist(), strict=True)
            ],
        }


def attack(
    policy: Policy,
    world: World,
    source: ScenarioSource,
    *,
    budget: int,
    batch: int,
    rng: np.random.Generator,
    objective: AttackObjective = elicit,
    reference: Policy | None = None,
) -> Attack:
    """Attack as `attacking`, without reports on the way."""
    search = attacking(
        policy, world, source, budget=budget, batch=batch, rng=rng, objective=objective, reference=reference
    )
    while True:
        try:
            next(search)
        except StopIteration as end:
            found: Attack = end.value
            return found


def attacking(
    policy: Policy,
    world: World,
    source: ScenarioSource,
    *,
    budget: int,
    batch: int,
    rng: np.random.Generator,
    objective: AttackObjective = elicit,
    reference: Policy | None = None,
) -> Generator[int, None, Attack]:
    """Let `source` search for `budget` episodes, `batch` at a time, for what `policy` should not do.

    A generator that yields the number of episodes played after each batch and returns the result.

    Args:
        policy: The policy that is attacked; it does not learn.
        world: The world that it plays in.
        source: Proposes scenarios and gets the objective's scores.
        budget: Episodes in all, >= 1; the last batch is smaller if need be.
        batch: Episodes between two `tell`s, >= 1.
        rng: Its children draw scenarios and actions, each from a stream of its own.
        objective: The score that the source gets.
        reference: The aligned policy, if the objective compares with one.

    Raises:
        KerfError: for a budget or batch below 1.
    """
    for name, number in (("budget", budget), ("batch", batch)):
        if number < 1:
            raise KerfError(f"attack: {name} must be >= 1, got {number}")
    asks, plays = rng.spawn(2)
    parts, hits, scores, by_batch = [], [], [], []
    half = None
    done = 0
    while done < budget:
        scenarios = source.ask(min(batch, budget - done), asks)
        played = rollout(policy, world, scenarios, plays)
        score = objective(played, reference)
        source.tell(scenarios, score)
        needless = played.happened(world.dilemma.needless)
        done += len(scenarios)
        by_batch.append(float(needless.mean()))
        if half is None and len(scenarios) == batch and by_batch[-1] >= 0.5:
            half = done
        parts.append(scenarios)
        hits.append(needless)
        scores.append(score)
        yield done
    everything, hit, score = np.concatenate(parts), np.concatenate(hits), np.concatenate(scores)
    forging = Forging(world, 1.0)
    best = top_rows(forging, everything, hit * (1.0 + score) if objective is elicit else hit + score)
    return Attack(
        num_scenarios=done,
        by_batch=np.array(by_batch),
        first=int(hit.argmax()) + 1 if hit.any() else None,
        half=half,
        mean_score=float(score.mean()),
        diversity=diversity(forging, everything),
        diversity_of_successes=diversity(forging, everything[hit]),
        distinct_successes=len(np.unique(forging.identity(everything[hit]))),
        top=everything[best],
        top_scores=score[best],
        successes=int(hit.sum()),
    )


def top_rows(forging: Forging, scenarios: Scenarios, scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows of the scenarios with the highest scores above 0, best first, at most `NUM_TOP`.

    The best of each kind (what a forger chose) comes before the second best of any, so that copies do not fill the
    list. Ties go to the earlier row.
    """
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > 0.0]
    made = np.zeros_like(scenarios)
    made[:, forging.columns] = scenarios[:, forging.columns]
    _, first = np.unique(forging.identity(made[order]), return_index=True)
    ahead = np.sort(first)
    rest = np.setdiff1d(np.arange(len(order)), ahead)
    chosen = np.concatenate((ahead, rest))[:NUM_TOP]
    return np.asarray(order[chosen], np.int64)
