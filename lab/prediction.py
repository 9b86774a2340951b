"""Preregistered predictions, each about one effect."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kerf.lab.settings import Name, Settings

Direction = Literal["decrease", "increase"]


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
