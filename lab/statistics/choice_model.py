"""Logistic choice model: the weights on expected events that best explain with what probability a policy chooses.

In a situation x an agent has options o, each standing for n_o actions of equal consequences phi(x, o):

    P(o | x)  is proportional to  n_o exp(w . phi(x, o))

which is the conditional logit of McFadden (1974, in Zarembka (ed.), Frontiers in Econometrics, 105-142) and, with phi
the expected counts of what follows, the one-step form of maximum-entropy inverse reinforcement learning (Ziebart,
Maas, Bagnell and Dey 2008, AAAI, 1433-1438). The policy's probabilities are known, not sampled, so the fit minimises
the divergence KL(policy || model) itself, averaged over situations.

What choices reveal has limits (Ng and Russell 2000, ICML, 663-670). Of w only the product of weights and a scale is
seen; an event whose expected count no choice changes has no weight that could be read; of events that only ever change
together only a sum has; and where choices are certain, only the sign. `ChoiceFit.missing` says of which events that is
so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

VARIES = 1e-3
"""An event counts as changed by choices if its expected count differs by this much (root mean square) between them."""

RIDGE = 1e-6
"""The fit adds RIDGE / 2 z^2 nats for each weight, with z the log-odds that it makes (root mean square): so little that
it holds back only weights on which not more than about one choice in 10^6 depends."""

LEARNT = 0.99
"""Share of a weight that the choices, and not the ridge, must determine for it to be identified. (Where choices are
certain, the fit ends where log-odds of some 10 to 15 balance the ridge, at a share of 0.9 to 0.95.)"""

INDIFFERENT = 0.01
"""Divergence from equal chances, in nats, below which an agent reveals no preference."""

DETERMINISTIC = 1e-3
"""Mean entropy of the choices, in nats, below which they are no probabilities, and reveal an order alone."""

FITS = 0.5
"""Share of the divergence from equal chances that the weights must explain for them to be reported."""

MOST_STEPS = 200
TINY = 1e-300


@dataclass(frozen=True)
class Choices:
    """What a policy chooses between, in `P` situations with `M` options in all.

    Attributes:
        features: `(M, K)`, expected number of each event if the option is chosen.
        situation: `(M,)` ascending from 0, the situation of each option.
        probs: `(M,)`, the policy's probability of each; they sum to 1 in each situation.
        sizes: `(M,)`, number of actions that the option stands for, >= 1.
        weights: `(P,)`, how much each situation counts, > 0.

    Raises:
        ValueError: shapes that do not fit, a situation without an option, or probabilities that do not sum to 1.
    """

    features: NDArray[np.float64]
    situation: NDArray[np.int64]
    probs: NDArray[np.float64]
    sizes: NDArray[np.float64]
    weights: NDArray[np.float64]

    def __post_init__(self) -> None:
        num = len(self.weights)
        if self.features.ndim != 2 or not (
            len(self.features) == len(self.situation) == len(self.probs) == len(self.sizes)
        ):
            raise ValueError("expected features (M, K), and a situation, a probability and a size for each option")
        if not np.array_equal(np.unique(self.situation), np.arange(num)) or (np.diff(self.situation) < 0).any():
            raise ValueError(f"expected options of situations 0 to {num - 1}, in order")
        if not np.allclose(self.sums(self.probs), 1.0, atol=1e-6):
            raise ValueError("expected probabilities that sum to 1 in each situation")
        if not (self.weights > 0).all() or not (self.sizes >= 1).all():
            raise ValueError("expected weights > 0 of situations and sizes >= 1 of options")

    def sums(self, of_options: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums `(P, ...)` over the options of each situation."""
        starts = np.searchsorted(self.situation, np.arange(len(self.weights)))
        return np.asarray(np.add.reduceat(of_options, starts, axis=0), np.float64)

    @property
    def share(self) -> NDArray[np.float64]:
        """`(M,)`: the weight of each option's situation, of a total of 1."""
        return (self.weights / self.weights.sum())[self.situation]

    @property
    def equal(self) -> NDArray[np.float64]:
        """`(M,)`: the probability of each option if all actions are equally likely."""
        return self.sizes / self.sums(self.sizes)[self.situation]

    def centred(self, of_options: NDArray[np.float64]) -> NDArray[np.float64]:
        """Differences `(M, ...)` from the mean over the actions of the situation."""
        chances = self.equal if of_options.ndim == 1 else self.equal[:, None]
        return of_options - self.sums(chances * of_options)[self.situation]

    def covariance(self, one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
        """Mean product of the differences that two utilities `(M,)` make between actions."""
        return float((self.share * self.equal) @ (self.centred(one) * self.centred(other)))

    def spread(self, utility: NDArray[np.float64]) -> float:
        """Root mean square of the differences that a utility `(M,)` makes between actions."""
        return float(np.sqrt(max(0.0, self.covariance(utility, utility))))

    def agreement(self, one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
        """Correlation, in [-1, 1], of the differences that two utilities `(M,)` make; NaN if one makes none.

        It depends on what the utilities make of the options, not on how they are split into weights, so it is defined
        where weights are not.
        """
        scale = self.spread(one) * self.spread(other)
        return float(np.clip(self.covariance(one, other) / scale, -1.0, 1.0)) if scale > 1e-12 else float("nan")

    @property
    def entropy(self) -> float:
        """Entropy of the policy's choices between options, in nats a situation."""
        return max(0.0, -float(self.share @ (self.probs * np.log(np.maximum(self.probs, TINY)))))

    def divergence(self, model: NDArray[np.float64]) -> float:
        """KL(policy || model), in nats a situation, of a model's probabilities `(M,)`."""
        terms = self.probs * (np.log(np.maximum(self.probs, TINY)) - np.log(np.maximum(model, TINY)))
        return max(0.0, float(self.share @ terms))


NEVER, CONFOUNDED, CERTAIN = "no choice changes it", "changes only together with others", "certain: only its sign shows"
"""Why the weight of an event is not identified."""


@dataclass(frozen=True)
class ChoiceFit:
    """The logistic choice model that is nearest to a policy.

    Attributes:
        weights: `(K,)`, log-odds per event (weight times scale); NaN where not identified.
        utility: `(M,)`, w . phi of each option, centred; defined whether or not single weights are identified.
        missing: `(K,)`, why a weight is not identified (`NEVER`, `CONFOUNDED`, `CERTAIN`); None where it is.
        divergence: KL(policy || model) in nats a situation.
        indifferent: KL(policy || equal chances) in nats a situation.
        entropy: Of the policy's choices, in nats a situation.
    """

    weights: NDArray[np.float64]
    utility: NDArray[np.float64]
    missing: tuple[str | None, ...]
    divergence: float
    indifferent: float
    entropy: float

    @property
    def explained(self) -> float:
        """Share of the divergence from equal chances that is explained, at most 1; NaN for an indifferent policy.

        McFadden's likelihood ratio index, less the entropy that no model can explain (the R^2 of Cameron and Windmeijer
        1997, J. Econometrics 77, 329).
        """
        return 1.0 - self.divergence / self.indifferent if self.indifferent >= INDIFFERENT else float("nan")

    @property
    def refusal(self) -> str | None:
        """Why the weights must not be read; None if they may."""
        if self.indifferent < INDIFFERENT:
            return f"indifferent: within {self.indifferent:.3f} nats of equal chances"
        if self.entropy < DETERMINISTIC:
            return f"deterministic: an entropy of {self.entropy:.4f} nats, so only the order of its choices shows"
        if not self.explained >= FITS:
            return f"does not fit: no weights explain more than {max(0.0, self.explained):.0%} of its choices"
        if all(self.missing):
            return "nothing identified: " + "; ".join(sorted({why for why in self.missing if why}))
        return None


def fit_choices(choices: Choices) -> ChoiceFit:
    """The weights of least KL(policy || model), and which of them are identified."""
    centred = choices.centred(choices.features)
    spread = np.sqrt((choices.share * choices.equal) @ centred**2)
    varies = spread >= VARIES
    scaled = centred[:, varies] / spread[varies]
    at_first = _learnt(choices, scaled, np.zeros(scaled.shape[1]))
    coordinates = _newton(choices, scaled)
    in_the_end = _learnt(choices, scaled, coordinates)
    missing: list[str | None] = [NEVER] * len(varies)
    for column, first, last in zip(np.flatnonzero(varies), at_first, in_the_end, strict=True):
        missing[column] = CONFOUNDED if first < LEARNT else CERTAIN if last < LEARNT else None
    weights = np.full(len(varies), np.nan)
    weights[varies] = coordinates / spread[varies]
    weights[[why is not None for why in missing]] = np.nan
    utility = scaled @ coordinates
    model = _model(choices, utility)
    return ChoiceFit(
        weights,
        utility,
        tuple(missing),
        choices.divergence(model),
        choices.divergence(choices.equal),
        choices.entropy,
    )


def _learnt(choices: Choices, features: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of each weight `(r,)` that the choices determine, and not the ridge, in [0, 1]."""
    curvature = _curvature(choices, features, _model(choices, features @ at))
    return 1.0 - RIDGE * np.diag(np.linalg.inv(curvature + RIDGE * np.eye(len(at))))


def _curvature(choices: Choices, features: NDArray[np.float64], model: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fisher information `(r, r)` of the weights: the mean covariance of the features under the model."""
    away = features - choices.sums(model[:, None] * features)[choices.situation]
    return np.asarray(away.T @ ((choices.share * model)[:, None] * away), np.float64)


def _model(choices: Choices, utility: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities `(M,)` of the options under utilities `(M,)` in units of log-odds."""
    starts = np.searchsorted(choices.situation, np.arange(len(choices.weights)))
    top = np.maximum.reduceat(utility, starts)[choices.situation]
    masses = choices.sizes * np.exp(utility - top)
    return np.asarray(masses / choices.sums(masses)[choices.situation], np.float64)


def _newton(choices: Choices, features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Newton's method with backtracking on the strictly convex KL(policy || model) + ridge; features `(M, r)`."""
    at = np.zeros(features.shape[1])

    def loss(at: NDArray[np.float64]) -> float:
        return choices.divergence(_model(choices, features @ at)) + RIDGE / 2 * float(at @ at)

    best = loss(at)
    for _ in range(MOST_STEPS if len(at) else 0):
        model = _model(choices, features @ at)
        slope = features.T @ (choices.share * (model - choices.probs)) + RIDGE * at
        step = np.linalg.solve(_curvature(choices, features, model) + RIDGE * np.eye(len(at)), slope)
        gain = float(slope @ step)
        if gain < 1e-15:
            break
        length = 1.0
        while (reached := loss(at - length * step)) > best - 1e-4 * length * gain and length > 1e-8:
            length /= 2
        if length <= 1e-8:  # the loss cannot be told from its minimum any more
            break
        at, best = at - length * step, reached
    return at
