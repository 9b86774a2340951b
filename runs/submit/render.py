"""Renderer of templates. A missing value is an error."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from kerf.lab.errors import KerfError

_PLAIN = re.compile(r"[\w.,:@/=+-]+")


def render(template: str, **values: Any) -> str:
    """Render the template of this name. Raises `jinja2.UndefinedError` if a value is missing."""
    environment = Environment(
        loader=PackageLoader("kerf.runs.submit"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # scripts and manifests; one of the filters quotes every value
    )
    environment.filters.update(sh=_shell, sbatch=_sbatch, yaml=_yaml)
    return environment.get_template(template).render(**values)


def plain(option: str, value: str) -> str:
    """`value`, if it is safe in a script without quotes; raises `KerfError` if not."""
    if not _PLAIN.fullmatch(value):
        raise KerfError(f"{option} must be of letters, digits and . , : @ / = + - only, got {value!r}")
    return value


def _shell(value: object) -> str:
    return shlex.join(map(str, value)) if isinstance(value, list) else shlex.quote(str(value))


def _sbatch(path: object, below: str = "") -> str:
    """A path in a directive, quoted for sbatch; only `below` may contain % patterns."""
    text = str(path)
    if any(letter in text for letter in '"\\\n%'):
        raise KerfError(f"{text}: sbatch cannot handle a path with quotes, backslashes or %; submit from another one")
    return f'"{text}{below}"'


def _yaml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)  # JSON is YAML
