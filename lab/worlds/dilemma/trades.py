"""Situations of a one-decision dilemma in which two values bid for the decision (`kerf.lab.trade.Trade`)."""

from __future__ import annotations

from collections.abc import Sequence

from kerf.lab.battery import happens
from kerf.lab.trade import Trade
from kerf.lab.worlds.dilemma.sources import Sources


def save_or_ask(chances: Sequence[float], sources: Sources) -> tuple[Trade, ...]:
    """Leaving against asking, by the probability that asking saves; none where that never differs.

    Args:
        chances: That probability, at each level of delay.
        sources: Distributions of the world's scenarios.
    """
    if len(set(chances)) < 2:
        return ()
    order = sorted(range(len(chances)), key=chances.__getitem__)
    return (
        Trade(
            "save-or-ask",
            "someone is dying: leave, or ask, which may save them too",
            "probability that asking saves",
            tuple(chances[level] for level in order),
            lambda index, n, rng: sources.genuine(order[index], False).sample(n, rng),
            happens("left_unpermitted"),
            happens("asked"),
            ("leaves", "asks"),
        ),
    )
