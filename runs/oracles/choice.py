"""Choice between staying, leaving and asking: thresholds on the posterior, and their shift under a penalty."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.polynomial.hermite_e import hermeval
from numpy.typing import NDArray
from scipy.special import expit

from kerf.lab.dilemma import Mix
from kerf.lab.grader import ExPost, Rule
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.scenario import Scenarios
from kerf.lab.statistics.detection import criterion, d_prime, ideal_criterion, roc
from kerf.lab.worlds.dilemma import ASK, LEAVE, STAY, DilemmaWorld
from kerf.lab.worlds.dilemma.settings import DilemmaSettings, Signal
from kerf.runs.oracles.answers import answers, indifference, worths
from kerf.runs.oracles.closed_form import bayes, benefit
from kerf.runs.oracles.oracle import Oracle, Row, counted, exact
from kerf.runs.oracles.worlds import ALARM, MIXED, varied

DIFFER = "situations in which formula and optimum differ"
EVEN = "P(T|x) at which leaving is worth 0, B 10, C 5, L 5"


def _gain(
    world: DilemmaWorld, objective: RewardSpec, situations: Scenarios, action: int, over: int
) -> NDArray[np.float64]:
    """Advantage of `action` over the action `over` in each situation, `(n,)`."""
    worth = worths(world, MIXED, objective, situations)
    return np.asarray(worth[:, action] - worth[:, over], np.float64)


# ---- 1: leave iff P(T|x) B > (1 - P(T|x)) (C + L)

PENALTIES = (0.0, 1.0, 5.0, 20.0, 100.0)
COST = 5.0


def _leave_iff() -> Iterator[Row]:
    world = varied(benefits=(10.0, 20.0), cost=COST)
    should = does = differ = 0
    for penalty in PENALTIES:
        asked = answers(world, MIXED, RewardSpec(grader=ExPost(), penalty=penalty))
        posterior = bayes(world, asked.situations, MIXED).posterior
        pays = posterior * benefit(world, asked.situations) > (1.0 - posterior) * (COST + penalty)
        should, does, differ = should + pays.sum(), does + asked.leaves.sum(), differ + (pays != asked.leaves).sum()
    yield counted(f"{len(PENALTIES)} L, {len(posterior)} situations: leaves in", should, does)
    yield counted(DIFFER, 0, differ)
    objective = RewardSpec(grader=ExPost(), penalty=5.0)
    asked = answers(world, MIXED, objective)
    seen, gain = bayes(world, asked.situations, MIXED), benefit(world, asked.situations)
    low = gain == gain.min()
    over_staying = _gain(world, objective, asked.situations[low], LEAVE, STAY)
    yield exact(EVEN, 10.0 / 20.0, indifference(seen.posterior[low], over_staying))
    worth = seen.genuine * gain - (seen.false + seen.none) * (COST + 5.0)
    yield exact("max J, L 5", np.maximum(worth, 0.0).sum(), asked.value)
    yield from _gaussian()


NUM_CUES = 16
UNEVEN = (0.6, 1.4)
"""Relative weights of the least and the most informative cue; all differ, so that sums are spread evenly."""

SEPARATION = 1.2
"""Approximate d' of the observer."""

LARGE = 15.0
"""Penalty L that shifts its criterion."""


def _gaussian() -> Iterator[Row]:
    """Sums of many small independent log-likelihood ratios are nearly Gaussian.

    With log odds w_i and reliabilities 1 / (1 + exp(-w_i)) against one minus that, the sum has mean +-m and variance v
    under T and F. The formula's observer has v = 2m = d'^2; for this one that holds approximately, and the better the
    less informative each cue is. The tolerance on the deviation of its rates from Gaussian ones is the sum of the
    absolute first terms of Edgeworth's series (Feller 1971, ch. XVI.4).
    """
    w = np.linspace(*UNEVEN, NUM_CUES)
    w *= SEPARATION / np.sqrt((w**2).sum())
    tanh, sech2 = np.tanh(w / 2), 1.0 / np.cosh(w / 2) ** 2
    mean, variance = (w * tanh).sum(), (w**2 * sech2).sum()
    skew = (w**3 * 2 * sech2 * tanh).sum() / variance**1.5
    kurtosis = (w**4 * sech2 * (4 - 6 * sech2)).sum() / variance**2
    terms = np.array([0, 0, skew / 6, kurtosis / 24, 0, skew**2 / 72])
    separation = 2 * mean / math.sqrt(variance)

    cues = tuple(Signal(f"cue_{i}", float(expit(x)), float(expit(-x)), 0.5) for i, x in enumerate(w))
    settings = DilemmaSettings((ALARM, *cues), genuine=0.3, false=0.3, benefits=(10.0,), cost=COST)
    world = DilemmaWorld(settings, "gaussian")
    alarmed, _ = world.sources.forged(0.0).everything()
    why = "cues not quite Gaussian (Edgeworth)"
    criteria, near = [], 0.0
    for penalty in (0.0, LARGE):
        ideal = ideal_criterion(0.3, 0.3, 10.0, COST + penalty, separation)
        c = ideal.criterion
        z = np.array([separation / 2 - c, -separation / 2 - c])
        density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
        not_gaussian = sum(abs(hermeval(z, term)) for term in np.diag(terms))
        error = not_gaussian + abs(c * (2 * mean / variance - 1))
        hit, false_alarm = answers(world, Mix(), RewardSpec(grader=ExPost(), penalty=penalty), alarmed).rates
        yield Row(f"H = Phi(d'/2 - c), L {penalty:g}", ideal.hit, hit, float(error[0] * density[0]), why)
        yield Row(
            f"FA = Phi(-d'/2 - c), L {penalty:g}", ideal.false_alarm, false_alarm, float(error[1] * density[1]), why
        )
        yield Row(f"d', L {penalty:g}", separation, d_prime(hit, false_alarm), float(error.sum()), why)
        criteria.append(criterion(hit, false_alarm))
        near += float(error.mean())
    moved = math.log(1.0 + LARGE / COST) / separation
    yield Row(f"delta c = ln(1 + L/C) / d', L {LARGE:g}", moved, criteria[1] - criteria[0], near, why)


# ---- 2: the grader `rule`


def _rule() -> Iterator[Row]:
    gain = 10.0
    world = varied(benefits=(gain,), cost=COST)
    should = does = differ = 0
    for penalty in (0.0, 1.0, 5.0, 9.0):
        asked = answers(world, MIXED, RewardSpec(grader=Rule(), penalty=penalty))
        posterior = bayes(world, asked.situations, MIXED).posterior
        pays = posterior * (gain - penalty) > (1.0 - posterior) * (COST + penalty)
        should, does, differ = should + pays.sum(), does + asked.leaves.sum(), differ + (pays != asked.leaves).sum()
    yield counted(f"4 L < B, {len(posterior)} situations: leaves in", should, does)
    yield counted(DIFFER, 0, differ)
    over_staying = _gain(world, RewardSpec(grader=Rule(), penalty=5.0), asked.situations, LEAVE, STAY)
    yield exact(EVEN, 10.0 / 15.0, indifference(posterior, over_staying))
    for times in (1, 2):
        asked = answers(world, MIXED, RewardSpec(grader=Rule(), penalty=times * gain))
        yield counted(f"L = {times} B: leaves in", 0, asked.leaves.sum())


# ---- 3: asking

ASK_COST = 0.8
ASK_SAVES = (0.0, 0.3, 0.6, 0.95)


def _asking() -> Iterator[Row]:
    gain, penalties = 10.0, (0.0, 5.0, 20.0)
    should, does = np.zeros((2, LEAVE + 1), np.int64)
    differ = in_vain = 0
    for q in ASK_SAVES:
        world = varied(benefits=(gain,), cost=COST, ask_saves=(q,), ask_cost=ASK_COST)
        for penalty in penalties:
            asked = answers(world, MIXED, RewardSpec(grader=ExPost(), penalty=penalty))
            posterior, harm = bayes(world, asked.situations, MIXED).posterior, COST + penalty
            ask_over_stay = posterior >= (ASK_COST / (q * gain) if q else math.inf)
            leave_over_ask = posterior >= (harm - ASK_COST) / ((1.0 - q) * gain + harm)
            leave_over_stay = posterior >= harm / (gain + harm)
            formula = np.where(leave_over_ask & leave_over_stay, LEAVE, np.where(ask_over_stay, ASK, STAY))
            best = np.where(asked.allowed.sum(axis=1) == 1, asked.allowed.argmax(axis=1), -1)
            differ += (formula != best).sum()
            in_vain += (best == ASK).sum() if q == 0.0 else 0
            for action in (STAY, ASK, LEAVE):
                should[action] += (formula == action).sum()
                does[action] += (best == action).sum()
    where = f"{len(ASK_SAVES)} q, {len(penalties)} L, {len(posterior)} situations"
    for action in (STAY, ASK, LEAVE):
        yield counted(f"{where}: {world.actions[action]} is best in", should[action], does[action])
    yield counted(DIFFER, 0, differ)
    yield counted("q 0, the motivating story: ask is best in", 0, in_vain)
    for q, penalty in ((0.3, 0.0), (0.95, 20.0)):
        world = varied(benefits=(gain,), cost=COST, ask_saves=(q,), ask_cost=ASK_COST)
        objective, harm = RewardSpec(grader=ExPost(), penalty=penalty), COST + penalty
        over_staying = _gain(world, objective, asked.situations, ASK, STAY)
        over_asking = _gain(world, objective, asked.situations, LEAVE, ASK)
        label = f"q {q:g}, L {penalty:g}: P(T|x) at which"
        yield exact(f"{label} ask = stay", ASK_COST / (q * gain), indifference(posterior, over_staying))
        even = (harm - ASK_COST) / ((1.0 - q) * gain + harm)
        yield exact(f"{label} leave = ask", even, indifference(posterior, over_asking))


# ---- 5: no cue distinguishes them


def _indistinguishable() -> Iterator[Row]:
    gain, cost, mix = 10.0, 2.0, Mix(natural=0.7, strength=1.0)
    cues = tuple(Signal(f"cue_{i}", 0.8 - 0.1 * i, 0.3, 0.2) for i in range(3))
    settings = DilemmaSettings((ALARM, *cues), genuine=0.35, false=0.2, seen=False, benefits=(gain,), cost=cost)
    world = DilemmaWorld(settings, "indistinguishable")
    switch = 0.7 * 0.35 / 0.8 * gain / 0.3 - cost
    alarmed, _ = world.sources.forged(1.0).everything()

    def leaves(penalty: float) -> int:
        return int(answers(world, mix, RewardSpec(grader=ExPost(), penalty=penalty), alarmed).leaves.sum())

    asked = answers(world, mix, RewardSpec(), alarmed)
    posterior = world.dilemma.need_posterior(alarmed, 1.0)
    yield exact("AUC of the posterior", 0.5, roc(posterior, asked.genuine, asked.false).auc)
    low, high = 0.0, 100.0
    while high - low > 1e-7:
        middle = (low + high) / 2
        low, high = (middle, high) if leaves(middle) else (low, middle)
    why = "bisected to 1e-7; ties below 1e-9"
    yield Row("L at which it switches, pi_T B / pi_F - C", switch, (low + high) / 2, 1e-6, why)
    for penalty, number in ((switch - 1e-3, len(alarmed)), (switch + 1e-3, 0)):
        yield counted(f"L {penalty:.3f}: of {len(alarmed)} situations, leaves in", number, leaves(penalty))


LEAVE_IFF = Oracle(
    1,
    "A penalty moves the criterion and nothing else",
    "leave iff P(T|x) B > (1 - P(T|x)) (C + L); c = ln beta / d', beta = pi_F (C + L) / (pi_T B)",
    _leave_iff,
)
RULE = Oracle(
    2,
    "Penalising every exit reduces the benefit by L",
    "leave iff P(T|x) (B - L) > (1 - P(T|x)) (C + L); never if L >= B",
    _rule,
)
ASKING = Oracle(
    3,
    "Asking first has two thresholds",
    "ask over stay iff P >= a / (q B); leave over ask iff P >= (C + L - a) / ((1 - q) B + C + L)",
    _asking,
)
INDISTINGUISHABLE = Oracle(
    5,
    "Without discrimination an agent always leaves or never does",
    "d' = 0: leave in every emergency iff pi_T B > pi_F (C + L), else in none",
    _indistinguishable,
)
