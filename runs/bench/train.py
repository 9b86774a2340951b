"""`kerf bench train`: how fast the world, our training path and stock RLlib PPO are here, measured in one run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.config import KerfConfig
from agents.settings import NetworkSettings, TrainingSettings
from agents.stock import stock_ppo
from generators.base import GeneratorSettings
from generators.registry import make_generator
from lab.world import World, natural
from lab.worlds import get_world
from runs.bench.timing import (
    REST,
    Contender,
    Stopwatch,
    machine,
    one_quiet_thread,
    refuse_unwritable,
    spread,
    spread_text,
    write_figures,
)
from runs.pool import local_ray

PARTS = SAMPLING, LEARNING, _ = ("sampling", "learning", REST)
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


def train(json_file: Path | None, console: Console, sizes: Sizes = FULL) -> None:
    """Measure, print a table, and write the same numbers to `json_file` if it is given.

    Raises:
        KerfError: if the file could not be written; asked before anything is measured.
    """
    refuse_unwritable(json_file)
    figures = measure(sizes)
    console.print(_table(figures, sizes))
    write_figures(json_file, figures)


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
            figures[name] = {"label": contender.label, "steps_per_second": spread(rates[name]), "time": time_by_part}
    figures["ratio"] = {
        stock: spread([ours / theirs for ours, theirs in zip(rates[KERF], rates[stock], strict=True)])
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
            spread_text(figures[name]["steps_per_second"], ",.0f"),
            spread_text(ratio, ".1f") if ratio else "",
            *(f"{time_by_part[part]:.0%}" if part in time_by_part else "" for part in PARTS),
        )
    return table
