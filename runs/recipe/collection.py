"""Collections: files that name recipes, whose studies are run one after another and summed up together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, ValidationError

from kerf.lab.errors import KerfError
from kerf.lab.settings import Name, Settings
from kerf.runs.recipe.files import COLLECTED, load_recipes, read_recipe
from kerf.runs.recipe.model import Recipe
from kerf.runs.recipe.validation_errors import refusal


class Entry(Settings):
    """A recipe of a collection."""

    recipe: Annotated[str, Field(min_length=1)]
    """Name of a built-in recipe, or path of a YAML file."""

    variant: str | None = None
    """One of its variants; None: all of them."""

    preset: str | None = None
    """One of its presets, whatever preset is asked for; None: the one that is asked for."""


class CollectionFile(Settings):
    """A collection as specified by the user."""

    name: Name
    """Name of the collection; also of its default folder."""

    about: str = ""
    """What its studies have in common, for readers."""

    recipes: Annotated[tuple[Entry, ...], Field(min_length=1)]
    """The recipes, in the order in which they are run."""


@dataclass(frozen=True)
class Collection:
    """A collection with its recipes loaded.

    Attributes:
        name: Its name.
        about: Its description.
        studies: Name of each study, which is that of its recipe and of its folder -> the recipe.
    """

    name: str
    about: str
    studies: Mapping[str, Recipe]


def is_collection(path_or_name: str) -> bool:
    """Whether a file is a collection, by its form: it names recipes instead of describing a study.

    Raises:
        KerfError: if there is no such file or built-in name, or it cannot be read.
    """
    return COLLECTED in read_recipe(path_or_name)


def load_collection(
    path_or_name: str, preset: str | None = None, sets: Sequence[str] = (), seeds: int | None = None
) -> Collection:
    """Load a collection and all its recipes, fully validated.

    Args:
        path_or_name: Name of a built-in collection, or path of a YAML file.
        preset: Preset of every recipe that names none of its own.
        sets: Overrides `a.b=value` of every recipe.
        seeds: Number of seeds of every study.

    Raises:
        KerfError: for any error in the file or in one of its recipes, and if two studies have one name.
    """
    named = _file(read_recipe(path_or_name), path_or_name)
    studies: dict[str, Recipe] = {}
    for index, entry in enumerate(named.recipes):
        where = f"{path_or_name}, recipes.{index}"
        try:
            loaded = load_recipes(entry.recipe, entry.preset or preset, sets, seeds, entry.variant)
        except KerfError as error:
            raise KerfError(f"{where}: {error}") from error
        for recipe in loaded.values():
            if recipe.name in studies:
                raise KerfError(f"{where}: a study called {recipe.name!r} is in this collection already")
            studies[recipe.name] = recipe
    return Collection(named.name, named.about, studies)


def _file(plain: Mapping[str, Any], where: str) -> CollectionFile:
    """Validate a collection; an entry that is only a name is a recipe of that name."""
    listed = plain.get(COLLECTED)
    if isinstance(listed, list):
        plain = {**plain, COLLECTED: [{"recipe": each} if isinstance(each, str) else each for each in listed]}
    try:
        return CollectionFile.model_validate_json(json.dumps(plain), strict=True)
    except ValidationError as error:
        raise KerfError(f"{where}: {refusal(error, CollectionFile)}") from error
