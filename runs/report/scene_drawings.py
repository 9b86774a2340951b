"""Drawings of replays: the shapes of everything that occurs in their scenes, for the player."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kerf.lab.worlds.drawing.icons import ground_shapes, shapes
from kerf.runs.report.episodes import merged


def drawings(replays: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Shapes (`kerf.lab.worlds.drawing.pen.Shapes`) of what the player has to draw.

    Args:
        replays: Scenarios with `episodes`, whose scenes are differences.

    Returns:
        `things`: icon -> state -> shapes; `ground`: character -> shapes. Empty for worlds without scenes.
    """
    things: dict[str, dict[str, Any]] = {}
    ground: dict[str, Any] = {}
    for scene in _scenes(replays):
        for icon, state in _looks(scene):
            if state not in things.setdefault(icon, {}):
                things[icon][state] = shapes(icon, state)
        for kind in {kind for row in scene["ground"] for kind in row} - set(ground):
            ground[kind] = ground_shapes(kind)
    return {
        "things": {icon: dict(sorted(things[icon].items())) for icon in sorted(things)},
        "ground": dict(sorted(ground.items())),
    }


def _looks(scene: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Icon and state of everything in a scene."""
    for thing in scene["things"].values():
        yield thing["icon"], thing["state"]
    agent = scene.get("agent")
    if agent is not None:
        yield "agent", "tired" if agent.get("tired") else ""
        for icon in agent["carries"]:
            yield icon, ""


def _scenes(replays: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Every scene of every episode and of its branches."""
    for replay in replays:
        for episode in replay["episodes"].values():
            scenes = _together(episode.get("scenes", ()), {})
            yield from scenes
            for key, branch in episode.get("branches", {}).items():
                if scenes:
                    yield from _together(branch["scenes"], scenes[int(key.split("/")[0])])


def _together(changes: Sequence[Mapping[str, Any]], before: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Whole scenes from differences, of which the first is that from `before`."""
    scenes: list[Mapping[str, Any]] = []
    for change in changes:
        before = merged(before, change)
        scenes.append(before)
    return scenes
