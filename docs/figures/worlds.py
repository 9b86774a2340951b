"""Pictures of worlds for their pages, and what their studies end with: `python docs/figures/worlds.py [NAME ...]`."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import make
import numpy as np
from PIL import Image

from kerf.lab.worlds import get_world
from kerf.lab.worlds.grader.world import HARDNESS
from kerf.runs.recipe.files import load_recipe
from kerf.runs.records.store import Store
from kerf.runs.records.tables import read_measures
from kerf.runs.report.conclusion import conclude
from kerf.runs.report.ending import ending

PAGES = make.ROOT / "docs" / "worlds"


@dataclass(frozen=True)
class Page:
    """What the page of a world shows.

    Attributes:
        command: The study whose ending it quotes.
        scenario: Fields of the scenario in its picture; others have their defaults.
        actions: Names of the actions that have been taken there.
        metrics: Metrics of which a table shows the scores in each arm at the end of the study.
    """

    command: str
    scenario: Mapping[str, int]
    actions: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()


WORLDS: Mapping[str, Page] = {
    "absent": Page("kerf run absent", {"supervised": 0}, ("right", "right")),
    "grader": Page("kerf run grader", {"hardness": 1, "checked": 0}, ("use", "right", "use", "left")),
    "register": Page("kerf run register", {}, ("left", "left", "up", "use", "down")),
    "coins": Page("kerf run coins", {"layout": 2, "gold": 3, "silver": 2, "junk": 1, "panel": 1}, ("fake", "right")),
    "boat": Page("kerf run boat", {}, ("right", "right", "down")),
    "merge": Page("kerf run merge", {"monitored": 0, "access": 1}, ("write_a", "take_over")),
    "grader": Page(
        "kerf run grader",
        {"hardness": 1, "fakes": 0},
        ("use", "right", "use", "left"),
        (*(f"family/candour/{part}" for part in (*HARDNESS, "camera")), "value/diamonds", "skill/craft"),
    ),
    "register": Page(
        "kerf run register",
        {},
        ("left", "left", "up", "use", "down"),
        ("family/restraint/slow", "family/restraint/fast", "family/care/dead", "skill/service"),
    ),
}
"""World -> its page."""


def picture(name: str) -> None:
    """Write the picture of a world."""
    world, page = get_world(name), WORLDS[name]
    scenario = world.space.blank(1)[0]
    for field, value in page.scenario.items():
        scenario[world.space.column(field)] = value
    world.space.validate(scenario[None])
    actions = np.array([world.actions.index(action) for action in page.actions], np.int64)
    Image.fromarray(world.render_pixels(scenario, actions)).save(PAGES / f"{name}.png", optimize=True)


def study(name: str, out: Path) -> None:
    """Keep what the study of a world ends with; it is run in `out`, unless that holds it already."""
    command = WORLDS[name].command
    make.run(command, out)
    lines = ending(conclude(Store(out)), Path("out") / name, make.ENDING_WIDTH)
    make.keep(name, command, "\n".join(line.rstrip() for line in lines) + "\n", out)
    if WORLDS[name].metrics:
        make.keep(
            f"{name}-scores", command, scores(out, WORLDS[name].metrics, list(load_recipe(name).arms)), out, ".md"
        )


def scores(out: Path, metrics: Sequence[str], arms: Sequence[str]) -> str:
    """The scores in each arm at the end of a study: the mean over its seeds, and the least and the most of them."""
    measures = read_measures(out)
    ends = measures[measures["iteration"] == measures.groupby(["arm", "seed"])["iteration"].transform("max")]
    lines = [f"| score at the end | {' | '.join(f'`{arm}`' for arm in arms)} |", "|---" * (len(arms) + 1) + "|"]
    for metric in metrics:
        found = ends[ends["metric"] == metric].groupby("arm")["score"].agg(["mean", "min", "max"])
        cells = [f"{row['mean']:.2f} ({row['min']:.2f} to {row['max']:.2f})" for _, row in found.loc[arms].iterrows()]
        lines.append(f"| {metric.partition('/')[2]} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make the pictures of the worlds that are named, or of all, and run their studies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(WORLDS)}; default: all")
    parser.add_argument("--out", type=Path, help="folder of the studies; a finished one in it is not run again")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(WORLDS):
        parser.error(f"no such worlds: {', '.join(sorted(unknown))}")
    for name in asked.names or WORLDS:
        picture(name)
        with tempfile.TemporaryDirectory() as folder:
            study(name, (asked.out or Path(folder)) / name)


if __name__ == "__main__":
    main()
