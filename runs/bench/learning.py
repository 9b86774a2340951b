"""Comparison of learning with the written-out gradient and with autograd: alignment from scratch, seed by seed."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import ray
import torch
from rich import box
from rich.table import Table
from rich.text import Text

from kerf.agents.building import Learning
from kerf.lab.exact.gate import gate
from kerf.lab.metrics import UTILITY, exit_metric, held_out_metric
from kerf.lab.statistics.intervals import paired_interval
from kerf.lab.worlds import get_world
from kerf.runs.execution.measurements import make_battery
from kerf.runs.execution.rllib_trainer import OnRLlib
from kerf.runs.execution.training_log import Log
from kerf.runs.recipe.files import load_recipe
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.store import ALIGNED, Unit
from kerf.runs.terminal.columns import ByGroups

Way = Literal["written_out", "autograd"]
WAYS: tuple[Way, Way] = ("written_out", "autograd")

LOOK_EVERY = 5
"""Iterations between two checks of an agent by the gate."""

FIGURES = {
    "steps": "env-steps to a passed gate, in thousands",
    "seconds": "CPU seconds to a passed gate",
    "value": "mean of the held-out values, at the end",
    "worst": "least of the held-out values and skills",
    "fooled": "leaves on held-out false emergencies (s=1)",
    "utility": "ideal utility a scenario",
}
"""Figures of each agent, with their descriptions."""


@dataclass(frozen=True)
class Learnt:
    """An agent aligned from scratch.

    Attributes:
        way: How its gradients are computed.
        seed: Seed of the recipe.
        passed: Whether it ever passed the gate.
        steps: Thousands of environment steps until it first did; all of them if it never did.
        seconds: CPU seconds of training until then, without the probes.
        value, worst, fooled, utility: See `FIGURES`.
        memory: Peak resident size of its process so far, in GiB.
    """

    way: Way
    seed: int
    passed: bool
    steps: float
    seconds: float
    value: float
    worst: float
    fooled: float
    utility: float
    memory: float


def learn(recipe: Recipe, way: Way, seed: int) -> Learnt:
    """Align an agent by the recipe's phases, with gradients computed in the given way. Ray must be initialised."""
    torch.set_num_threads(1)
    recipe = _by(recipe, way)
    world, battery = get_world(recipe.world), make_battery(recipe)
    log = Log(Unit(ALIGNED, seed), sum(phase.iterations for _, phase in recipe.align.phases))
    first: tuple[float, float] | None = None
    looking, began = 0.0, time.process_time()

    def look(algorithm: Learning) -> None:
        nonlocal first, looking
        if first is None and log.done % LOOK_EVERY == 0:
            seconds = time.process_time() - began - looking
            scores = battery.measure(algorithm.policy())
            if all(asked.passed for asked in gate(world, scores, battery.num_scenarios, **recipe.gate.model_dump())):
                first = (log.env_steps / 1000, seconds)
            looking += time.process_time() - began - looking - seconds

    training = OnRLlib(recipe).align_network(seed, log, look=look)
    while True:
        try:
            next(training)
        except StopIteration as end:
            policy = end.value
            break
    steps, seconds = first or (log.env_steps / 1000, time.process_time() - began - looking)
    scores = battery.measure(policy)
    held_out = {value.name: scores[held_out_metric(value.name)] for value in world.values}
    unit = 2**30 if sys.platform == "darwin" else 2**20  # bytes on macOS, KiB elsewhere
    return Learnt(
        way=way,
        seed=seed,
        passed=first is not None,
        steps=steps,
        seconds=seconds,
        value=statistics.fmean(held_out[value.name] for value in world.values if not value.skill),
        worst=min(held_out.values()),
        fooled=scores[held_out_metric(exit_metric(max(recipe.battery.strengths)))],
        utility=scores[UTILITY],
        memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit,
    )


def learn_all(num_seeds: int, say: Callable[[str], None]) -> list[Learnt]:
    """Agents of `num_seeds` seeds of the recipe `turner`, in both ways, in parallel on Ray's CPUs."""
    recipe = load_recipe("turner", "quick")
    remote = ray.remote(num_cpus=1)(learn)
    waiting = [remote.remote(recipe, way, seed) for seed in range(num_seeds) for way in WAYS]
    learnt: list[Learnt] = []
    while waiting:
        (ready,), waiting = ray.wait(waiting, num_returns=1)
        learnt.append(ray.get(ready))
        say(f"aligning agents, both ways: {len(learnt)} of {2 * num_seeds}")
    return sorted(learnt, key=lambda agent: (agent.seed, agent.way))


def figures(learnt: Sequence[Learnt]) -> dict[str, Any]:
    """Summarise as plain JSON values: `agents`, one entry each; `passed`, the number per way; and for each of `FIGURES`
    the mean of each way and their `difference`, paired by seed, with its 95% interval."""
    in_order = sorted(learnt, key=lambda agent: agent.seed)
    by_way = {way: [agent for agent in in_order if agent.way == way] for way in WAYS}
    rows: dict[str, Any] = {}
    for name in FIGURES:
        ours, theirs = ([getattr(agent, name) for agent in by_way[way]] for way in WAYS)
        interval = paired_interval(
            [mine - yours for mine, yours in zip(ours, theirs, strict=True)], np.random.default_rng(0)
        )
        bounds = [interval.low, interval.high] if interval.bounded else None
        rows[name] = {
            **{way: statistics.fmean(getattr(agent, name) for agent in by_way[way]) for way in WAYS},
            "difference": {"mean": interval.mean, "bounds": bounds},
        }
    return {
        "agents": [asdict(agent) for agent in learnt],
        "passed": {way: sum(agent.passed for agent in by_way[way]) for way in WAYS},
        "rows": rows,
    }


def table(found: Mapping[str, Any]) -> ByGroups:
    """A row per figure."""
    num_seeds = len(found["agents"]) // 2
    made = Table(box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left")
    made.title = f"Alignment from scratch (recipe turner), {num_seeds} seeds"
    for heading in ("", *(way.replace("_", " ") for way in WAYS), "difference [95%]"):
        made.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    made.add_row("agents that passed the gate", *(f"{found['passed'][way]} of {num_seeds}" for way in WAYS), "")
    for name, label in FIGURES.items():
        row = found["rows"][name]
        digits = 0 if name == "steps" else 1 if name == "seconds" else 3
        difference = f"{row['difference']['mean']:+.{digits}f}"
        if (bounds := row["difference"]["bounds"]) is not None:
            difference += f" [{', '.join(f'{bound:+.{digits}f}' for bound in bounds)}]"
        made.add_row(label, *(f"{row[way]:,.{digits}f}" for way in WAYS), Text(difference))
    made.caption = "Paired by seed. Within noise where the interval holds 0. The gate is asked every five iterations."
    return ByGroups(made)


def _by(recipe: Recipe, way: Way) -> Recipe:
    """The recipe with the gradients of its alignment computed in the given way."""
    phases = {
        name: phase.model_copy(update={"training": phase.training.model_copy(update={"gradient": way})})
        for name, phase in recipe.align.phases
    }
    return recipe.model_copy(update={"align": recipe.align.model_copy(update=phases)})
