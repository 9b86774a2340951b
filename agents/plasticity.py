"""Plasticity: how much of the learning rate is left, by training iteration."""

from __future__ import annotations

from dataclasses import dataclass

from kerf.lab.errors import KerfError


@dataclass(frozen=True)
class Plasticity:
    """A schedule of the learning rate; as it stands here, all of it at all times.

    It is whole until iteration `begin`, falls in a straight line to the share `left` at iteration `end`, and stays
    there. Iterations count from 1.

    Attributes:
        left: Share in [0, 1] of the learning rate that is left at the end.
        begin: The last iteration with the whole rate, unless it is `end`, which has the share `left`.
        end: The first iteration with the share `left`.

    Raises:
        KerfError: for a share outside [0, 1], or a schedule that ends before it begins.
    """

    left: float = 1.0
    begin: int = 1
    end: int = 1

    def __post_init__(self) -> None:
        if not 0.0 <= self.left <= 1.0:
            raise KerfError(f"plasticity: the share of the learning rate must be in [0, 1], got {self.left}")
        if not 1 <= self.begin <= self.end:
            raise KerfError(
                f"plasticity: expected a first iteration >= 1 and a later last, got {self.begin}, {self.end}"
            )

    def at(self, iteration: int) -> float:
        """The share of the learning rate in `iteration`, in [0, 1]; exactly 1 where nothing is taken off."""
        if iteration >= self.end:
            return self.left
        if iteration <= self.begin:
            return 1.0
        return 1.0 - (1.0 - self.left) * (iteration - self.begin) / (self.end - self.begin)


WHOLE = Plasticity()
"""The whole learning rate at all times."""
