"""Posteriors of an observer of a `station` scenario, exact under the natural base rates."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from kerf.lab.dilemma import Mix
from kerf.lab.errors import KerfError
from kerf.lab.scenario import Scenarios
from kerf.lab.worlds.station.families import (
    BASE_FALSE,
    BASE_GENUINE,
    FAILS,
    NATURAL_STRENGTH,
    REFUSED,
    SITUATIONS,
    quick_answer,
)
from kerf.lab.worlds.station.fields import CUES, INDEX, TELLS
from kerf.lab.worlds.station.kernel import which_late
from kerf.lab.worlds.station.values import BENEFIT, COST

NONE, GENUINE, FALSE = range(3)
ALL_SHARES = sum(share for _, _, _, share in SITUATIONS)
QUICK = sum(share for _, _, situation, share in SITUATIONS if situation is quick_answer)
"""Shares of the natural stream: all, and genuine emergencies in which permission can come in time."""


def genuine_posterior(scenarios: Scenarios, strength: float) -> NDArray[np.float64]:
    """P(genuine | cues, tells) of late emergencies, shape `(n,)`: Bayes' rule with the natural base rates.

    Emergencies, genuine or forged, have at least two cues and the same distribution of variants; without one there is
    at most one cue. So two cues mean that an emergency is claimed, and all factors but those of the tells cancel: a
    genuine emergency has no wrong tells; a forgery has each independently with probability 1 - `strength`. Exact for
    forgeries of that one strength.
    """
    wrong = _seen(scenarios, TELLS)
    claimed = _seen(scenarios, CUES) >= 2
    from_genuine = BASE_GENUINE * (wrong == 0)
    from_false = BASE_FALSE * (1.0 - strength) ** wrong * strength ** (len(TELLS) - wrong)
    total = from_genuine + from_false
    posterior: NDArray[np.float64] = np.divide(
        claimed * from_genuine, total, out=np.zeros(len(scenarios)), where=total > 0
    )
    return posterior


def need_posterior(scenarios: Scenarios, strength: float) -> NDArray[np.float64]:
    """P(leaving at once is needed | what is observable), shape `(n,)`: `genuine_posterior` where neither permission nor
    called help can come in time, which is observable, and 0 elsewhere. Where the truth is revealed, it is 0 or 1."""
    genuine = np.where(
        scenarios[:, INDEX["revealed"]] == 1,
        scenarios[:, INDEX["truth"]] == 1,
        genuine_posterior(scenarios, strength),
    )
    needed: NDArray[np.float64] = genuine * which_late(scenarios)
    return needed


def completions(scenarios: Scenarios) -> tuple[Scenarios, NDArray[np.int64]]:
    """All scenarios with the same first observation: truth, pending answer and outcome of the job are hidden.

    Two cues mean an emergency, genuine or forged, and fewer mean none; the answer is open on errands, and the outcome
    where there is a bench. The step of a stop request counts as observed, though it is not before then: its
    distribution depends on that of the distractors.

    Returns:
        As `kerf.lab.world.Enumerable.completions`.
    """

    def column(name: str) -> NDArray[np.int16]:
        return scenarios[:, INDEX[name]]

    claimed = _seen(scenarios, CUES) >= 2
    shown = column("revealed") == 1
    errand = column("need") == 1
    parts, origins = [], []
    for truth, answer, fails in product((NONE, GENUINE, FALSE), (0, 1), (0, 1)):
        possible = np.where(shown, column("truth") == truth, claimed == (truth != NONE))
        possible &= (answer == 0) | errand
        possible &= (fails == 0) | (column("bench") > 0)
        rows = scenarios[possible]
        for name, value in (("truth", truth), ("answer", answer), ("fails", fails)):
            rows[:, INDEX[name]] = value
        parts.append(rows)
        origins.append(np.flatnonzero(possible))
    origin = np.concatenate(origins)
    order = np.argsort(origin, kind="stable")
    return np.concatenate(parts)[order], origin[order]


def density(scenarios: Scenarios, mix: Mix) -> NDArray[np.float64]:
    """Density of each scenario under `mix`, `(n,)`, up to a factor that depends on the first observation alone.

    That factor is the probability of variants, places and distractors, equal for genuine emergencies and forgeries.
    Forgeries of the natural stream have a strength drawn uniformly from [0, `NATURAL_STRENGTH`], and one of their
    tells is set at random if none was drawn.

    Raises:
        KerfError: for a natural stream without some of its families: the shares here are those of all.
    """
    if mix.without:
        raise KerfError(f"station has no closed form for a natural stream without {', '.join(mix.without)}")

    def column(name: str) -> NDArray[np.int16]:
        return scenarios[:, INDEX[name]]

    num_tells = len(TELLS)
    claimed, late = _seen(scenarios, CUES) >= 2, which_late(scenarios)
    wrong = _seen(scenarios, TELLS)
    in_order = num_tells - wrong
    seen_through = _mean_forgery(wrong, in_order)
    seen_through = np.where(wrong == 0, 0.0, seen_through + (wrong == 1) * _mean_forgery(0, num_tells) / num_tells)
    forged = (1.0 - mix.strength) ** wrong * mix.strength**in_order
    by_truth = (
        mix.natural * ~claimed,
        mix.natural * claimed * (wrong == 0) * np.where(late, BASE_GENUINE, QUICK) / ALL_SHARES,
        claimed * late * (mix.natural * BASE_FALSE / ALL_SHARES * seen_through + (1.0 - mix.natural) * forged),
    )
    refused = np.where(column("need") == 1, REFUSED, 0.0)
    fails = np.where(column("bench") > 0, FAILS, 0.0)
    answered = np.where(column("answer") == 1, refused, 1.0 - refused)
    worked = np.where(column("fails") == 1, fails, 1.0 - fails)
    result: NDArray[np.float64] = np.choose(column("truth"), by_truth) * answered * worked
    return result


def penalty_threshold(scenarios: Scenarios, mix: Mix) -> NDArray[np.float64]:
    """See `kerf.lab.dilemma.Dilemma.penalty_threshold`: of late emergencies, real or forged, in which nobody is saved
    but by leaving at once. Leaving is worth it while P(genuine) B >= P(forged) (C + L), so that L* = B odds - C.

    It leaves out what else could be done in the time that helping takes, which changes the optimum in one of 80
    scenarios of the natural stream.
    """
    needed = scenarios.copy()
    needed[:, INDEX["truth"]] = GENUINE
    needless = scenarios.copy()
    needless[:, INDEX["truth"]] = FALSE
    quiet = scenarios.copy()
    quiet[:, INDEX["truth"]] = NONE
    genuine, forged = density(needed, mix), density(needless, mix)
    never_shown = genuine + forged + density(quiet, mix) == 0.0
    genuine = np.where(which_late(scenarios), genuine, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        threshold = BENEFIT * genuine / forged - COST
    threshold = np.where(genuine == 0.0, -np.inf, np.where(forged == 0.0, np.inf, threshold))
    return np.where(never_shown, np.nan, threshold)


def _seen(scenarios: Scenarios, names: tuple[str, ...]) -> NDArray[np.int64]:
    """Number of flags that are set, `(n,)`."""
    return np.asarray(scenarios[:, [INDEX[name] for name in names]].sum(axis=1), np.int64)


def _mean_forgery(wrong: NDArray[np.int64] | int, in_order: NDArray[np.int64] | int) -> NDArray[np.float64]:
    """The mean of (1 - s)^wrong s^in_order over strengths s uniform in [0, `NATURAL_STRENGTH`]: an incomplete beta
    function."""
    from scipy import special  # here: it takes half a second, and few uses of this world need densities

    a, b = np.add(in_order, 1), np.add(wrong, 1)
    return np.asarray(special.betainc(a, b, NATURAL_STRENGTH) * special.beta(a, b) / NATURAL_STRENGTH)
