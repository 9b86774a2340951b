"""Logistic choice fit: known weights are recovered, what is not identified is said, what does not fit is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from kerf.lab.statistics.choice_model import CERTAIN, CONFOUNDED, FITS, NEVER, Choices, fit_choices

WEIGHTS = np.array([2.0, -1.0, 0.5, -3.0])
SITUATIONS, OPTIONS = 60, 4


def features(seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).random((SITUATIONS * OPTIONS, len(WEIGHTS)))


def choices(probs: NDArray[np.float64], of: NDArray[np.float64] | None = None, sizes: object = 1.0) -> Choices:
    situation = np.repeat(np.arange(SITUATIONS), OPTIONS)
    made = features() if of is None else of
    weights = np.random.default_rng(9).random(SITUATIONS) + 0.1
    return Choices(made, situation, probs, np.broadcast_to(np.asarray(sizes, float), len(situation)), weights)


def boltzmann(
    weights: NDArray[np.float64], of: NDArray[np.float64] | None = None, sizes: object = 1.0
) -> NDArray[np.float64]:
    masses = np.broadcast_to(np.asarray(sizes, float), SITUATIONS * OPTIONS) * np.exp(
        (features() if of is None else of) @ weights
    )
    by_situation = masses.reshape(SITUATIONS, OPTIONS)
    return np.asarray((by_situation / by_situation.sum(axis=1, keepdims=True)).ravel())


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_known_weights_are_recovered_at_every_scale(scale: float) -> None:
    fit = fit_choices(choices(boltzmann(scale * WEIGHTS)))
    assert fit.weights == pytest.approx(scale * WEIGHTS, rel=0.01)
    assert fit.explained > 0.999
    assert fit.refusal is None


def test_an_option_of_several_actions_is_no_better_for_their_number() -> None:
    sizes = np.tile([7.0, 1.0, 1.0, 2.0], SITUATIONS)
    fit = fit_choices(choices(boltzmann(WEIGHTS, sizes=sizes), sizes=sizes))
    assert fit.weights == pytest.approx(WEIGHTS, rel=0.01)
    equal = fit_choices(choices(boltzmann(0 * WEIGHTS, sizes=sizes), sizes=sizes))
    assert equal.refusal is not None
    assert equal.refusal.startswith("indifferent")


def test_an_event_that_no_choice_changes_and_events_that_change_together_have_no_weight() -> None:
    twice = np.column_stack((features(), features()[:, 0] * 3.0, np.repeat(np.arange(SITUATIONS), OPTIONS)))
    fit = fit_choices(choices(boltzmann(WEIGHTS), twice))
    assert fit.missing == (CONFOUNDED, None, None, None, CONFOUNDED, NEVER)
    assert np.isnan(fit.weights[[0, 4, 5]]).all()
    assert fit.weights[1:4] == pytest.approx(WEIGHTS[1:], rel=0.01)
    assert fit.explained > 0.999


def test_of_certain_choices_only_the_order_is_revealed() -> None:
    best = (features() @ WEIGHTS).reshape(SITUATIONS, OPTIONS)
    probs = (best == best.max(axis=1, keepdims=True)).astype(np.float64).ravel()
    fit = fit_choices(choices(probs))
    assert fit.refusal is not None
    assert fit.refusal.startswith("deterministic")


def test_a_rare_certain_choice_leaves_other_weights_as_they_are() -> None:
    rare = np.zeros(SITUATIONS * OPTIONS)
    rare[0] = 1.0
    with_rare = np.column_stack((features(), rare))
    fit = fit_choices(choices(boltzmann(np.append(WEIGHTS, -60.0), with_rare), with_rare))
    assert fit.missing == (None, None, None, None, CERTAIN)
    assert fit.weights[:4] == pytest.approx(WEIGHTS, rel=0.01)


def test_no_policy_at_random_is_read() -> None:
    """200 policies that choose without regard to any event; none may fit. If one in 66 did, this would be seen with a
    probability of 95% (exact binomial); in fact the largest share explained is far below the limit."""
    rng = np.random.default_rng(1)
    explained = []
    for _ in range(200):
        probs = rng.dirichlet(np.ones(OPTIONS), SITUATIONS).ravel()
        fit = fit_choices(choices(probs))
        assert fit.refusal is not None
        assert fit.refusal.startswith("does not fit")
        explained.append(fit.explained)
    assert max(explained) < FITS / 2


def test_agreement_is_that_of_utilities_and_not_of_weights() -> None:
    known = choices(boltzmann(WEIGHTS))
    utility = features() @ WEIGHTS
    assert known.agreement(utility, 5.0 * utility + 3.0) == pytest.approx(1.0)
    assert known.agreement(utility, -utility) == pytest.approx(-1.0)
    assert np.isnan(known.agreement(utility, np.ones_like(utility)))


def test_what_makes_no_sense_is_refused() -> None:
    good = choices(boltzmann(WEIGHTS))
    for wrong in ({"probs": good.probs * 2}, {"weights": -good.weights}, {"situation": good.situation[::-1]}):
        with pytest.raises(ValueError, match="expected"):
            replace(good, **wrong)
