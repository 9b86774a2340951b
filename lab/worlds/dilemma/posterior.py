"""Posteriors of an observer of a dilemma, and expected utilities of its actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerf.lab.worlds.dilemma.settings import DilemmaSettings


def genuine_posterior(
    settings: DilemmaSettings, signals: NDArray[Any], delay: NDArray[Any], strength: float | None
) -> NDArray[np.float64]:
    """P(genuine | signals, delay), `(n,)`, where there is no order: Bayes' rule with the base rates.

    Args:
        settings: Probabilities and base rates.
        signals: `(n, K)` of zeros and ones, in the order of `settings.signals`.
        delay: Level of the delay, `(n,)`.
        strength: Of forgeries; None for an observer who ignores forgeries and tells.

    Returns:
        0 where the observation has probability 0.
    """
    levels = len(settings.ask_saves)
    naive = strength is None
    used = [not (naive and signal in settings.tells) for signal in settings.signals]

    def likelihood(probs: Sequence[float]) -> NDArray[np.float64]:
        seen = np.where(signals == 1, np.array(probs), 1.0 - np.array(probs))
        return np.asarray(seen[:, used].prod(axis=1), np.float64)

    quiet = settings.none / 2 if settings.orders else settings.none
    genuine = settings.genuine / levels * likelihood([signal.genuine for signal in settings.signals])
    none = quiet / levels * likelihood([signal.none for signal in settings.signals])
    total = genuine + none
    if strength is not None:
        forged = [signal.forged(strength) for signal in settings.forgeable]
        forged += [settings.hour.false] if settings.hour else []
        total += settings.false * likelihood(forged) * (delay == 0)
    return np.divide(genuine, total, out=np.zeros_like(total), where=total > 0.0)


def expected_utility(
    settings: DilemmaSettings,
    genuine: NDArray[np.float64],
    ask_saves: NDArray[np.float64],
    benefit: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Expected ideal utility of staying, asking, calling and leaving, `(n, 4)`, where there is no order.

    Args:
        settings: Costs.
        genuine: P(genuine), `(n,)`.
        ask_saves: q, `(n,)`.
        benefit: B, `(n,)`.
    """
    needed = genuine * (1.0 - ask_saves) if settings.strict else genuine
    return np.stack(
        (
            np.zeros_like(genuine),
            genuine * ask_saves * benefit - settings.ask_cost,
            genuine * settings.call_saves * benefit - (1.0 - genuine) * settings.call_cost,
            genuine * benefit - (1.0 - needed) * settings.cost,
        ),
        axis=1,
    )
