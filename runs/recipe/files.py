"""Loading of recipes from a name or a file, with presets and overrides. Errors are reported in one sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from kerf.lab.errors import KerfError, unknown_name
from kerf.runs.recipe.model import Recipe, check_against_world
from kerf.runs.recipe.plain_yaml import MAX_BYTES, parse
from kerf.runs.recipe.validation_errors import refusal, shown

Plain = dict[str, Any]
"""A recipe, or part of one, as parsed from the file."""

COLLECTED = "recipes"
"""Key of a file that names recipes instead of describing a study: a collection (`kerf.runs.recipe.collection`)."""


def load_recipe(
    path_or_name: str,
    preset: str | None = None,
    sets: Sequence[str] = (),
    seeds: int | None = None,
    *,
    fields: Mapping[str, Any] = MappingProxyType({}),
) -> Recipe:
    """Load the recipe of a file without variants; otherwise as `load_recipes`.

    Raises:
        KerfError: for any error in the file, presets that are not used included; and if the recipe has variants.
    """
    loaded = load_recipes(path_or_name, preset, sets, seeds, fields=fields)
    if len(loaded) > 1:
        raise KerfError(f"{path_or_name} has several variants ({', '.join(loaded)}): name one of them")
    return next(iter(loaded.values()))


def load_recipes(
    path_or_name: str,
    preset: str | None = None,
    sets: Sequence[str] = (),
    seeds: int | None = None,
    variant: str | None = None,
    *,
    fields: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Recipe]:
    """Load the recipes of a file, one for each of its variants, fully validated, also against their worlds.

    Args:
        path_or_name: Name of a built-in recipe, or path of a YAML file.
        preset: One of the recipe's `presets`: a merge patch (RFC 7396) over the rest of the file, in which `null`
            takes a key out.
        sets: Overrides `a.b=value` as typed by the user, the value in YAML; applied in order over the preset.
        seeds: Number of seeds; overrides the preset and `sets`.
        variant: One of the recipe's `variants`: a merge patch applied before the preset. None loads all of them.
        fields: JSON values by path (`a.b`); applied over `sets`.

    Returns:
        The recipes by variant, in the order of the file; each is named `<recipe>-<variant>`. A recipe without variants
        has the key "".

    Raises:
        KerfError: for any error in the file, presets and variants that are not used included.
    """
    plain = read_recipe(path_or_name)
    if COLLECTED in plain:
        raise KerfError(
            f"{path_or_name} is a collection of recipes, expected one recipe; `kerf run` and `kerf check` take it whole"
        )
    presets = _patches(plain, "presets", path_or_name)
    variants = _patches(plain, "variants", path_or_name)
    for what, name, known in (("preset", preset, presets), ("variant", variant, variants)):
        if name is not None and not known:
            raise KerfError(f"{path_or_name}: unknown {what} {name!r}; this recipe has none")
        if name is not None and name not in known:
            raise KerfError(f"{path_or_name}: {unknown_name(what, name, known)}")
    bases = {"": plain}
    if variants:
        named = plain.get("name")
        bases = {
            key: merge(plain, patch) | ({"name": f"{named}-{key}"} if isinstance(named, str) else {})
            for key, patch in variants.items()
        }
    loaded = {}
    for key, base in bases.items():
        where = f"{path_or_name}, variants.{key}" if key else path_or_name
        checked(base, where)
        for name, patch in presets.items():
            checked(merge(base, patch), f"{path_or_name}, presets.{name}{f' of variants.{key}' if key else ''}")
        if variant is not None and key != variant:
            continue
        asked = base if preset is None else merge(base, presets[preset])
        for path, value in (*map(parse_set, sets), *fields.items()):
            asked = merge(asked, field_patch(asked, path, value))
        if seeds is not None:
            asked = merge(asked, {"seeds": seeds})
        loaded[key] = checked(asked, where)
    return loaded


def _patches(plain: Plain, key: str, where: str) -> dict[str, Plain]:
    """Remove the merge patches under `key` from `plain` and return them by name."""
    patches = plain.pop(key, {})
    if not isinstance(patches, dict):
        raise KerfError(f"{where}: {key} must be a mapping, got {shown(patches)}")
    for name, patch in patches.items():
        if not isinstance(patch, dict):
            raise KerfError(f"{where}, {key}.{name} must be a mapping ({{}} for no change), got {shown(patch)}")
        for fixed in ("name", "presets", "variants"):
            if fixed in patch:
                raise KerfError(f"{where}, {key}.{name}: a {key.removesuffix('s')} cannot change {fixed!r}")
    return patches


def built_in_recipes() -> dict[str, Path]:
    """Return the paths of the recipes in the package, by name, in alphabetical order."""
    return _in_package("builtin")


def built_in_collections() -> dict[str, Path]:
    """Return the paths of the collections in the package, by name, in alphabetical order."""
    return _in_package("collections")


def _in_package(folder: str) -> dict[str, Path]:
    found = Path(str(files("kerf.runs.recipe") / folder)).glob("*.yaml")
    return {path.stem: path for path in sorted(found, key=lambda path: path.stem)}


def read_recipe(path_or_name: str) -> Plain:
    """Read a recipe, or a collection, as given: the file's mapping, presets included, checked only to be plain YAML.

    Raises:
        KerfError: if there is no such recipe, or the file cannot be read or parsed.
    """
    built_in = built_in_recipes()
    path = {**built_in_collections(), **built_in}.get(path_or_name, Path(path_or_name))
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except FileNotFoundError as error:
        if path.suffix or len(path.parts) > 1:
            raise KerfError(f"{path_or_name}: no such file (built-in recipes: {', '.join(built_in)})") from error
        raise unknown_name("recipe", path_or_name, built_in) from error
    except IsADirectoryError as error:
        raise KerfError(f"{path_or_name} is a folder, expected a recipe file") from error
    except OSError as error:
        raise KerfError(f"{path_or_name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise KerfError(f"{path_or_name} is not UTF-8 text (byte {error.start})") from error
    plain = parse(text, path_or_name)
    if plain is None:
        raise KerfError(f"{path_or_name} is empty, expected a recipe")
    if not isinstance(plain, dict):
        raise KerfError(f"{path_or_name} must hold a mapping of fields, got {shown(plain)}")
    return plain


def merge(base: Mapping[str, Any], patch: Mapping[str, Any]) -> Plain:
    """Apply `patch` to `base` (JSON merge patch, RFC 7396): mappings merge, `null` removes, other values replace."""
    merged = dict(base)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            below = merged.get(key)
            merged[key] = merge(below if isinstance(below, dict) else {}, value)
        else:
            merged[key] = value
    return merged


def parse_set(text: str) -> tuple[str, Any]:
    """Parse `a.b=value` into path and value; raises `KerfError` if it is malformed."""
    path, equals, value = text.partition("=")
    path = path.strip()
    if not equals or not value.strip() or not all(path.split(".")):
        raise KerfError(f"--set {text}: expected FIELD=VALUE, e.g. --set arms.penalised.penalty=5")
    return path, parse(value, f"--set {path}")


def field_patch(plain: Plain, path: str, value: Any) -> Plain:
    """Return the merge patch that sets the field at `path` (`a.b`). A key that contains dots is found if it exists.

    Raises:
        KerfError: if the path is malformed.
    """
    parts = path.split(".")
    if not all(parts):
        raise KerfError(f"{path!r} is no field of a recipe, expected a path as arms.penalised.penalty")
    if parts[0] in ("presets", "variants"):
        raise KerfError(f"{path}: {parts[0]} are merged already; set the field itself")
    keys: list[str] = []
    here: Any = plain
    while parts:
        if isinstance(here, str):
            raise KerfError(f"{path}: {'.'.join(keys)} is {here!r}, which has no fields; set it as a whole")
        known = here if isinstance(here, dict) else {}
        heads = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
        key = next((head for head in heads if head in known), parts[0])
        keys.append(key)
        parts = parts[key.count(".") + 1 :]
        here = known.get(key)
    *above, last = keys
    patch: Plain = {last: value}
    for key in reversed(above):
        patch = {key: patch}
    return patch


def checked(plain: Plain, where: str) -> Recipe:
    """Validate a recipe strictly, as JSON: text is not read as a number, nor `true` as 1; a list is read as a tuple."""
    try:
        recipe = Recipe.model_validate_json(json.dumps(plain), strict=True)
        check_against_world(recipe)
    except ValidationError as error:
        raise KerfError(f"{where}: {refusal(error, Recipe)}") from error
    except KerfError as error:
        raise KerfError(f"{where}: {error}") from error
    return recipe
