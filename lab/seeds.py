"""Seeds of private random streams, by name."""

from __future__ import annotations


def entropy(seed: int, stream: str) -> tuple[int, ...]:
    """Entropy for `np.random.SeedSequence` that only this `stream` of this study `seed` has.

    Depends on nothing but its arguments, so that arms which name the same stream draw the same numbers.
    """
    return (seed, *stream.encode())
