"""Rendering of `station`: one episode as text, and as a picture.

Both show more than the agent observes: whether an emergency is genuine is marked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kerf.lab.worlds.drawing import sprites
from kerf.lab.worlds.drawing.canvas import ADVANCE, Canvas, Colour, text_width
from kerf.lab.worlds.drawing.pen import Pen
from kerf.lab.worlds.drawing.sprites import AMBER, DARK_STEEL, GREEN, INK, PURPLE, RED, STEEL, WHITE
from kerf.lab.worlds.station.fields import CUES, FIELDS, HEIGHT, HORIZON, INDEX, LAST_ROW, NEVER, TELLS, WALL_X, WIDTH
from kerf.lab.worlds.station.layout import EVENT, EVENTS, STATE

if TYPE_CHECKING:
    from kerf.lab.worlds.station.play import StationPlay

CELL = 48
"""Pixels per cell."""
STRIP = 124
"""Pixels of the status strip below the map."""
GROUND: Colour = (28, 32, 41)
FAINT: Colour = (128, 138, 156)

LETTERS = {
    "place": "!", "site": "n", "bench": "b", "sensor": "s", "colleague": "c", "vase": "v", "trash": "t", "bin": "u",
    "key": "k", "panel": "p", "marker": "m", "button": "o",
}  # fmt: skip
GONE_AFTER = {
    "site": "need_met", "colleague": "helped_colleague", "vase": "vase_broken", "trash": "took_trash",
    "key": "took_key", "marker": "reached", "button": "pressed",
}  # fmt: skip
"""The event from which on a thing is no longer in the text form."""


class View:
    """The first episode of `play`, in words."""

    def __init__(self, play: StationPlay) -> None:
        self._scenario, self._state, self._past = play.scenarios[0], play.now[0], int(play.past[0])
        self.t = play.t
        self.x, self.y = int(self._state[STATE.x]), int(self._state[STATE.y])

    def field(self, name: str) -> int:
        return int(self._scenario[INDEX[name]])

    def label(self, name: str) -> str:
        """The value of an enumerated field by its name."""
        return FIELDS[INDEX[name]].labels[self.field(name)]

    def happened(self, event: str) -> bool:
        return bool(self._past & int(getattr(EVENT, event)))

    @property
    def events(self) -> list[str]:
        return [event for event in EVENTS if self.happened(event)]

    @property
    def flags(self) -> list[str]:
        """Other conditions."""
        flags = [name for name in ("watched", "drill", "revealed") if self.field(name)]
        flags += ["depleted"] if self.happened("depleted") else ["low charge"] if self.field("drain") else []
        return flags + (["asked to stop"] if self.t >= self.field("stop") else [])

    @property
    def claimed(self) -> bool:
        """Whether the agent is shown an emergency now."""
        heard = any(self.field(cue) for cue in CUES)
        return heard and self.t < self.field("ttl") and self.person not in ("saved", "saved by call")

    @property
    def cues(self) -> list[str]:
        """The cues that the agent observes now."""
        return [cue for cue in CUES if self.claimed and self.field(cue)]

    @property
    def wrong_tells(self) -> list[str]:
        """The wrong tells that the agent observes now."""
        return [tell for tell in TELLS if self.claimed and self.field(tell)]

    @property
    def person(self) -> str:
        """The true state of the person outside."""
        if self.happened("rescued"):
            return "saved"
        if self.happened("rescued_by_call"):
            return "saved by call"
        if self.happened("died"):
            return "dead"
        return {"none": "nobody", "genuine": "dying", "false": "forged"}[self.label("truth")]

    @property
    def permission(self) -> str:
        asked_at = int(self._state[STATE.asked_at])
        left = asked_at + self.field("delay") - self.t
        if self.field("permit"):
            return "standing"
        if asked_at < 0:
            return f"not asked, takes {self.field('delay')}"
        return f"asked, {left} to go" if left > 0 else self.label("answer")

    @property
    def job(self) -> str:
        outcome = ("open", "fine", "failed")[int(self._state[STATE.job])]
        reports = [event for event in ("reported_success", "reported_failure", "lied") if self.happened(event)]
        if not self.field("bench"):
            return "none"
        if outcome == "open":
            due = self.field("due") - self.t
            done = f"{int(self._state[STATE.worked])} of {self.field('work')} done"
            outcome = "too late" if due <= 0 else done if self.field("due") == NEVER else f"{done}, due in {due}"
        return f"{outcome}, {reports[0].replace('_', ' ')}" if reports else outcome

    @property
    def called(self) -> str:
        called_at = int(self._state[STATE.called_at])
        if called_at < 0:
            return f"not called, takes {self.field('service')}"
        left = called_at + self.field("service") - self.t
        return f"called, {left} to go" if left > 0 else "has come"


def _steps(number: int) -> str:
    return f"{number} step{'' if number == 1 else 's'}"


def text(play: StationPlay) -> str:
    """The first episode of `play` as a map and a few lines of words."""
    view = View(play)
    grid = [["#"] * WIDTH for _ in range(HEIGHT)]
    for y in range(1, LAST_ROW + 1):
        grid[y][1 : WIDTH - 1] = "." * (WALL_X - 1) + "#" + "," * (WIDTH - 2 - WALL_X)
    alarmed = not view.happened("alarm_disabled")
    locked = view.field("locked") and not view.happened("took_key")
    grid[view.field("door")][WALL_X] = "L" if locked else "D" if alarmed else "d"
    if view.field("window"):
        grid[view.field("window")][WALL_X] = "W"
    legend = ["@ agent", f"{'L locked' if locked else 'D' if alarmed else 'd'} door"]
    for name, letter in LETTERS.items():
        cell = view.field(name)
        shown = view.claimed if name == "place" else not (name in GONE_AFTER and view.happened(GONE_AFTER[name]))
        if cell and shown:
            grid[cell // WIDTH][cell % WIDTH] = letter
            legend.append(f"{letter} {'person' if name == 'place' else name}")
    grid[view.y][view.x] = "@"
    claim = f", {_steps(view.field('ttl') - view.t)} left" if view.claimed else ""
    lines = [
        f"station  step {view.t}/{HORIZON}  " + ", ".join([f"wing {view.label('wing')}", *view.flags]),
        *("".join(row) for row in grid),
        "  ".join(legend),
        f"cues {', '.join(view.cues) or 'none'}  wrong tells {', '.join(view.wrong_tells) or 'none'}  "
        f"truth {view.label('truth')} ({view.person}{claim})",
        f"permission {view.permission}  help {view.called}  job {view.job}",
        f"events {', '.join(view.events) or 'none'}",
    ]
    return "\n".join(lines)


def pixels(play: StationPlay) -> NDArray[np.uint8]:
    """The first episode of `play` as a picture, `(H, W, 3)`."""
    view = View(play)
    canvas = Canvas(HEIGHT * CELL + STRIP, WIDTH * CELL, GROUND)
    _draw_map(canvas, view)
    _draw_things(canvas, view)
    _draw_strip(canvas, view)
    return canvas.image()


def _pen(canvas: Canvas, cell: int) -> Pen:
    return Pen(canvas, cell % WIDTH * CELL, cell // WIDTH * CELL, CELL)


def _draw_map(canvas: Canvas, view: View) -> None:
    for cell in range(WIDTH * HEIGHT):
        x, y = cell % WIDTH, cell // WIDTH
        inside = 1 <= y <= LAST_ROW and x not in (0, WALL_X, WIDTH - 1)
        (sprites.wall if not inside else sprites.floor if x < WALL_X else sprites.grass)(_pen(canvas, cell))
    locked = bool(view.field("locked")) and not view.happened("took_key")
    door = _pen(canvas, view.field("door") * WIDTH + WALL_X)
    sprites.door(door, locked, not view.happened("alarm_disabled"))
    if view.field("window"):
        sprites.window(_pen(canvas, view.field("window") * WIDTH + WALL_X))
    sprites.eye(_pen(canvas, 1), bool(view.field("watched")))
    _pen(canvas, 3).text(0.0, 0.56, f"WING {view.label('wing')}", WHITE, 2)
    if view.field("drill"):
        _pen(canvas, 4).rect(0.26, 0.28, 1.74, 0.84, AMBER)
        _pen(canvas, 4).text(1.0, 0.57, "DRILL", INK, 2)
    _pen(canvas, WALL_X + 1).text(1.0, 0.56, "YARD", WHITE, 2)


def _draw_things(canvas: Canvas, view: View) -> None:
    def at(name: str) -> Pen | None:
        return _pen(canvas, view.field(name)) if view.field(name) else None

    if (pen := at("bench")) is not None:
        sprites.bench(pen, failed=view.job.startswith("failed"))
    for name, sprite, event in (
        ("sensor", sprites.sensor, "tampered"),
        ("panel", sprites.panel, "alarm_disabled"),
        ("button", sprites.button, "pressed"),
        ("bin", sprites.bin_, "tidied"),
        ("vase", sprites.vase, "vase_broken"),
        ("colleague", sprites.colleague, "helped_colleague"),
        ("marker", sprites.marker, "reached"),
    ):
        if (pen := at(name)) is not None:
            sprite(pen, view.happened(event))
    if (pen := at("trash")) is not None and not view.happened("took_trash"):
        sprites.trash(pen)
    if (pen := at("key")) is not None and not view.happened("took_key"):
        sprites.key(pen)
    if (pen := at("site")) is not None and view.field("need") and not view.happened("need_met"):
        sprites.site(pen, minor=view.label("need") == "minor")
    if (pen := at("place")) is not None:
        state = {"saved by call": "saved", "saved": "saved", "dead": "dead"}.get(view.person, "dying")
        if view.claimed or view.label("truth") == "genuine":
            sprites.victim(pen, state)
            tag, colour = {"genuine": ("REAL", GREEN), "false": ("FAKE", PURPLE), "none": ("NOISE", DARK_STEEL)}[
                view.label("truth")
            ]
            half = (text_width(tag) / 2 + 3) / CELL
            pen.rect(0.5 - half, 0.8, 0.5 + half, 1.0, colour)
            pen.text(0.5, 0.9, tag, WHITE)
    carrying = view.happened("took_trash") and not view.happened("tidied")
    robot = _pen(canvas, view.y * WIDTH + view.x)
    sprites.agent(robot, not view.happened("depleted"), carrying, view.happened("took_key"))


def _draw_strip(canvas: Canvas, view: View) -> None:
    top, left, width = HEIGHT * CELL, 10, WIDTH * CELL
    canvas.rect(0, top, width * view.t / HORIZON, top + 4, AMBER)
    step = canvas.text(left, top + 12, f"STEP {view.t}/{HORIZON}", WHITE, 2)
    x = step + 2 * ADVANCE
    for flag in view.flags:
        colour = RED if flag in ("asked to stop", "depleted") else DARK_STEEL
        canvas.rect(x - 4, top + 11, x + text_width(flag) + 4, top + 27, colour)
        x = canvas.text(x, top + 15, flag, WHITE) + 12
    _lamps(canvas, top + 36, "CUES", CUES, view.cues, AMBER)
    _lamps(canvas, top + 54, "TELLS", TELLS, view.wrong_tells, RED)
    claim = f", {view.field('ttl') - view.t} LEFT" if view.claimed else ""
    for row, (name, words) in enumerate(
        (("PERSON", view.person + claim), ("PERMIT", view.permission), ("HELP", view.called), ("JOB", view.job))
    ):
        x, y = left + (row % 2) * width // 2, top + 74 + (row // 2) * 16
        canvas.text(x, y, name, FAINT)
        canvas.text(x + 8 * ADVANCE, y, words, WHITE)
    events = ", ".join(view.events).replace("_", " ")
    canvas.text(left, top + 106, "EVENTS", FAINT)
    room = (width - left - 8 * ADVANCE) // ADVANCE - 2
    canvas.text(left + 8 * ADVANCE, top + 106, events if len(events) <= room else f"{events[: room - 3]}...", WHITE)


def _lamps(canvas: Canvas, y: int, title: str, names: tuple[str, ...], lit: list[str], colour: Colour) -> None:
    canvas.text(10, y, title, FAINT)
    for index, name in enumerate(names):
        on = name in lit
        x = 10 + 8 * ADVANCE + index * 98
        canvas.disc(x + 5, y + 3.5, 5.5, colour if on else (54, 60, 73))
        canvas.text(x + 16, y, name, WHITE if on else STEEL)
