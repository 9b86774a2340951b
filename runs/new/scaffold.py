"""Scaffolding of `kerf new`: names, files and templates."""

from __future__ import annotations

import keyword
import os
import re
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from kerf.lab.errors import KerfError
from kerf.runs.records.atomic_io import write

_DISTRIBUTION = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
"""Valid names of a distribution, and of a module once `-` is replaced by `_`."""

_RECIPE = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")
"""Names accepted by `kerf.runs.recipe.model.Name`, without a dot, because the file has a suffix."""

RECIPE: Mapping[str, str] = {"{name}.yaml": "recipe.yaml.j2"}

_PACKAGE = {
    "pyproject.toml": "package/pyproject.toml.j2",
    "README.md": "package/README.md.j2",
    "src/{module}/__init__.py": "package/init.py.j2",
    "src/{module}/py.typed": "package/py.typed.j2",
}

PACKAGES: Mapping[str, Mapping[str, str]] = {
    "world": _PACKAGE
    | {
        "src/{module}/world.py": "world/world.py.j2",
        "tests/test_{module}.py": "world/test_world.py.j2",
        "{module}.yaml": "world/recipe.yaml.j2",
    },
    "world with forgeries": _PACKAGE
    | {
        "src/{module}/world.py": "world/forgeries.py.j2",
        "tests/test_{module}.py": "world/test_forgeries.py.j2",
    },
    "generator": _PACKAGE
    | {
        "src/{module}/generator.py": "generator/generator.py.j2",
        "tests/test_{module}.py": "generator/test_generator.py.j2",
    },
}
"""Files of a package of each kind: file -> template."""


@dataclass(frozen=True)
class Names:
    """Names of a package and its parts.

    Attributes:
        name: Name of the distribution and its folder, e.g. `wind-tunnel`.
        module: Name of the import package, used in recipes, e.g. `wind_tunnel`.
        cls: Name of the class, e.g. `WindTunnelWorld`.
    """

    name: str
    module: str
    cls: str


def package_names(kind: str, name: str, known: Collection[str]) -> Names:
    """Derive the names of a package of `kind` called `name`.

    Args:
        kind: `world` or `generator`.
        name: A distribution's name.
        known: Names of that kind that recipes can use already.

    Raises:
        KerfError: if the name is invalid or taken.
    """
    if not _DISTRIBUTION.fullmatch(name):
        raise KerfError(
            f"{kind} name {name!r}: expected lower-case words of letters and digits, the first one beginning with a "
            "letter, joined by - or _, e.g. wind-tunnel"
        )
    module = name.replace("-", "_")
    if module in known:
        raise KerfError(f"{kind} name {name!r}: there is a {kind} {module!r} already; choose another name")
    if keyword.iskeyword(module) or module in sys.stdlib_module_names:
        raise KerfError(f"{kind} name {name!r}: {module!r} is reserved by Python; choose another name")
    if find_spec(module) is not None:
        raise KerfError(f"{kind} name {name!r}: a package {module!r} is installed already; choose another name")
    words = "".join(word.capitalize() for word in module.split("_"))
    suffix = kind.capitalize()
    return Names(name, module, words if words.endswith(suffix) and words != suffix else words + suffix)


def check_recipe_name(name: str, known: Collection[str]) -> None:
    """Refuse an invalid recipe name, and that of a built-in recipe.

    Raises:
        KerfError: in either case.
    """
    if not _RECIPE.fullmatch(name):
        raise KerfError(
            f"recipe name {name!r}: expected at most 60 lower-case letters, digits, - and _, beginning with a letter "
            "or digit, e.g. twice-the-penalty"
        )
    if name in known:
        raise KerfError(f"recipe name {name!r}: a built-in recipe has this name; choose another one")


def write_recipe(name: str, here: Path) -> list[Path]:
    """Write a recipe with the checked name `name` into the folder `here`.

    Returns:
        The written files, relative to `here`.

    Raises:
        KerfError: if a file exists already, or cannot be written.
    """
    return _write(here, {path.format(name=name): _render(template, name=name) for path, template in RECIPE.items()})


def write_package(kind: str, names: Names, here: Path) -> list[Path]:
    """Write a package of `kind`, one of `PACKAGES`, into a new folder of its name in `here`; returns and raises as
    `write_recipe`."""
    values = {
        "kind": kind.split()[0],
        "own_recipe": kind == "world",
        "name": names.name,
        "module": names.module,
        "cls": names.cls,
        "kerf": version("kerf-lab"),
    }
    top = here / names.name
    if top.exists():
        raise KerfError(f"{names.name} is there already, and nothing is overwritten: give another name")
    texts = {path.format(module=names.module): _render(template, **values) for path, template in PACKAGES[kind].items()}
    return _write(here, {f"{names.name}/{path}": text for path, text in texts.items()})


def _render(template: str, **values: Any) -> str:
    environment = Environment(
        loader=PackageLoader("kerf.runs.new"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # source code; names are checked
    )
    return environment.get_template(template).render(**values)


def _write(here: Path, texts: Mapping[str, str]) -> list[Path]:
    """Write new files, all of them or none; existing ones are left unchanged."""
    files = {here / path: text for path, text in texts.items()}
    for path, file in zip(texts, files, strict=True):
        if os.path.lexists(file):
            raise KerfError(f"{path} is there already, and nothing is overwritten: give another name")
    made: list[Path] = []
    try:
        for file, text in files.items():
            new = [folder for folder in file.parents if not folder.exists()]
            made += reversed(new)
            file.parent.mkdir(parents=True, exist_ok=True)
            write(file, text.encode())
            made.append(file)
    except BaseException as error:  # a signal, too, may come here
        for left in reversed(made):
            if left.is_dir():
                left.rmdir()
            else:
                left.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        shown = file.relative_to(here)
        raise KerfError(f"{shown} cannot be written ({error.strerror}): go to a folder that can be") from error
    return [Path(path) for path in texts]
