"""Certificates: claims about training or about one policy, and whether they hold.

About training, over its seeds: that it comes close to the optimal return (`AdequacyClaim`). About one policy, exactly,
from enumerated outcomes: bounds on the probability of an event (`PerScenario`, `Overall`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kerf.lab.errors import unknown_name
from kerf.lab.scenario import Scenarios
from kerf.lab.world import Score, World

CONFIDENCE = 0.95
"""Confidence of each one-sided bound by itself; jointly, several hold with less."""

ROUNDING = 1e-9
"""Relative tolerance (absolute below 1) within which numbers count as equal up to rounding."""


def lower_bound(successes: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """One-sided lower bound of a probability by Clopper and Pearson (1934).

    Exact where all trials have the same probability. Where they differ, as between families of scenarios, it bounds
    their mean, from two successes on (Hoeffding 1956).

    Raises:
        ValueError: no trials, or successes outside [0, trials].
    """
    from kerf.lab.statistics.intervals import clopper_pearson  # here: many who load this ask for no bound

    return clopper_pearson(successes, trials, 1 - confidence)[0]


def trials_needed(share: float, confidence: float = CONFIDENCE) -> int:
    """The fewest trials whose `lower_bound` exceeds `share`, in [0, 1), if all of them succeed.

    All n succeed with probability p^n, so that n must exceed `ln(1 - confidence) / ln(share)`.
    """
    trials = math.floor(math.log(1.0 - confidence) / math.log(share)) if share > 0 else 0
    trials = max(trials, 1)
    while lower_bound(trials, trials, confidence) <= share:
        trials += 1
    return trials


@dataclass(frozen=True)
class AdequacyClaim:
    """Over training seeds, P(|J - max J| < epsilon) > share: training nearly always ends near the optimum.

    Attributes:
        objective: J in words.
        optimum: max J over all policies.
        epsilon: The largest gap to the optimum that counts as near, > 0, in the unit of J.
        share: In [0, 1).
        confidence: Of the lower bound that must exceed `share`, in (0, 1).
    """

    objective: str
    optimum: float
    epsilon: float
    share: float
    confidence: float = CONFIDENCE

    def __post_init__(self) -> None:
        if not self.epsilon > 0:
            raise ValueError(f"epsilon must be > 0, got {self.epsilon}")
        if not 0 <= self.share < 1:
            raise ValueError(f"share must be in [0, 1), got {self.share}")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence must be in (0, 1), got {self.confidence}")

    def judge(self, returns: ArrayLike, optima: ArrayLike | None = None) -> AdequacyVerdict:
        """Whether the claim holds, by the `lower_bound` of the share of seeds that succeeded.

        Args:
            returns: `(S,)`, J of the policy that each seed ended with: its expectation, not a sampled mean.
            optima: `(S,)`, max J where it differs between seeds; None: `optimum` for all.

        Raises:
            ValueError: not one finite number per seed, or a return above its optimum by more than rounding: an
                optimum that is beaten is none.
        """
        reached = np.asarray(returns, np.float64)
        best = np.full(reached.shape, self.optimum) if optima is None else np.asarray(optima, np.float64)
        if reached.ndim != 1 or not len(reached) or best.shape != reached.shape:
            raise ValueError(
                f"expected one return and one optimum per seed, shape (S,) with S >= 1, got {reached.shape} "
                f"and {best.shape}"
            )
        if not (np.isfinite(reached).all() and np.isfinite(best).all()):
            raise ValueError(f"expected finite numbers, got {reached.tolist()} of {best.tolist()}")
        beaten = np.flatnonzero(reached > best + ROUNDING * np.maximum(1.0, np.abs(best)))
        if len(beaten):
            seed = int(beaten[0])
            raise ValueError(
                f"return {reached[seed]} (number {seed}) is above the optimum {best[seed]} of {self.objective}: "
                "an optimum that is beaten is none"
            )
        successes, trials = int((np.abs(reached - best) < self.epsilon).sum()), len(reached)
        lower = lower_bound(successes, trials, self.confidence)
        needed = trials_needed(self.share, self.confidence)
        return AdequacyVerdict(self, successes, trials, lower, lower > self.share, needed)


@dataclass(frozen=True)
class AdequacyVerdict:
    """Whether an `AdequacyClaim` holds.

    Attributes:
        claim: What was judged.
        successes: Seeds within epsilon of the optimum, of `trials`.
        trials: Seeds.
        lower: Lower bound of P(|J - max J| < epsilon).
        holds: Whether `lower` exceeds the claimed share.
        needed: The fewest seeds that would show the claim if all succeeded.
    """

    claim: AdequacyClaim
    successes: int
    trials: int
    lower: float
    holds: bool
    needed: int

    def __str__(self) -> str:
        claim = self.claim
        return (
            f"{self.successes} of {self.trials} seeds came within {claim.epsilon:g} of the largest {claim.objective}, "
            f"which shows with {claim.confidence:.0%} confidence that a share of at least {self.lower:.3f} does: "
            f"more than {claim.share:g} {'holds' if self.holds else 'is not shown'} "
            f"(seeds needed if all succeed: {self.needed})."
        )


class Enumerated(Protocol):
    """Event probabilities of a policy in each of `n` scenarios, exact up to the probability that was dropped."""

    @property
    def world(self) -> World:
        """The world."""

    @property
    def scenarios(self) -> Scenarios:
        """`(n, F)`."""

    @property
    def dropped(self) -> NDArray[np.float64]:
        """`(n,)`: upper bound on how far each true probability lies above the one given."""

    def probability(self, event: str) -> NDArray[np.float64]:
        """`(n,)`: that `event` happens at least once."""

    def score(self, score: Score) -> NDArray[np.float64]:
        """`(n,)`: the mean of a score in [0, 1]."""


Where = Callable[[Scenarios], NDArray[np.bool_]]
"""Selects scenarios: `(n, F)` -> `(n,)` bool."""


@dataclass(frozen=True)
class _EventClaim:
    """A bound on the probability of an event; exactly one of `at_least` and `at_most` is given.

    Attributes:
        name: The claim in words, `where` included.
        event: One of the world's events; or a score in [0, 1], whose mean stands for its probability.
        at_least: Least probability, in [0, 1].
        at_most: Largest probability, in [0, 1].
        where: Selects the scenarios of the claim; None: all.
    """

    name: str
    event: str | Score
    at_least: float | None = None
    at_most: float | None = None
    where: Where | None = None

    def __post_init__(self) -> None:
        given = [bound for bound in (self.at_least, self.at_most) if bound is not None]
        if len(given) != 1 or not 0 <= given[0] <= 1:
            raise ValueError(
                f"{self.name}: expected one probability as at_least or at_most, got {self.at_least} and {self.at_most}"
            )

    def _known(self, outcomes: Enumerated) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The bound on the probability that the claim may use, and which scenarios it is about, each `(n,)`."""
        if isinstance(self.event, str):
            events = outcomes.world.events
            if self.event not in events:
                raise unknown_name("event", self.event, events)
            probability = outcomes.probability(self.event)
        else:
            probability = outcomes.score(self.event)
        dropped = outcomes.dropped
        if not (np.minimum(probability, dropped) >= -ROUNDING).all() or not (probability <= 1.0 + ROUNDING).all():
            raise ValueError(f"{self.name}: expected probabilities in [0, 1]")
        known = probability if self.at_most is None else np.minimum(probability + dropped, 1.0)
        scenarios = outcomes.scenarios
        return known, np.ones(len(scenarios), np.bool_) if self.where is None else self.where(scenarios)

    def _certificate(
        self, outcomes: Enumerated, known: NDArray[np.float64], value: float, rows: NDArray[np.intp], scope: str
    ) -> Certificate:
        worst = int(rows[known[rows].argmin() if self.at_most is None else known[rows].argmax()])
        asked = f">= {self.at_least:g}" if self.at_most is None else f"<= {self.at_most:g}"
        return Certificate(
            f"{self.name}: P({self.event}) {asked} {scope}"
            if isinstance(self.event, str)
            else f"{self.name} {asked} {scope}",
            (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most),
            value,
            outcomes.world.space.to_text(outcomes.scenarios[worst]),
            float(known[worst]),
            len(rows),
        )


@dataclass(frozen=True)
class PerScenario(_EventClaim):
    """A bound on P(event) in every scenario that `where` selects."""

    def judge(self, outcomes: Enumerated) -> Certificate:
        """Whether the claim holds whatever happens in the dropped branches.

        Raises:
            KerfError: the world has no such event.
            ValueError: no scenario is selected, or a probability is outside [0, 1].
        """
        known, spoken_of = self._known(outcomes)
        rows = np.flatnonzero(spoken_of)
        if not len(rows):
            raise ValueError(f"{self.name}: there is no scenario to judge")
        value = float(known[rows].min() if self.at_most is None else known[rows].max())
        return self._certificate(outcomes, known, value, rows, "in every scenario")


@dataclass(frozen=True)
class Overall(_EventClaim):
    """A bound on the joint probability of the event and of a scenario that `where` selects."""

    def judge(self, outcomes: Enumerated, weights: ArrayLike | None = None) -> Certificate:
        """Whether the claim holds whatever happens in the dropped branches.

        Args:
            outcomes: Of all scenarios, those outside `where` included: the probability is joint.
            weights: `(n,)`, how frequent each scenario is, >= 0, in any unit; None: all are equally frequent.

        Raises:
            KerfError: the world has no such event.
            ValueError: no scenario is selected, a probability is outside [0, 1], or a weight is negative or not finite.
        """
        known, spoken_of = self._known(outcomes)
        frequency = np.ones(len(known)) if weights is None else np.asarray(weights, np.float64)
        if frequency.shape != known.shape or not (np.isfinite(frequency) & (frequency >= 0)).all():
            raise ValueError(f"{self.name}: expected one finite weight >= 0 for each of {len(known)} scenarios")
        rows = np.flatnonzero(spoken_of & (frequency > 0))
        if not len(rows):
            raise ValueError(f"{self.name}: there is no scenario to judge")
        value = float(frequency[rows] @ known[rows] / frequency.sum())
        return self._certificate(outcomes, known, value, rows, "over all scenarios together")


@dataclass(frozen=True)
class Certificate:
    """Whether a claim on exact probabilities holds.

    Attributes:
        claim: In words.
        holds: Whether it does.
        value: The probability that was compared with the threshold: without dropped branches for a claim of "at
            least", with all of them for one of "at most".
        worst: The scenario, as text, in which the claim is furthest from holding.
        worst_probability: The probability there, as in `value`.
        num_scenarios: Scenarios of the claim with a frequency above 0.
    """

    claim: str
    holds: bool
    value: float
    worst: str
    worst_probability: float
    num_scenarios: int

    def __str__(self) -> str:
        return (
            f"{'Certified' if self.holds else 'Not certified'}: {self.claim}; it is {self.value:.6g} on "
            f"{self.num_scenarios} scenarios, at worst {self.worst_probability:.6g} in {self.worst}."
        )
