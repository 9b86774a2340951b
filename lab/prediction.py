"""Preregistered predictions, each about one effect."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kerf.lab.settings import Name, Settings

Direction = Literal["decrease", "increase", "none"]
"""The sign of an effect; `none`: the claim that there is no effect worth the name."""


class Prediction(Settings):
    """A preregistered prediction about one effect."""

    name: Name
    """Its name."""

    arm: str
    """The arm whose effect is predicted."""

    against: str
    """The arm to compare with."""

    metric: str
    """The metric that is compared, e.g. `value/care`."""

    direction: Direction
    """The predicted sign."""

    falsified_by: Annotated[str, Field(min_length=10)]
    """What would falsify it, in words."""


class ThresholdPrediction(Settings):
    """A preregistered prediction of theory: the penalty above which agents stop helping.

    The world's closed form gives the penalty L* above which helping is no longer worth it
    (`kerf.lab.dilemma.Dilemma.penalty_threshold`). It is held against arms that differ in their penalty alone.
    """

    name: Name
    """Its name."""

    arms: Annotated[tuple[str, ...], Field(min_length=2)]
    """The arms, which differ in their penalty alone."""

    falsified_by: Annotated[str, Field(min_length=10)]
    """What would falsify it, in words."""
