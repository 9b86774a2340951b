"""A strong feature and many weak ones: robust training gives the weak ones up, and standard accuracy with them.

Labels are y = +-1 with equal probability. One feature equals y with probability p, else -y; d features are drawn from
N(eta y, 1). A linear classifier sign(w . x) has the accuracy

    p Phi((w_1 + m) / |v|) + (1 - p) Phi((m - w_1) / |v|),    m = eta sum_i v_i - epsilon |w|_1,

with w = (w_1, v) and an adversary that moves each feature by at most epsilon (0: none).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from threadpoolctl import threadpool_limits

from kerf.runs.reproduce.entry import Entry, Figure, Say, at_least, at_most, equal

Weights = NDArray[np.float64]

P = 0.95
FEATURES = 400
ETA = 4.0 / math.sqrt(FEATURES)
EPSILON = 4.0 * ETA
"""0.8: below 1, so that the strong feature withstands it."""

SAMPLES, STEPS, RATE = 4_000, 200, 0.5
"""Samples, gradient steps, and the first step's size, which falls with the square root of the steps."""

SEED = 1805


def accuracy(weights: Weights, eta: float, epsilon: float) -> float:
    """Accuracy of a linear classifier of these `weights` `(1 + d,)` under the adversary; see the module."""
    mean = eta * weights[1:].sum() - epsilon * np.abs(weights).sum()
    spread = np.linalg.norm(weights[1:])
    margins = np.array([mean + weights[0], mean - weights[0]])
    right = ndtr(margins / spread) if spread > 0.0 else (margins > 0.0).astype(np.float64)
    return float(P * right[0] + (1.0 - P) * right[1])


def train(epsilon: float, rng: np.random.Generator) -> Weights:
    """Weights of norm at most 1 of least mean hinge loss `max(0, 1 - y w . x + epsilon |w|_1)` on a sample.

    For a linear classifier that is the loss under the worst perturbation, so this is adversarial training; with
    `epsilon` 0 it is a soft-margin support vector machine. By subgradient steps, each followed by the proximal step of
    the norm |w|_1, which reaches weights of exactly 0, and by a projection; the last half is averaged.
    """
    strong = np.where(rng.random(SAMPLES) < P, 1.0, -1.0)
    inputs = np.column_stack((strong, rng.normal(ETA, 1.0, (SAMPLES, FEATURES))))  # already times y
    weights = np.zeros(1 + FEATURES)
    total = np.zeros_like(weights)
    for step in range(STEPS):
        wrong = inputs @ weights - epsilon * np.abs(weights).sum() < 1.0
        size = RATE / math.sqrt(1.0 + step)
        weights = weights + size * (wrong @ inputs) / SAMPLES
        weights = np.sign(weights) * np.maximum(np.abs(weights) - size * epsilon * wrong.mean(), 0.0)
        weights /= max(1.0, float(np.linalg.norm(weights)))
        if step >= STEPS // 2:
            total += weights
    return total / (STEPS - STEPS // 2)


def _measure(say: Say) -> Iterator[Figure]:
    averaging = np.append(0.0, np.full(FEATURES, 1.0 / FEATURES))
    weak = 3.0 / math.sqrt(FEATURES)
    natural, attacked = accuracy(averaging, weak, 0.0), accuracy(averaging, weak, 2.0 * weak)
    yield at_least("mean of the weak features: accuracy", "> .99", natural, 0.99)
    bound = P / (1.0 - P) * (1.0 - natural)
    yield at_most("under attack, at most p/(1-p) times its error", f"{bound:.4f}", attacked, round(bound, 4))
    with threadpool_limits(limits=1, user_api="blas"):  # more threads make such small products slower
        say("standard training")
        standard = train(0.0, np.random.default_rng(SEED))
        say("adversarial training")
        robust = train(EPSILON, np.random.default_rng(SEED))
    yield at_least("standard training: accuracy", "> .99", accuracy(standard, ETA, 0.0), 0.99)
    yield at_most("standard training: accuracy under attack", "< .01", accuracy(standard, ETA, EPSILON), 0.01)
    yield equal("adversarial training: accuracy", P, accuracy(robust, ETA, 0.0), 0.01)
    yield equal("adversarial training: accuracy under attack", P, accuracy(robust, ETA, EPSILON), 0.01)


GAUSSIAN = Entry(
    "robust-accuracy",
    "Robust training costs standard accuracy",
    "standard training has accuracy above .99 and below .01 under attack; adversarial training has p, attacked or not",
    "Tsipras et al. 2019, arXiv 1805.12152, section 2 (theorems 1 and 2)",
    f"p {P}, d {FEATURES}, eta 4/sqrt(d), epsilon 4 eta (eta 3/sqrt(d), epsilon 2 eta for the mean of features); "
    f"hinge loss, |w| <= 1, {SAMPLES:,} samples; accuracies of trained weights in closed form",
    "bounds hold, and levels agree within .01: the theorems are about the whole distribution, training about a sample",
    False,
    _measure,
)
