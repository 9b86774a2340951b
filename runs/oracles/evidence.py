"""Evidence: log-likelihood ratios, forged reliabilities and the area under the ROC."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from kerf.generators.base import GeneratorSettings
from kerf.generators.registry import make_generator
from kerf.lab.dilemma import Mix
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.scenario import Scenarios
from kerf.lab.statistics.detection import roc
from kerf.lab.worlds.dilemma import DilemmaWorld
from kerf.lab.worlds.dilemma.settings import DilemmaSettings, Signal
from kerf.runs.oracles.answers import answers
from kerf.runs.oracles.closed_form import forged_chance
from kerf.runs.oracles.oracle import IDENTICAL, Oracle, Row, counted, drawn, exact
from kerf.runs.oracles.worlds import varied

SEED = 4
NUM_DRAWN = 20_000
"""Scenarios drawn of each kind."""

HALF = 0.5
"""Strength of forgeries at which more is checked."""


def _measure() -> Iterator[Row]:
    yield from _ratios()
    yield from _reliabilities()
    yield _indistinguishable()
    yield from _one_tell()


def _ratios() -> Iterator[Row]:
    world = varied()
    settings = world.settings
    assert settings.hour is not None
    false_chances = [*(forged_chance(signal, HALF) for signal in settings.forgeable), settings.hour.false]
    situations, genuine, false = _densities(world, HALF)
    by_hand = np.zeros(len(situations))
    for signal, of_false in zip(settings.signals, false_chances, strict=True):
        there = situations[:, world.space.index[signal.name]] == 1
        absent = math.log((1.0 - signal.genuine) / (1.0 - of_false))
        by_hand += np.where(there, math.log(signal.genuine / of_false), absent)
    ratios = np.log(genuine) - np.log(false)
    most = int(by_hand.argmax())
    yield exact(f"largest LLR of {len(ratios)} situations, s {HALF:g}", by_hand[most], ratios[most])
    yield exact("largest error of any", 0.0, np.abs(ratios - by_hand).max())


def _reliabilities() -> Iterator[Row]:
    world = varied()
    scenarios = _forgeries(world, HALF)
    for signal in (world.settings.cues[1], world.settings.tells[0]):
        chance = forged_chance(signal, HALF)
        share = scenarios[:, world.space.index[signal.name]].mean()
        what = f"P({signal.name} | F), s {HALF:g}: share of {NUM_DRAWN:,} drawn"
        yield drawn(what, chance, share, math.sqrt(chance * (1.0 - chance) / NUM_DRAWN))


def _indistinguishable() -> Row:
    """The ideal observer's ROC from the world's exact distributions; all signals can be forged."""
    world = varied(hour=None)
    assert world.dilemma.exact_forgeries is not None
    assert world.families[0].exact is not None
    genuine, of_genuine = world.families[0].exact()
    false, of_false = world.dilemma.exact_forgeries(1.0, False)
    posterior = world.dilemma.need_posterior(np.concatenate((genuine, false)), 1.0)
    signal, noise = np.zeros((2, len(posterior)))
    signal[: len(genuine)], noise[len(genuine) :] = of_genuine, of_false
    return counted("AUC of the ideal observer, s 1", 0.5, roc(posterior, signal, noise).auc, IDENTICAL)


def _one_tell() -> Iterator[Row]:
    """With one signal the ROC has one corner: AUC = (1 + |r_T - r|) / 2, r its probability in a forgery."""
    tell = Signal("channel", 0.1, 0.8, 0.3)
    world = DilemmaWorld(DilemmaSettings(cues=(), tells=(tell,)), "one_tell")
    column = world.space.index[tell.name]
    for strength in (0.0, HALF, 1.0):
        auc = 0.5 + abs(tell.genuine - forged_chance(tell, strength)) / 2
        situations, genuine, false = _densities(world, strength)
        what = f"AUC of one tell, s {strength:g}: (1 + |r_T - r|) / 2"
        yield exact(what, auc, roc(-situations[:, column], genuine, false).auc)
        if strength == HALF:
            continue
        real = world.families[0].sample(NUM_DRAWN, np.random.default_rng((SEED, 0)))
        scores = -np.concatenate((real, _forgeries(world, strength)))[:, column]
        is_real = np.repeat([1.0, 0.0], NUM_DRAWN)
        # The variance of an AUC is at most AUC (1 - AUC) / n (van Dantzig 1951).
        error = math.sqrt(auc * (1.0 - auc) / NUM_DRAWN)
        yield drawn(
            f"AUC of one tell, s {strength:g}: {NUM_DRAWN:,} draws each",
            auc,
            roc(scores, is_real, 1.0 - is_real).auc,
            error,
        )


def _densities(world: DilemmaWorld, strength: float) -> tuple[Scenarios, NDArray[np.float64], NDArray[np.float64]]:
    """All situations with P(x|T) and P(x|F) from the world's densities, for forgeries of `strength`."""
    natural = answers(world, Mix(), RewardSpec())
    forged = answers(world, Mix(0.0, strength), RewardSpec(), natural.situations)
    return natural.situations, natural.genuine / natural.genuine.sum(), forged.false / forged.false.sum()


def _forgeries(world: DilemmaWorld, strength: float) -> Scenarios:
    """Draw `NUM_DRAWN` forgeries with the scripted generator."""
    generator = make_generator(world, GeneratorSettings(kind="scripted", strength=strength))
    return generator.ask(NUM_DRAWN, np.random.default_rng((SEED, 1)))


EVIDENCE = Oracle(
    4,
    "Forgeries of strength 1 are indistinguishable from real emergencies",
    "LLR = sum over cues of ln[P(k|T) / P(k|F)]; a forged cue has P(k|F) = (1 - s) r_F + s r_T; s = 1: AUC = 1/2",
    _measure,
)
