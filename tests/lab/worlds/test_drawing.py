"""Icons: every one draws something of its own, in pictures and as shapes for the player; unknown ones are plates."""

from __future__ import annotations

import json
import re
from importlib import resources

import numpy as np
import pytest

from kerf.lab.world import Scenic
from kerf.lab.worlds import get_world
from kerf.lab.worlds.drawing import board, sprites
from kerf.lab.worlds.drawing.canvas import Canvas
from kerf.lab.worlds.drawing.icons import CELL, GROUND, ICONS, draw, ground_shapes, shapes
from kerf.lab.worlds.drawing.pen import Pen

STATES = {
    "apple": "green", "arrow": "left", "bench": "failed", "bin": "full", "boat": "on fire", "bug": "fixed",
    "button": "pressed", "camera": "covered", "coin": "silver", "colleague": "helped", "crane": "strawberry",
    "diamond": "fake", "display": "diamond", "document": "merged", "dog": "fed", "door": "locked", "electrode": "on",
    "eye": "away", "ghost": "scared", "glass": "yellow", "goal": "reached", "grenade": "exploded", "king": "white",
    "lander": "wreck",
    "marker": "reached", "pad": "blue", "panel": "alarm off", "pellet": "power", "person": "dying", "register": "12",
    "reviewer": "absent", "robot": "off", "rook": "white", "sensor": "tampered", "switch": "on", "trap": "off",
    "vase": "broken",
}  # fmt: skip
"""A state that changes the drawing."""


def picture(icon: str, state: str = "") -> bytes:
    canvas = Canvas(CELL, CELL, sprites.FLOOR)
    draw(Pen(canvas, 0, 0, CELL), icon, state)
    return canvas.image().tobytes()


@pytest.fixture(scope="module")
def pictures() -> dict[str, bytes]:
    return {icon: picture(icon) for icon in ICONS}


def test_icons_differ_from_each_other_and_from_bare_floor(pictures: dict[str, bytes]) -> None:
    bare = Canvas(CELL, CELL, sprites.FLOOR).image().tobytes()
    assert len({bare, *pictures.values()}) == 1 + len(ICONS)


@pytest.mark.parametrize("icon", STATES)
def test_states_show(icon: str, pictures: dict[str, bytes]) -> None:
    assert picture(icon, STATES[icon]) != pictures[icon]
    assert shapes(icon, STATES[icon]) != shapes(icon, "")


def test_arrows_and_registers_show_what_they_say() -> None:
    assert len({picture("arrow", way) for way in ("up", "down", "left", "right")}) == 4
    (number,) = [shape for shape in shapes("register", "12 of 20") if shape[0] == "text"]
    assert number[3] == "12 o"


def test_an_unknown_icon_is_a_plate_with_its_first_letter() -> None:
    (letter,) = [shape for shape in shapes("quokka", "asleep") if shape[0] == "text"]
    assert letter[3] == "q"
    assert picture("quokka") != picture("Walrus")
    assert picture("_") == picture("ß"), "characters that the font lacks leave the plate empty"


def test_the_player_knows_every_kind_of_shape() -> None:
    """The page has no drawings of its own: it draws the shapes that the sprites drew."""
    script = resources.files("kerf.runs").joinpath("report", "page", "templates", "scenes.js").read_text("utf-8")
    table = script[script.index("const kinds = {") : script.index("};", script.index("const kinds = {"))]
    known = set(re.findall(r"^    (\w+)[(,]", table, re.MULTILINE))
    drawn = [shapes(icon, state) for icon in ICONS for state in ("", STATES.get(icon, ""))]
    drawn += [ground_shapes(kind) for kind in GROUND]
    assert {shape[0] for each in drawn for shape in each} == known
    assert json.loads(json.dumps(drawn)) == drawn


def test_shapes_are_those_of_the_picture() -> None:
    """Shapes drawn on a canvas by hand give the picture that the sprite gives."""
    for icon in ("coin", "bug", "goal", "forgery"):
        canvas = Canvas(CELL, CELL, sprites.FLOOR)
        for kind, *arguments in shapes(icon, ""):
            alpha = [arguments.pop()] if kind in ("rect", "ellipse") else []
            getattr(canvas, kind)(*(_scaled(each) for each in arguments), *alpha)
        apart = canvas.image().astype(int) - np.frombuffer(picture(icon), np.uint8).reshape(CELL, CELL, 3)
        assert np.abs(apart).max() < 40, f"{icon}: shapes are rounded, edges may differ by part of a pixel"


def _scaled(argument: object) -> object:
    if isinstance(argument, list):
        return [(x * CELL, y * CELL) for x, y in argument]
    if isinstance(argument, str):
        return tuple(bytes.fromhex(argument[1:]))
    return argument * CELL if isinstance(argument, float) else argument


def test_boards_draw_things_by_their_icons_and_what_the_agent_carries() -> None:
    world = get_world("absent")
    assert isinstance(world, Scenic)
    (scene, *_) = world.scenes(world.space.from_text("absent(tile=1, supervised=1)"), np.zeros(0, np.int64))
    shown = board.pixels(scene)
    bare = board.pixels({**scene, "things": {}})
    for thing in scene["things"].values():
        cell = np.s_[thing["y"] * CELL : (thing["y"] + 1) * CELL, thing["x"] * CELL : (thing["x"] + 1) * CELL]
        assert (shown[cell] != bare[cell]).any()
    carrying = board.pixels({**scene, "agent": {**scene["agent"], "carries": ["coin", "key"]}})
    assert (carrying != shown).any()
    away = board.pixels({**scene, "agent": None})
    assert (away != shown).any()
