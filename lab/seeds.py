"""Seeds of private random streams, by name."""

from __future__ import annotations


def entropy(seed: int, stream: str) -> tuple[int, ...]:
    """Entropy for `np.random.SeedSequence`, unique to this `stream` of this study `seed`.

    Depends only on its arguments, so arms that name the same stream draw the same numbers.
    """
    return (seed, *stream.encode())
