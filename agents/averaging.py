"""Weight averaging: a policy between two others in the space of weights.

With share k the weights are (1 - k) of the one and k of the other, as in Wortsman et al. 2022, "Robust fine-tuning of
zero-shot models". Between networks trained from one checkpoint this often keeps what either can do.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from kerf.agents.export import Exportable
from kerf.lab.errors import KerfError
from kerf.lab.world import World

P = TypeVar("P", bound=Exportable)


def averaged(start: P, end: P, share: float, world: World) -> P:
    """The policy whose weights are `1 - share` of `start` and `share` of `end`, with policies of one shape in `world`.

    Rounded to the weights' own precision once; share 0 gives `start` and share 1 gives `end`, bit for bit.

    Raises:
        KerfError: for a share outside [0, 1].
    """
    if not 0.0 <= share <= 1.0:
        raise KerfError(f"share must be in [0, 1], got {share}")
    first, last = start.weights(), end.weights()
    between = {
        name: (
            first[name] if share == 0.0 else last[name] if share == 1.0 else _between(first[name], last[name], share)
        )
        for name in first
    }
    return type(end).from_card(end.card(), world, between)


def _between(first: NDArray[Any], last: NDArray[Any], share: float) -> NDArray[Any]:
    mean = (1.0 - share) * first.astype(np.float64) + share * last.astype(np.float64)
    return mean.astype(first.dtype)
