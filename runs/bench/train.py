"""Command `kerf bench train`: training speed on this machine, against peers and the arithmetic limit, and a check of
learning.

Everything is measured in one run, and contenders are interleaved, so that other load on the machine affects all alike.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from kerf.agents.network import PolicyNetwork, TorchPolicy
from kerf.lab.battery import Battery
from kerf.lab.worlds import get_world
from kerf.runs.bench import learning
from kerf.runs.bench.contenders import KERF, LEARNING, SAMPLING, THREADS, Group, Sizes, groups
from kerf.runs.bench.instructions import held_to
from kerf.runs.bench.timing import (
    REST,
    machine,
    one_quiet_thread,
    refuse_unwritable,
    spread,
    spread_text,
    write_figures,
)
from kerf.runs.execution.local_ray import local_ray
from kerf.runs.terminal.columns import ByGroups

PARTS = (SAMPLING, LEARNING, REST)

FULL = Sizes()
SMALL = replace(FULL, num_scenarios=512, minibatch_size=2048, repetitions=5, kernel_batches=5, iterations=2)
"""Sizes of `--check`: about twenty seconds."""

BOUNDS = {"eager": 1.25, "limit": 0.5, "stock": 10.0, "stock_wide": 5.0}
"""Minimum speed of our trainer relative to each of these, at the size of `--check`."""

BATTERY_SCENARIOS = 128
"""Scenarios per family of the timed battery."""

TARGETS: Mapping[str, tuple[str, float]] = {
    "kernel": ("the world with observations, env-steps/s", 5e6),
    "kerf": ("training end to end, env-steps/s", 150e3),
    "stock": ("times stock RLlib PPO", 20.0),
    "sb3": ("times Stable-Baselines3 PPO", 8.0),
    "cartpole": ("times rejax on CartPole, 4 inputs, one core each", 1.05),
    "cartpole_2": ("times rejax on CartPole, 4 inputs, two cores each", 1.05),
    "padded": ("times rejax at our observation size, one core each", 1.05),
    "padded_2": ("times rejax at our observation size, two cores each", 1.05),
    "limit": ("of the bare torch products and activations", 0.75),
    "battery": ("a battery at a checkpoint, s", 0.6),
    "alignment": ("an agent from scratch to a passed gate, CPU s", 60.0),
    "memory": ("a worker's memory, GiB", 1.2),
    "help": ("kerf --help, s", 0.4),
}
"""Targets for one core of a current machine: lower bounds, or upper bounds for names in `AT_MOST`."""
AT_MOST = ("battery", "alignment", "memory", "help")


def train(
    json_file: Path | None, console: Console, sizes: Sizes = FULL, peers: Path | None = None, num_seeds: int = 0
) -> None:
    """Measure, print tables, and write the same numbers to `json_file` if it is given.

    Args:
        json_file: File for the figures.
        console: Console for the tables.
        sizes: Sizes of the benchmark.
        peers: Folder of the peers' environment; None leaves them out.
        num_seeds: Agents that are aligned from scratch in each way; 0 leaves that out.

    Raises:
        KerfError: if the file is not writable (checked before anything is measured), or the peers cannot be installed.
    """
    refuse_unwritable(json_file)
    with console.status("starting") as status:
        figures = measure(sizes, peers, num_seeds, status.update)
    for shown in tables(figures):
        console.print(shown)
    write_figures(json_file, figures)


def check(console: Console, sizes: Sizes = SMALL) -> bool:
    """Whether our trainer still reaches the relative speeds in `BOUNDS`; prints the results.

    Only ratios within this run count, so the speed and the load of the machine do not matter.
    """
    with console.status("starting") as status:
        figures = measure(sizes, None, 0, status.update)
    console.print(group_table(figures, "station"))
    ratios = figures["groups"]["station"]["ratios"]
    holds = True
    for name, bound in BOUNDS.items():
        found = ratios[name]["median"]
        if found < bound:
            holds = False
            label = figures["groups"]["station"]["contenders"][name]["label"]
            console.print(f"Too slow: {found:.2f} times {label}, expected at least {bound:g}.")
    if holds:
        console.print("All ratios are within their bounds.")
    return holds


def measure(sizes: Sizes, peers: Path | None, num_seeds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """All figures as plain JSON values.

    `groups` holds, by name, `title`, `versions`, `contenders` (each with `label`, `steps_per_second` as `median`, `low`
    and `high` over the repetitions, and `time`, the median share of each part) and `ratios` (our speed relative to each
    of the others, by repetition: on two threads if the other has two cores). `once` holds single figures by the names
    of `TARGETS`; `learning` holds the result of `kerf.runs.bench.learning.figures`, if requested. The other keys are
    `benchmark`, `sizes` and `machine`, whose `held_to` names the instruction set that all were limited to, if any.
    """
    facts = machine() | {"held_to": held_to()}  # before this process loads the libraries
    figures: dict[str, Any] = {"benchmark": "train", "sizes": asdict(sizes), "machine": facts}
    with local_ray(facts["cores"]):
        with one_quiet_thread(), groups(sizes, peers, say) as found:
            figures["groups"] = {name: _timed(group, sizes.repetitions, say) for name, group in found.items()}
            figures["once"] = {"battery": _battery_seconds(sizes), "help": _help_seconds()}
        if num_seeds:
            learnt = learning.learn_all(num_seeds, say)
            figures["learning"] = learning.figures(learnt)
            ours = [agent for agent in learnt if agent.way == learning.WAYS[0]]
            figures["once"]["alignment"] = statistics.median(agent.seconds for agent in ours)
            figures["once"]["memory"] = max(agent.memory for agent in ours)
    return figures


def _timed(group: Group, repetitions: int, say: Callable[[str], None]) -> dict[str, Any]:
    rates: dict[str, list[float]] = {name: [] for name in group.contenders}
    shares: dict[str, list[dict[str, float]]] = {name: [] for name in group.contenders}
    for repetition in range(repetitions + 1):
        for name, contender in group.contenders.items():
            say(f"{group.title}: {contender.label}")
            rate, by_part = contender.measure()
            if repetition:  # the first compiles, allocates, fills caches
                rates[name].append(rate)
                shares[name].append(by_part)
    return {
        "title": group.title,
        "versions": group.versions,
        "contenders": {
            name: {
                "label": contender.label,
                "steps_per_second": spread(rates[name]),
                "time": {part: statistics.median(share[part] for share in shares[name]) for part in shares[name][0]},
            }
            for name, contender in group.contenders.items()
        },
        "ratios": {
            name: spread([mine / theirs for mine, theirs in zip(rates[group.ours(name)], rates[name], strict=True)])
            for name in group.contenders
            if name not in (KERF, THREADS)
        },
    }


def _battery_seconds(sizes: Sizes) -> float:
    """Median time of evaluating an agent on the battery."""
    world = get_world(sizes.world)
    battery = Battery(world, BATTERY_SCENARIOS, seed=0)
    policy = TorchPolicy(
        PolicyNetwork(len(world.observations), len(world.actions), sizes.network, torch.Generator().manual_seed(0))
    )
    return _median_seconds(lambda: battery.measure(policy))


def _help_seconds() -> float:
    """Median wall time of `kerf --help`."""
    command = [str(Path(sys.executable).with_name("kerf")), "--help"]
    return _median_seconds(lambda: subprocess.run(command, check=True, capture_output=True))


def _median_seconds(run: Callable[[], Any], times: int = 5) -> float:
    seconds = []
    for _ in range(times + 1):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def tables(figures: Mapping[str, Any]) -> Iterator[RenderableType]:
    """All tables to print."""
    for name in figures["groups"]:
        yield group_table(figures, name)
    if "learning" in figures:
        yield learning.table(figures["learning"])
    yield _targets_table(figures)


def group_table(figures: Mapping[str, Any], name: str) -> ByGroups:
    """A row for each contender of a group, with our speed relative to it."""
    facts, sizes, group = figures["machine"], figures["sizes"], figures["groups"][name]
    table = Table(box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left")
    cpu = facts["cpu"] + (f", held to {facts['held_to'].upper()}" if facts["held_to"] else "")
    table.title = f"{group['title']}: {cpu} (load {facts['load']:.1f} on {facts['cores']} cores)"
    versions = "".join(f" {package} {version}," for package, version in group["versions"].items()).rstrip(",")
    table.caption = Text(
        f"{sizes['num_scenarios']:,} episodes a batch, {sizes['num_epochs']} epochs, minibatches of "
        f"{sizes['minibatch_size']:,}, network {' x '.join(map(str, sizes['hidden']))}. Medians of "
        f"{sizes['repetitions']} repetitions in turn [lowest, highest]." + (f" Peers:{versions}." if versions else "")
    )
    table.add_column("", no_wrap=True)
    for heading in ("env-steps/s", "ours / this", *PARTS):
        table.add_column(heading, justify="right", no_wrap=True)
    for contender, row in group["contenders"].items():
        time_by_part, ratio = row["time"], group["ratios"].get(contender)
        digits = ",.0f" if ratio is None or ratio["median"] > 100 else ".2f" if ratio["median"] < 10 else ".1f"
        table.add_row(
            row["label"],
            spread_text(row["steps_per_second"], ",.0f"),
            spread_text(ratio, digits) if ratio else "",
            *(f"{time_by_part[part]:.0%}" if part in time_by_part else "" for part in PARTS),
        )
    return ByGroups(table)


def reached(figures: Mapping[str, Any]) -> dict[str, float]:
    """Measured value of each target in `TARGETS`, by name, as far as it was measured."""
    found: dict[str, float] = dict(figures["once"])
    station = figures["groups"]["station"]
    for name in ("kernel", "kerf"):
        found[name] = station["contenders"][name]["steps_per_second"]["median"]
    for name in ("stock", "limit", "sb3"):
        if name in station["ratios"]:
            found[name] = station["ratios"][name]["median"]
    for group in figures["groups"].keys() & {"cartpole", "padded"}:
        for ending, rival in (("", "rejax_1"), ("_2", "rejax_2")):
            if rival in figures["groups"][group]["ratios"]:
                found[group + ending] = figures["groups"][group]["ratios"][rival]["median"]
    return found


def _targets_table(figures: Mapping[str, Any]) -> ByGroups:
    found = reached(figures)
    table = Table(box=box.SIMPLE_HEAD, title_justify="left", title="Targets")
    for heading in ("", "reached", "target", ""):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for name, (label, target) in TARGETS.items():
        if name in found:
            at_most = name in AT_MOST
            holds = found[name] <= target if at_most else found[name] >= target
            table.add_row(
                label, _number(found[name]), f"{'<=' if at_most else '>='} {_number(target)}", "" if holds else "missed"
            )
    return ByGroups(table)


def _number(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
