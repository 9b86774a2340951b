"""`kerf bench train`: how fast the world, our training path and stock RLlib PPO are here, measured in one run."""

from __future__ import annotations

import json
import logging
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.config import KerfConfig
from agents.settings import NetworkSettings, TrainingSettings
from agents.stock import stock_ppo
from generators.base import GeneratorSettings
from generators.registry import make_generator
from lab.errors import KerfError
from lab.world import World, natural
from lab.worlds import get_world
from runs import disk
from runs.pool import local_ray

VERSIONED = ("kerf-lab", "ray", "torch", "gymnasium", "numpy", "numba")
PARTS = SAMPLING, LEARNING, REST = ("sampling", "learning", "rest")
CONTENDERS = KERNEL, KERF, STOCK, STOCK_WIDE = ("kernel", "kerf", "stock", "stock_wide")


@dataclass(frozen=True)
class Sizes:
    """What is measured, and how often.

    Attributes:
        world: Name of a registered world.
        num_scenarios: Episodes a batch. The world and our path play them all side by side.
        num_envs: Environments that stock RLlib plays side by side; the wide variant plays all, as we do, which is the
            fastest that it gets.
        minibatch_size: Steps a minibatch.
        num_epochs: Passes over a batch.
        hidden: Widths of the shared trunk's tanh layers.
        repetitions: Times that each is measured, in turn.
        kernel_batches: Batches that the world plays in one repetition.
        iterations: Iterations of our path in one repetition; stock RLlib does one.
    """

    world: str = "station"
    num_scenarios: int = 1024
    num_envs: int = 32
    minibatch_size: int = 4096
    num_epochs: int = 3
    hidden: tuple[int, ...] = (64, 64)
    repetitions: int = 5
    kernel_batches: int = 30
    iterations: int = 5

    @property
    def network(self) -> NetworkSettings:
        return NetworkSettings(hidden=self.hidden, activation="tanh", shared_trunk=True)

    @property
    def training(self) -> TrainingSettings:
        return TrainingSettings(
            num_scenarios=self.num_scenarios,
            minibatch_size=self.minibatch_size,
            num_epochs=self.num_epochs,
            advantage_scaling="batch",  # as stock PPO does
        )


FULL = Sizes()
"""About a minute."""


class Stopwatch:
    """Adds up the time spent in some methods of some objects, which do what they did before."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def watch(self, part: str, owner: Any, method: str) -> Self:
        """From now on, calls of `owner.method` count as `part`."""
        inner = getattr(owner, method)
        self._seconds[part] = 0.0

        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return inner(*args, **kwargs)
            finally:
                self._seconds[part] += time.perf_counter() - began

        setattr(owner, method, timed)
        return self

    def read(self) -> dict[str, float]:
        """Seconds by part since it was last read; starts again from zero."""
        seconds, self._seconds = self._seconds, dict.fromkeys(self._seconds, 0.0)
        return seconds


@dataclass(frozen=True)
class Contender:
    """Something that plays.

    Attributes:
        label: What it is, for people.
        num_steps: Environment steps of one `run`.
        run: Does it.
        stopwatch: Set at the parts of it that are told apart.
    """

    label: str
    num_steps: int
    run: Callable[[], Any]
    stopwatch: Stopwatch

    def measure(self) -> tuple[float, dict[str, float]]:
        """Steps a second of one run, and the share of time in each part; what is left over is `rest`."""
        self.stopwatch.read()
        began = time.perf_counter()
        self.run()
        total = time.perf_counter() - began
        shares = {part: seconds / total for part, seconds in self.stopwatch.read().items()}
        return self.num_steps / total, shares | {REST: 1.0 - sum(shares.values())} if shares else {}


def train(json_file: Path | None, console: Console, sizes: Sizes = FULL) -> None:
    """Measure, print a table, and write the same numbers to `json_file` if it is given.

    Raises:
        KerfError: if the file could not be written; asked before anything is measured.
    """
    if json_file is not None and not (json_file.parent.is_dir() and os.access(json_file.parent, os.W_OK)):
        raise KerfError(f"--json {json_file}: {json_file.parent} is no folder that you can write to; name another one")
    figures = measure(sizes)
    console.print(_table(figures, sizes))
    if json_file is not None:
        with disk.explained(json_file):
            disk.write(json_file, json.dumps(figures, indent=2, allow_nan=False).encode() + b"\n")


def measure(sizes: Sizes) -> dict[str, Any]:
    """All figures as plain JSON values.

    `kernel`, `kerf`, `stock` and `stock_wide` each hold `label`, `steps_per_second` (`median`, `low`, `high` over the
    repetitions) and `time` (the median share of each part); `ratio` holds how many times as fast as `stock` and as
    `stock_wide` our path is, repetition by repetition. Beside them stand `benchmark`, `sizes` and `machine`.
    """
    facts = machine()  # before we load it ourselves
    rates: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    shares: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    with _contenders(sizes) as contenders:
        for contender in contenders.values():  # compile, allocate, fill caches
            contender.measure()
        for _ in range(sizes.repetitions):  # in turn, so that whatever else runs here disturbs all alike
            for name, contender in contenders.items():
                rate, by_part = contender.measure()
                rates[name].append(rate)
                shares[name].append(by_part)
        figures: dict[str, Any] = {"benchmark": "train", "sizes": asdict(sizes), "machine": facts}
        for name, contender in contenders.items():
            time_by_part = {
                part: statistics.median(by_part[part] for by_part in shares[name]) for part in shares[name][0]
            }
            figures[name] = {"label": contender.label, "steps_per_second": _spread(rates[name]), "time": time_by_part}
    figures["ratio"] = {
        stock: _spread([ours / theirs for ours, theirs in zip(rates[KERF], rates[stock], strict=True)])
        for stock in (STOCK, STOCK_WIDE)
    }
    return figures


@contextmanager
def _contenders(sizes: Sizes) -> Iterator[dict[str, Contender]]:
    """All by name, ready to run, each on one thread of this process."""
    world = get_world(sizes.world)
    num_steps = sizes.num_scenarios * world.horizon
    config = KerfConfig().kerf(
        world=sizes.world,
        source=make_generator(world, GeneratorSettings(kind="natural")),
        seed=0,
        network=sizes.network,
        training=sizes.training,
    )
    with one_quiet_thread(), local_ray(1), ExitStack() as stack:

        def built(config: Any) -> Any:
            algorithm = config.debugging(log_level="ERROR").build_algo()  # it sets the level of all of RLlib
            stack.callback(algorithm.stop)
            return algorithm

        def stock(num_envs: int) -> Contender:
            algorithm = built(stock_ppo(sizes.world, sizes.network, sizes.training, num_envs))
            stopwatch = Stopwatch().watch(SAMPLING, algorithm.env_runner, "sample")
            stopwatch.watch(LEARNING, algorithm.learner_group, "update")
            return Contender(f"stock RLlib PPO, {num_envs:,} side by side", num_steps, algorithm.train, stopwatch)

        kerf = built(config)
        yield {
            KERNEL: Contender("world alone", num_steps * sizes.kernel_batches, _kernel(world, sizes), Stopwatch()),
            KERF: Contender(
                "our training path",
                num_steps * sizes.iterations,
                lambda: _repeat(kerf.train, sizes.iterations),
                Stopwatch().watch(SAMPLING, kerf, "play").watch(LEARNING, kerf.learner_group, "update"),
            ),
            STOCK: stock(sizes.num_envs),
            STOCK_WIDE: stock(sizes.num_scenarios),
        }


def _kernel(world: World, sizes: Sizes) -> Callable[[], None]:
    """Plays batches of natural scenarios with actions drawn beforehand: steps and observations, nothing else."""
    rng = np.random.default_rng(0)
    scenarios = natural(world, sizes.num_scenarios, rng)
    actions = rng.integers(len(world.actions), size=(world.horizon, sizes.num_scenarios))
    observations = np.empty((sizes.num_scenarios, len(world.observations)), np.float32)
    events = np.zeros(sizes.num_scenarios, np.uint64)

    def play() -> None:
        episodes = world.begin(scenarios)
        for chosen in actions:
            episodes.observe(observations)
            episodes.step(chosen, events)

    return lambda: _repeat(play, sizes.kernel_batches)


def _repeat(run: Callable[[], Any], times: int) -> None:
    for _ in range(times):
        run()


@contextmanager
def one_quiet_thread() -> Iterator[None]:
    """torch on one thread, and no word from RLlib about how it is being used."""
    threads, logger = torch.get_num_threads(), logging.getLogger("ray.rllib")
    level = logger.level
    torch.set_num_threads(1)
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        logger.setLevel(level)


def machine() -> dict[str, Any]:
    """What the figures depend on besides the code."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in VERSIONED},
    }


def _cpu() -> str:
    """Name of the processor: Linux tells it in a file, others may through `platform`."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _spread(numbers: Sequence[float]) -> dict[str, float]:
    """The middle of repeated measurements, and how far they reach."""
    return {"median": statistics.median(numbers), "low": min(numbers), "high": max(numbers)}


def _table(figures: Mapping[str, Any], sizes: Sizes) -> Table:
    """A row for each, with how many times as fast our path is as those that it is compared with."""
    facts = figures["machine"]
    table = Table(box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left")
    table.title = f"{sizes.world}: {facts['cpu']}, one thread (load {facts['load']:.1f} on {facts['cores']} cores)"
    table.caption = Text(
        f"{sizes.num_scenarios:,} episodes a batch, {sizes.num_epochs} epochs, minibatches of "
        f"{sizes.minibatch_size:,}, network {' x '.join(map(str, sizes.hidden))}. Medians of {sizes.repetitions} "
        "repetitions in turn [lowest, highest]."
    )
    table.add_column("", no_wrap=True)
    for heading in ("env-steps/s", "ours / this", *PARTS):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in CONTENDERS:
        time_by_part, ratio = figures[name]["time"], figures["ratio"].get(name)
        table.add_row(
            figures[name]["label"],
            _spread_text(figures[name]["steps_per_second"], ",.0f"),
            _spread_text(ratio, ".1f") if ratio else "",
            *(f"{time_by_part[part]:.0%}" if part in time_by_part else "" for part in PARTS),
        )
    return table


def _spread_text(spread: Mapping[str, float], form: str) -> Text:
    return Text(f"{spread['median']:{form}} [{spread['low']:{form}}, {spread['high']:{form}}]")
