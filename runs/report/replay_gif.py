"""Replays as animated GIF: the agents' episodes of one scenario side by side, by the world's own pictures."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kerf.lab.errors import KerfError
from kerf.lab.world import World
from kerf.lab.worlds import get_world
from kerf.runs.records.store import Store

FRAME_MS = 400
"""Duration of a frame, in milliseconds."""

HEAD, GAP = 24, 8
"""Height of the line with the agent's name, and pixels between pictures."""

WIDEST = 1920
"""Pixels of the whole picture; more agents are drawn smaller."""

PARTED, PLAIN = (214, 54, 56), (40, 44, 52)


def write_gif(found: Mapping[str, Any], store: Store, path: Path) -> None:
    """Draw the first scenario of `kerf.runs.report.replay.replays` into `path`.

    Raises:
        KerfError: if the file cannot be written.
    """
    world = get_world(store.manifest()["recipe"]["world"])
    frames = draw_frames(found["scenarios"][0], world)
    try:
        frames[0].save(path, "GIF", save_all=True, append_images=frames[1:], duration=FRAME_MS, loop=0)
    except (OSError, ValueError) as error:
        raise KerfError(f"--gif: {path} cannot be written: {error}") from error


def draw_frames(replay: Mapping[str, Any], world: World) -> list[Image.Image]:
    """A picture for each moment, with all agents side by side; the name of one that has parted is red."""
    scenario = world.space.from_text(replay["text"])
    episodes = replay["episodes"]

    @cache  # agents that have not parted yet share their pictures
    def drawn(actions: tuple[int, ...]) -> Image.Image:
        return Image.fromarray(world.render_pixels(scenario, np.array(actions, np.int64)))

    frames = []
    for t in range(world.horizon + 1):
        pictures = [
            _titled(drawn(tuple(each["actions"][:t])), name, each["parted"] is not None and t > each["parted"])
            for name, each in episodes.items()
        ]
        frames.append(_together(pictures))
    return frames


def _titled(picture: Image.Image, name: str, parted: bool) -> Image.Image:
    width = max(picture.width, 8 * len(name) + 8)
    canvas = Image.new("RGB", (width, picture.height + HEAD), "white")
    canvas.paste(picture, (0, HEAD))
    ImageDraw.Draw(canvas).text((4, 5), name, fill=PARTED if parted else PLAIN, font=ImageFont.load_default(14))
    return canvas


def _together(pictures: list[Image.Image]) -> Image.Image:
    width = sum(picture.width for picture in pictures) + GAP * (len(pictures) - 1)
    canvas = Image.new("RGB", (width, max(picture.height for picture in pictures)), "white")
    left = 0
    for picture in pictures:
        canvas.paste(picture, (left, 0))
        left += picture.width + GAP
    if width > WIDEST:
        canvas = canvas.resize((WIDEST, round(canvas.height * WIDEST / width)), Image.Resampling.LANCZOS)
    return canvas
