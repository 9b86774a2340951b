"""Base class of all settings: a recipe is checked against their fields."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.\-]*$", max_length=60)]
"""Letters, digits, `_`, `-` and `.`: names become folders and MLflow keys."""


class Settings(BaseModel):
    """Base of all settings: immutable, unknown fields and NaN/inf refused, every field with a docstring."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True, validate_default=True
    )
