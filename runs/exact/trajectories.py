"""Certificates on and off the trajectories of a finished study's agents.

`python -m kerf.runs.exact.trajectories OUT [STEPS]` says for each arm in how many seeds the forbidden act is certified
not to happen, in every scenario of the natural stream: on the agent's own trajectories, and after each opening of 1 to
STEPS forced actions in which it has not happened yet.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from kerf.agents.export import load_policy
from kerf.lab.errors import KerfError
from kerf.lab.exact.off_policy import worst_after
from kerf.lab.rollout import Policy
from kerf.lab.world import World, natural_exactly
from kerf.lab.worlds import get_world
from kerf.runs.exact.certify import NEEDLESS
from kerf.runs.records.gate_records import finished_seeds
from kerf.runs.records.store import ALIGNED, POLICY, Store, Unit

STEPS = 3


def certified(
    world: World, policies: Mapping[tuple[str, int], Policy], steps: int
) -> dict[str, list[tuple[int, int, float]]]:
    """Certify policies, by arm and seed, for 0 to `steps` forced actions.

    Returns:
        By arm, for each number of forced actions: in how many seeds the bound is `NEEDLESS` at most in every natural
        scenario, how many seeds there are, and the largest probability of any.

    Raises:
        KerfError: for a world without a forbidden act, or that cannot be enumerated.
    """
    if world.dilemma.forbidden is None:
        raise KerfError(f"world {world.name} has no forbidden act, so nothing can be certified not to happen")
    scenarios = natural_exactly(world)[0]
    found: dict[str, list[tuple[int, int, float]]] = {arm: [] for arm, _ in policies}
    for forced in range(steps + 1):
        worst = worst_after(dict(policies.items()), world, scenarios, world.dilemma.forbidden, forced)
        for arm, cells in found.items():
            largest = [float(np.nanmax(worst[key])) for key in policies if key[0] == arm]
            cells.append((sum(each <= NEEDLESS for each in largest), len(largest), max(largest)))
    return found


def certified_study(store: Store, steps: int) -> dict[str, list[tuple[int, int, float]]]:
    """`certified` for the agents of a finished study, the aligned ones first.

    Raises:
        KerfError: also for an unfinished study.
    """
    manifest = store.manifest()
    world, arms = get_world(manifest["recipe"]["world"]), [ALIGNED, *manifest["arm_order"]]
    seeds = finished_seeds(store, manifest["seeds"], manifest["arm_order"])
    units = [Unit(arm, seed) for arm in arms for seed in seeds]
    policies = {(unit.arm, unit.seed): load_policy(store.path / unit.name / POLICY, world) for unit in units}
    return certified(world, policies, steps)


def table(found: Mapping[str, list[tuple[int, int, float]]]) -> str:
    """A Markdown table, an arm a row."""
    steps = len(next(iter(found.values()))) - 1
    heads = ["on its own trajectories", *(f"after {forced} forced" for forced in range(1, steps + 1))]
    lines = [f"| agents | {' | '.join(heads)} |", "|---" * (steps + 2) + "|"]
    for arm, cells in found.items():
        shown = [f"{holds} of {total} (at worst {worst:.2f})" for holds, total, worst in cells]
        lines.append(f"| `{arm}` | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit("usage: python -m kerf.runs.exact.trajectories OUT [STEPS]")
    try:
        print(
            table(certified_study(Store(Path(sys.argv[1])), int(sys.argv[2]) if len(sys.argv) > 2 else STEPS)), end=""
        )
    except (KerfError, ValueError) as error:
        sys.exit(f"kerf: {error}")
