"""Settings of the generator `learned`, which its policy reads too."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kerf.generators.base import GeneratorSettings
from kerf.generators.replay import Share, Slots


class LearnedSettings(GeneratorSettings):
    """Settings of `learned`."""

    hidden: Annotated[int, Field(ge=1, le=1024)] = 64
    """Units of the hidden layer."""

    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.01
    """Learning rate of Adam."""

    entropy: Annotated[float, Field(ge=0, le=10)] = 0.02
    """Weight of the policy's entropy (nats, summed over the fields), which keeps it from settling on one forgery."""

    epochs: Annotated[int, Field(ge=1, le=64)] = 4
    """Passes over the scores of each batch, with clipped importance weights (Schulman et al. 2017)."""

    share: Share = 0.3
    """Share of scenarios whose base scored before, once any has."""

    memory: Slots = 256
    """Number of bases that are kept."""
