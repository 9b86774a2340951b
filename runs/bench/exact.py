"""Command `kerf bench exact`: time and memory of exact solutions on this machine."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table

from kerf.agents.network import PolicyNetwork, TorchPolicy
from kerf.agents.settings import NetworkSettings
from kerf.lab.dilemma import Mix
from kerf.lab.exact.evaluation import Evaluator, evaluate
from kerf.lab.exact.optimum import belief, solve, trees
from kerf.lab.grader import ExPost
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.scripted import Careless, ExpertPolicy
from kerf.lab.world import Enumerable, Listed, natural
from kerf.lab.worlds import get_world
from kerf.runs.bench.timing import machine, one_quiet_thread, refuse_unwritable, write_figures
from kerf.runs.terminal.columns import ByGroups

LIMITS = {"dilemma": 0.05, "station": 60.0, "optimum": 120.0}
"""Upper bound on the time of each, in seconds."""

MEMORY_LIMIT = 4.0
"""Upper bound on the memory of the process, in GiB."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of the benchmark.

    Attributes:
        scenarios: Scenarios of `station` in which a policy is evaluated.
        slip: Probability at each step that this policy takes a random action.
        situations: Situations of `station` to solve, including their hidden states.
        repetitions: Evaluations of the dilemma.
    """

    scenarios: int = 256
    slip: float = 0.01
    situations: int = 64
    repetitions: int = 9


def exact(json_file: Path | None, console: Console, sizes: Sizes | None = None) -> None:
    """Measure, print a table, and write the figures to `json_file` if it is given."""
    refuse_unwritable(json_file)
    figures = measure(sizes or Sizes())
    console.print(_table(figures))
    write_figures(json_file, figures)


def measure(sizes: Sizes) -> dict[str, Any]:
    """All figures as plain JSON values: `rows` of `what`, `seconds`, `limit` and `detail`; `memory_gib`; `machine`."""
    facts = machine()
    with one_quiet_thread():
        rows = [_dilemma(sizes), _station(sizes), _optimum(sizes)]
    unit = 2**30 if sys.platform == "darwin" else 2**20  # bytes on macOS, KiB elsewhere
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return {"benchmark": "exact", "rows": rows, "memory_gib": memory, "machine": facts}


def _dilemma(sizes: Sizes) -> dict[str, Any]:
    world = get_world("dilemma")
    assert isinstance(world, Listed)
    situations = world.situations()
    rows, _ = world.completions(situations)
    rows = rows[world.density(rows, Mix(0.5, 0.5)) > 0.0]
    network = PolicyNetwork(
        len(world.observations), len(world.actions), NetworkSettings(), torch.Generator().manual_seed(0)
    )
    evaluator, policy = Evaluator(world, rows), TorchPolicy(network)
    evaluator.run(policy)
    seconds = statistics.median(_seconds(lambda: evaluator.run(policy)) for _ in range(sizes.repetitions))
    return {
        "what": "a network followed through all of `dilemma`",
        "seconds": seconds,
        "limit": LIMITS["dilemma"],
        "detail": f"{len(situations):,} situations, {len(rows):,} scenarios; median of {sizes.repetitions}",
    }


def _station(sizes: Sizes) -> dict[str, Any]:
    world = get_world("station")
    scenarios = natural(world, sizes.scenarios, np.random.default_rng(0))
    policy = Careless(ExpertPolicy(world), sizes.slip)
    evaluate(policy, world, scenarios[:2])  # compiles
    began = time.perf_counter()
    outcomes = evaluate(policy, world, scenarios)
    return {
        "what": f"a policy followed through {sizes.scenarios} scenarios of `station`",
        "seconds": time.perf_counter() - began,
        "limit": LIMITS["station"],
        "detail": f"the expert, careless at {sizes.slip:.0%} of steps; all but {outcomes.dropped.max():.0e} followed",
    }


def _optimum(sizes: Sizes) -> dict[str, Any]:
    world = get_world("station")
    assert isinstance(world, Enumerable)
    situations = natural(world, sizes.situations, np.random.default_rng(0))
    objective = RewardSpec(grader=ExPost(), penalty=10.0)
    next(iter(trees(world, situations)))  # compiles
    began = time.perf_counter()
    sets, value = 0, 0.0
    for tree in trees(world, situations):
        share = np.full(len(tree.situations), 1.0 / sizes.situations)
        value += solve(tree, objective, belief(tree, Mix(0.5, 1.0), share)).value
        sets += len(tree)
    return {
        "what": f"the optimum of one objective in {sizes.situations} situations of `station`",
        "seconds": time.perf_counter() - began,
        "limit": LIMITS["optimum"],
        "detail": f"{sets:,} information sets; max J {value:.3f}",
    }


def _seconds(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _table(figures: dict[str, Any]) -> ByGroups:
    facts = figures["machine"]
    table = Table(box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left")
    table.title = f"Exact answers: {facts['cpu']}, one thread (load {facts['load']:.1f} on {facts['cores']} cores)"
    table.caption = (
        f"Memory of the process at its largest: {figures['memory_gib']:.2f} GiB (should be <= {MEMORY_LIMIT:g})."
    )
    table.add_column("", no_wrap=True)
    table.add_column("seconds", justify="right")
    table.add_column("should be <=", justify="right")
    table.add_column("")
    for row in figures["rows"]:
        table.add_row(row["what"], f"{row['seconds']:.3f}", f"{row['limit']:g}", row["detail"])
    return ByGroups(table)
