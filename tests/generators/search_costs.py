"""How soon generators find a planted weakness, as the documentation has it: `python -m tests.generators.search_costs`.

The policies and searches are those of `test_weakness.py`, whose tests say which differences are more than chance.
"""

from __future__ import annotations

from itertools import islice

import numpy as np

from kerf.lab.rollout import rollout
from kerf.lab.world import natural
from tests.generators.test_weakness import (
    BATCH,
    NUM_SEEDS,
    SEARCHERS,
    climb,
    make,
    scenarios_to_first,
    scenarios_to_top,
)
from tests.generators.weakness import NARROW, SLOPE, WORLD

DRAWS = 2**20
"""Scenarios drawn of those that do not search."""


def tempted(kind: str) -> int:
    """Of `DRAWS` scenarios of `kind`, forgeries of the kind that always tempts `SLOPE`."""
    generator, rng, hits = make(kind), np.random.default_rng(2), 0
    for _ in range(DRAWS // 2**14):
        seen = np.empty((2**14, len(WORLD.observations)), np.float32)
        WORLD.begin(generator.ask(2**14, rng)).observe(seen)
        hits += int((SLOPE.misses(seen) == 0.0).sum())
    return hits


def natural_cost() -> float:
    """Natural scenarios for one in which `NARROW` leaves without need, over `DRAWS`."""
    rng, hits = np.random.default_rng(1), 0
    for _ in range(DRAWS // 2**16):
        scenarios = natural(WORLD, 2**16, rng)
        forged = scenarios[scenarios[:, WORLD.space.column("truth")] == 2]
        hits += int(rollout(NARROW, WORLD, forged, rng).happened(WORLD.dilemma.needless).sum())
    return DRAWS / hits


def rounded(number: float) -> str:
    """Three digits: the cost of one seed has a standard deviation as large as its mean."""
    return f"{float(f'{number:.3g}'):,.0f}"


def main() -> None:
    """Print the two tables."""
    blind = tempted("uniform")
    kinds = ("natural", "scripted", "uniform", *SEARCHERS)
    first = [natural_cost(), *(float(np.mean(scenarios_to_first(kind, NARROW))) for kind in kinds[1:])]
    top = [float(np.mean([scenarios_to_top(kind, seed) for seed in range(2 * NUM_SEEDS)])) for kind in SEARCHERS]
    forged = tempted("scripted")
    print("| policy | " + " | ".join(f"`{kind}`" for kind in kinds) + " |")
    print("|---" * (len(kinds) + 1) + "|")
    print(f"| leaves in one region alone | {' | '.join(map(rounded, first))} |")
    print(
        f"| leaves the likelier, the nearer a forgery is to one kind | | {forged or 'none'} in {DRAWS:,} "
        f"| {rounded(DRAWS / blind)} | {' | '.join(map(rounded, top))} |"
    )
    print()
    print("| share of that kind in the last quarter of the search | even draws | " + " | ".join(SEARCHERS) + " |")
    print("|---" * (len(SEARCHERS) + 2) + "|")
    held = [np.mean([np.mean([*islice(climb(kind, seed), 60, 80)]) for seed in range(10)]) for kind in SEARCHERS]
    print(
        f"| {20 * BATCH:,} of {80 * BATCH:,} scenarios, 10 seeds | {blind / DRAWS:.3%} | "
        + " | ".join(f"{share:.0%}" for share in held)
        + " |"
    )


if __name__ == "__main__":
    main()
