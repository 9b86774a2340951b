"""Worlds by name. Packages add theirs through the entry-point group `kerf.worlds`."""

from __future__ import annotations

import importlib
from functools import cache

from kerf.lab.errors import KerfError, unknown_name
from kerf.lab.plugins import plugged_in
from kerf.lab.soundness import role_faults
from kerf.lab.world import World

BUILT_IN = {
    "station": "kerf.lab.worlds.station:Station",
    "dilemma": "kerf.lab.worlds.dilemma:dilemma",
    "dilemma_two": "kerf.lab.worlds.dilemma:dilemma_two",
    "dilemma_one": "kerf.lab.worlds.dilemma:dilemma_one",
    "dilemma_overlap": "kerf.lab.worlds.dilemma:dilemma_overlap",
    "absent": "kerf.lab.worlds.absent:Absent",
    "grader": "kerf.lab.worlds.grader:Grader",
    "register": "kerf.lab.worlds.register:Register",
    "boat": "kerf.lab.worlds.boat:Boat",
    "merge": "kerf.lab.worlds.merge:Merge",
    "coins": "kerf.lab.worlds.coins:Coins",
    "drug": "kerf.lab.worlds.drug:Drug",
    "lander": "kerf.lab.worlds.lander:Lander",
    "pacman": "kerf.lab.worlds.pacman:Pacman",
    "endgame": "kerf.lab.worlds.endgame:Endgame",
    "shards": "kerf.lab.worlds.shards:Shards",
    "toasters": "kerf.lab.worlds.toasters:Toasters",
    "dog": "kerf.lab.worlds.dog:Dog",
    "candy": "kerf.lab.worlds.candy:Candy",
}
"""World name -> `module:attribute` of a callable without arguments that makes it."""


def known_worlds() -> dict[str, str]:
    """All worlds, built in or from installed plug-ins, as `{name: "module:attribute"}`."""
    return {**plugged_in("kerf.worlds"), **BUILT_IN}


@cache
def get_world(name: str) -> World:
    """The world called `name` (or at `module:attribute`), made once per process.

    Raises:
        KerfError: for an unknown name (with the nearest spelling), or a target that cannot be imported, raises an
            exception, or makes something that lacks a member of `World` or a value that its dilemma names.
    """
    known = known_worlds()
    target = name if ":" in name else known.get(name)
    if target is None:
        raise unknown_name("world", name, known)
    module, _, attribute = target.partition(":")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:  # importing a module runs it, which can raise anything
        raise KerfError(f"world {name!r}: cannot load {target!r}: {error!r}") from error
    if not callable(factory):
        raise KerfError(f"world {name!r}: {target!r} must be callable without arguments, got {type(factory).__name__}")
    try:
        world: World = factory()
    except (Exception, SystemExit) as error:
        raise KerfError(f"world {name!r}: {target!r} must make a world without arguments, got {error!r}") from error
    members = [*World.__annotations__, *(member for member in vars(World) if not member.startswith("_"))]
    if missing := [member for member in members if not hasattr(world, member)]:
        made = type(world).__name__
        raise KerfError(f"world {name!r}: {target!r} made a {made}, which is no world: it lacks {', '.join(missing)}")
    if faults := role_faults(world):
        raise KerfError(f"world {name!r}: {faults[0]}")
    _MADE[id(world)] = name
    return world


_MADE: dict[int, str] = {}
"""`id` of each world that `get_world` made (they are never deleted) -> the name that it was made by."""


def name_of(world: World) -> str:
    """The name that `get_world` made `world` by, and by which another process can make it.

    Raises:
        KerfError: for a world that was made otherwise.
    """
    if id(world) not in _MADE:
        raise KerfError(
            f"world {world.name!r} was made without kerf.lab.worlds.get_world: other processes need its name there"
        )
    return _MADE[id(world)]
