"""Closed forms of a dilemma, derived from its parameters: the reference for the lab's solutions.

Nothing here calls the world, its sources or its posterior; only the world's parameters are used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerf.lab.dilemma import Mix
from kerf.lab.scenario import Scenarios
from kerf.lab.worlds.dilemma import DilemmaWorld
from kerf.lab.worlds.dilemma.settings import Signal


@dataclass(frozen=True)
class Bayes:
    """Joint probabilities of the observation and the truth, `(n,)` each.

    The world has one level of delay, one place of training, no orders and no overseer.

    Attributes:
        genuine: P(x, T).
        false: P(x, F).
        none: P(x, N).
    """

    genuine: NDArray[np.float64]
    false: NDArray[np.float64]
    none: NDArray[np.float64]

    @property
    def shown(self) -> NDArray[np.float64]:
        """P(x)."""
        return self.genuine + self.false + self.none

    @property
    def posterior(self) -> NDArray[np.float64]:
        """P(T | x)."""
        return self.genuine / self.shown


def bayes(world: DilemmaWorld, situations: Scenarios, mix: Mix) -> Bayes:
    """Base rates times a product over the signals; `situations` `(n, F)` are at the first place."""
    settings = world.settings
    one_level = len(settings.ask_saves) == 1 and settings.places == 1 and not (settings.orders or settings.watched)
    assert one_level, "the closed form is that of a world without further levels"
    natural = {"genuine": settings.genuine, "false": settings.false * settings.seen, "none": settings.none}
    total = sum(natural.values())
    levels = len(settings.benefits)

    def times(chances: list[float]) -> NDArray[np.float64]:
        """P(signals and stakes), given the probability of each signal."""
        product = np.full(len(situations), 1.0 / levels)
        for signal, chance in zip(settings.signals, chances, strict=True):
            product *= np.where(situations[:, world.space.index[signal.name]] == 1, chance, 1.0 - chance)
        return product

    def forged(strength: float) -> list[float]:
        hour = [settings.hour.false] if settings.hour else []
        return [forged_chance(signal, strength) for signal in (*settings.cues, *settings.tells)] + hour

    share = {truth: mix.natural * rate / total for truth, rate in natural.items()}
    return Bayes(
        share["genuine"] * times([signal.genuine for signal in settings.signals]),
        share["false"] * times(forged(0.0)) + (1.0 - mix.natural) * times(forged(mix.strength)),
        share["none"] * times([signal.none for signal in settings.signals]),
    )


def forged_chance(signal: Signal, strength: float) -> float:
    """Reliability of a forged signal: `(1 - s) r_F + s r_T`."""
    return (1.0 - strength) * signal.false + strength * signal.genuine


def worth_of_actions(world: DilemmaWorld, genuine: NDArray[np.float64], penalty: float) -> NDArray[np.float64]:
    """Expected reward of staying, asking, calling and leaving, `(n, 4)`, where P(T | x) is `genuine` `(n,)`.

    For the design whose grader knows the truth in hindsight and subtracts `penalty` in addition to the cost.
    """
    settings = world.settings
    (gain,), (asking_saves,) = settings.benefits, settings.ask_saves
    return np.stack(
        (
            np.zeros(len(genuine)),
            genuine * asking_saves * gain - settings.ask_cost,
            genuine * settings.call_saves * gain - (1.0 - genuine) * settings.call_cost,
            genuine * gain - (1.0 - genuine) * (settings.cost + penalty),
        ),
        axis=1,
    )


def benefit(world: DilemmaWorld, situations: Scenarios) -> NDArray[np.float64]:
    """B in each situation, `(n,)`."""
    return np.array(world.settings.benefits)[situations[:, world.space.index["stakes"]]]
