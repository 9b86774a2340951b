"""Decomposition of a loss of utility into its parts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Decomposition:
    """Ideal utility in deployment of each policy of the decomposition, in units of utility.

    Attributes:
        aligned: U(pi_0).
        shifted: U(pi_min) of the objective without its penalty.
        optimal: U(pi_min).
        twin: U of the tabular twin; None without one.
        trained: U(pi_1).
        unseen: Probability in deployment of the situations that D never shows.
        unseen_aligned: The part of U(pi_0) that falls to these situations.
        unseen_trained: The part of U(pi_1).
        low: Least U of all optima of D.
        high: Most.
        ideal: max U.
    """

    aligned: float
    shifted: float
    optimal: float
    twin: float | None
    trained: float
    unseen: float
    unseen_aligned: float
    unseen_trained: float
    low: float
    high: float
    ideal: float

    @property
    def whole(self) -> float:
        """U(pi_0) - U(pi_1): the whole loss."""
        return self.aligned - self.trained

    @property
    def prior_shift(self) -> float:
        """Forced by the mix of scenarios alone."""
        return self.aligned - self.shifted

    @property
    def penalty(self) -> float:
        """Forced by the penalty, beyond that."""
        return self.shifted - self.optimal

    @property
    def forced(self) -> float:
        """The loss of a perfect optimiser of D."""
        return self.aligned - self.optimal

    @property
    def excess(self) -> float:
        """The rest of the loss."""
        return self.optimal - self.trained

    @property
    def spillover(self) -> float:
        """What was lost in situations of which D says nothing: 0 where it shows all of them."""
        return self.unseen_aligned - self.unseen_trained

    @property
    def under_optimisation(self) -> float:
        """What was lost beyond the optimum in situations that D shows: below 0 where training has not come that far."""
        return self.excess - self.spillover

    @property
    def twin_excess(self) -> float | None:
        """What the tabular twin has lost beyond the optimum."""
        return None if self.twin is None else self.optimal - self.twin
