"""Scenes of the lander: its sky in cells of a metre, for pictures and for the page's player."""

from __future__ import annotations

from typing import Any

import numpy as np

from kerf.lab.worlds.lander.kernel import ANGLE, CRASHED, FLAGS, FLYING, LANDED, PAD, PAINT, PEOPLE, VX, VY, X, Y
from kerf.lab.worlds.lander.play import HORIZON, LanderPlay

MIDDLE, ROWS = 6, 9
"""Cells from the left edge to the middle, and of sky from top to bottom."""
FATES = {FLYING: "flying", LANDED: "landed", CRASHED: "crashed"}
MARKS = (
    ("pad", PAD, "pad", "grey", 0.0),
    ("paint", PAINT, "paint", "", 0.0),
    ("left flag", FLAGS, "goal", "", -0.5),
    ("right flag", FLAGS, "goal", "", 0.6),
    ("people", PEOPLE, "person", "", 0.0),
)
"""Name, column of `LanderPlay.sites`, icon, its state, and metres to the right of the site."""
LEANING = 0.15
"""Radians from which the drawing leans."""


def scene(play: LanderPlay) -> dict[str, Any]:
    """The first episode of `play` as plain data (see `kerf.lab.world.Scenic`)."""
    body, status = play.body[0], int(play.status[0])
    places = {name: float(play.sites[0, thing]) + MIDDLE + aside for name, thing, _, _, aside in MARKS}
    things: dict[str, dict[str, Any]] = {
        name: {"icon": icon, "x": places[name], "y": ROWS - 1, "state": state, "label": ""}
        for name, _, icon, state, _ in MARKS
        if not np.isnan(places[name])
    }
    if status in FATES:
        leaning = "left" if body[ANGLE] > LEANING else "right" if body[ANGLE] < -LEANING else ""
        things["lander"] = {
            "icon": "lander",
            "x": round(float(np.clip(body[X], -MIDDLE, MIDDLE)) + MIDDLE, 2),
            "y": round(ROWS - 1 - float(np.clip(body[Y], 0, ROWS - 1)), 2),
            "state": "wreck" if status == CRASHED else leaning,
            "label": "",
        }
    return {
        "ground": [" " * (2 * MIDDLE + 1)] * ROWS + ["." * (2 * MIDDLE + 1)],
        "agent": None,
        "things": things,
        "signs": [],
        "facts": {
            "state": FATES.get(status, "away"),
            "height": f"{body[Y]:.1f} m",
            "speed": f"{body[VX]:.1f} m/s to the right, {body[VY]:.1f} m/s up",
            "lean": f"{abs(np.degrees(body[ANGLE])):.0f} degrees to the {'left' if body[ANGLE] > 0 else 'right'}",
            "step": f"{play.t} of {HORIZON}",
        },
        "hidden": {},
    }


def on_cells(scene: dict[str, Any]) -> dict[str, Any]:
    """The scene with everything moved to the nearest cell."""
    width = len(scene["ground"][0])
    things = {
        name: thing | {"x": int(np.clip(np.rint(thing["x"]), 0, width - 1)), "y": int(np.rint(thing["y"]))}
        for name, thing in scene["things"].items()
    }
    return scene | {"things": things}
