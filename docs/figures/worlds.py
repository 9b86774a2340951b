"""Pictures of worlds for their pages, and what their studies end with: `python docs/figures/worlds.py [NAME ...]`."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import keeping
import numpy as np
from pages import WORLDS
from PIL import Image
from world_tables import certificates, doses, exchange_rates, forbidden_acts, interactions, scores

from kerf.lab.worlds import get_world
from kerf.runs.recipe.files import load_recipe

PAGES = keeping.ROOT / "docs" / "worlds"


def picture(name: str) -> None:
    """Write the picture of a world."""
    world, page = get_world(name), WORLDS[name]
    (scenario,) = world.space.make(**page.scenario)
    actions = np.array([world.actions.index(action) for action in page.actions], np.int64)
    Image.fromarray(world.render_pixels(scenario, actions)).save(PAGES / f"{name}.png", optimize=True)


def study(name: str, out: Path) -> None:
    """Keep what the study of a world ends with; it is run in `out`, unless that holds it already."""
    command = WORLDS[name].command
    _keep_ending(name, name, command, out)
    for rerun, override in WORLDS[name].reruns.items():
        _keep_ending(f"{name}-{rerun}", name, f"{command} --set {override}", out.with_name(f"{name}-{rerun}"))
    if WORLDS[name].exact:
        keeping.keep(f"{name}-exact", f"kerf exact out/{name}", keeping.printed_of("exact", out), out)
    if WORLDS[name].metrics:
        keeping.keep(
            f"{name}-scores", command, scores(out, WORLDS[name].metrics, list(load_recipe(name).arms)), out, ".md"
        )
    if WORLDS[name].interactions:
        keeping.keep(f"{name}-interactions", command, interactions(name, out), out, ".md")
    if WORLDS[name].acts:
        keeping.keep(f"{name}-acts", command, forbidden_acts(name, out), out, ".md")
    if WORLDS[name].certified:
        keeping.keep(f"{name}-certificates", command, certificates(name, out), out, ".md")
    if WORLDS[name].doses:
        keeping.keep(f"{name}-doses", command, doses(name, out), out, ".md")
    if WORLDS[name].trades:
        keeping.keep(f"{name}-trades", command, exchange_rates(name, out), out, ".md")


def _keep_ending(kept: str, name: str, command: str, out: Path) -> None:
    keeping.run(command, out)
    keeping.ending_of(kept, command, out, f"out/{name}")


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
