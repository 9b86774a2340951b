"""Predictions that are registered before a study: about one effect each."""

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
    """The arm it speaks of."""

    against: str
    """The arm to compare with."""

    metric: str
    """What is compared: one of the battery's metrics, e.g. `value/care`."""

    direction: Direction
    """The sign that is predicted."""

    falsified_by: Annotated[str, Field(min_length=10)]
    """In words, what would falsify it."""
