"""Conversion of pydantic's validation errors into one-sentence messages for users."""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from kerf.lab.errors import KerfError, unknown_name

RENAMED = {"replay": "`adversarial_share` (1 - replay)"}
"""Fields of earlier versions, with their present names."""

_SHOWN = 60
_KIND = {dict: "a mapping", list: "a list", type(None): "nothing"}

_MUST = {
    "model_type": "be a mapping",
    "dict_type": "be a mapping",
    "tuple_type": "be a list",
    "float_type": "be a number",
    "int_type": "be a whole number",
    "bool_type": "be true or false",
    "string_type": "be text",
    "greater_than": "be > {gt}",
    "greater_than_equal": "be >= {ge}",
    "less_than_equal": "be <= {le}",
    "too_short": "have {min_length} or more entries",
    "too_long": "have {max_length} or fewer entries",
    "string_too_short": "have at least {min_length} characters",
    "string_too_long": "have at most {max_length} characters",
    "string_pattern_mismatch": "match the pattern {pattern}",
}
"""Texts for pydantic's error types whose own messages are unclear."""


def refusal(error: ValidationError, model: type[BaseModel]) -> KerfError:
    """Convert a validation error of `model` into a message: the field's dotted path, what was expected, what was given.

    Reports an unknown field if there is one, since a misspelt field also causes a missing one; else the first error.
    """
    complaints = error.errors(include_url=False)
    first = next((complaint for complaint in complaints if complaint["type"] == "extra_forbidden"), complaints[0])
    place = [str(part) for part in first["loc"] if not re.fullmatch(r"\[\w+\]", str(part))]
    path = ".".join(place)
    if first["type"] == "extra_forbidden":
        *parents, name = place
        unknown = unknown_name("field", name, _fields(model, parents), RENAMED)
        return KerfError(f"{'.'.join(parents)}: {unknown}" if parents else str(unknown))
    if first["type"] == "missing":
        return KerfError(f"{path} is missing")
    return KerfError(f"{path or 'the recipe'} must {_must(first)}, got {shown(first['input'])}")


def shown(value: Any) -> str:
    """Format a value for a message: as JSON, shortened, with its type where that helps."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    short = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    kind = _KIND.get(type(value))
    return f"{kind} ({short})" if kind else short


def _must(error: ErrorDetails) -> str:
    if error["type"] in _MUST:
        return _MUST[error["type"]].format(**error.get("ctx", {}))
    message = error["msg"]
    for prefix in ("Input should be ", "Value error, "):
        message = message.removeprefix(prefix)
    return f"be {message}"


def _fields(model: Any, path: Sequence[int | str]) -> list[str]:
    """Return the names of the fields of the settings at `path` within `model`."""
    here: Any = model
    for part in path:
        here = _model(here)
        if isinstance(here, type) and issubclass(here, BaseModel):
            here = here.model_fields[str(part)].annotation
        else:
            here = typing.get_args(here)[-1 if issubclass(typing.get_origin(here), Mapping) else 0]
    return list(_model(here).model_fields)


def _model(annotation: Any) -> Any:
    """Strip `Annotated` and `| None` from `annotation`."""
    while True:
        origin = typing.get_origin(annotation)
        if origin is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        elif origin in (typing.Union, types.UnionType):
            annotation = next(kind for kind in typing.get_args(annotation) if kind is not type(None))
        else:
            return annotation
