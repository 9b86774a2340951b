"""Command `kerf bench scale`: growth of costs with the size of a study. No cost should grow faster than linearly."""

from __future__ import annotations

import copy
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from kerf.agents.config import KerfConfig
from kerf.agents.network import PolicyNetwork, TorchPolicy
from kerf.agents.settings import NetworkSettings, TrainingSettings
from kerf.generators.base import GeneratorSettings
from kerf.generators.registry import make_generator
from kerf.lab.battery import Battery
from kerf.lab.world import World, natural
from kerf.lab.worlds import get_world
from kerf.runs.bench.growth import Growth, growth
from kerf.runs.bench.scale_table import ATTEMPTS, BROKEN, growth_table
from kerf.runs.bench.timing import machine, one_quiet_thread, refuse_unwritable, write_figures
from kerf.runs.execution.local_ray import local_ray
from kerf.runs.execution.pool import Pool
from kerf.runs.execution.unit import run_unit
from kerf.runs.recipe.arms import needs
from kerf.runs.recipe.files import load_recipe
from kerf.runs.records.store import ALIGNED, Unit

LEAST_SECONDS = 0.03
"""Runs that take less are repeated within one timing."""


@dataclass(frozen=True)
class Sizes:
    """Sizes and repetitions of the benchmark.

    Attributes:
        scenarios: Scenarios per training iteration.
        arms: Cells of one seed.
        seeds: Seeds, each an aligned agent and one cell.
        values: Number of values in the battery, which takes the first ones.
        family: Scenarios of each family of the battery.
        runners: Env runners that share one batch.
        hidden: Widths of both hidden layers.
        batch: Scenarios per batch in the measurements of env runners and networks.
        repetitions: Minimum number of timings of each, interleaved.
        patience: Seconds available for further timings of each row that is inconclusive because of noise.
    """

    scenarios: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048)
    arms: tuple[int, ...] = (1, 2, 4, 8)
    seeds: tuple[int, ...] = (1, 2, 4, 8)
    values: tuple[int, ...] = (1, 3, 7, 14)
    family: tuple[int, ...] = (16, 32, 64, 128, 256)
    runners: tuple[int, ...] = (1, 2, 4)
    hidden: tuple[int, ...] = (16, 32, 64, 128, 256)
    batch: int = 2048
    repetitions: int = 5
    patience: float = 40.0


FULL = Sizes()
"""Several minutes."""

CHECK = Sizes(
    scenarios=(64, 128, 256, 512),
    family=(16, 32, 64, 128),
    runners=(1, 2),
    hidden=(32, 64, 128, 256),
    batch=512,
    repetitions=3,
    patience=8.0,
)
"""Under a minute on two cores."""


@dataclass(frozen=True)
class Axis:
    """A quantity that can be increased.

    Attributes:
        what: The quantity, and what is timed.
        sizes: Its values, in the unit to which cost should be at most proportional.
        runs: One run per size.
        bound: Upper bound on the exponent.
        fixed: Whether there are fixed costs.
        again: Whether each run is repeated before it is timed, and several times within a timing if it is short.
        clock: Clock in seconds: CPU time of this thread, where all work is done in it and nothing waits, so that other
            processes matter less; else elapsed time.
    """

    what: str
    sizes: Sequence[int]
    runs: Sequence[Callable[[], Any]]
    bound: float = 1.0
    fixed: bool = True
    again: bool = True
    clock: Callable[[], float] = time.thread_time


def scale(json_file: Path | None, console: Console, check: bool = False, sizes: Sizes | None = None) -> int:
    """Measure, print a table, and write the figures to `json_file` if it is given.

    Args:
        json_file: Where the figures go; None: nowhere.
        console: Where the table goes.
        check: Measure at a small size, and report by the exit code whether a bound is broken.
        sizes: Instead of `FULL` or `CHECK`.

    Returns:
        `BROKEN` if `check` and a cost grows faster than its bound, else 0.

    Raises:
        KerfError: if the file is not writable; checked before anything is measured.
    """
    refuse_unwritable(json_file)
    broken = tell(measure(sizes or (CHECK if check else FULL)), json_file, console)
    return BROKEN if check and broken else 0


def tell(figures: Mapping[str, Any], json_file: Path | None, console: Console) -> list[str]:
    """Print the table of `figures` and write them to `json_file` if it is given; returns the rows that grow too
    fast."""
    console.print(growth_table(figures))
    write_figures(json_file, figures)
    broken = [row["what"] for row in figures["rows"] if row["too_fast"]]
    for what in broken:
        console.print(f"grows faster than its bound: {what}", highlight=False)
    return broken


def measure(sizes: Sizes) -> dict[str, Any]:
    """All figures as plain JSON values: `rows` of `what`, `sizes`, `seconds` (a list per repetition), and the fields of
    `kerf.runs.bench.growth.Growth`; `machine`; `sizes`."""
    facts = machine()
    rng = np.random.default_rng(0)
    rows = []
    with one_quiet_thread(), local_ray(1 + sum(sizes.runners)):
        for make in (_scenarios, _hidden, _batteries, _runners, _studies):
            with make(sizes) as axes:
                rows += [measured(axis, sizes, rng) for axis in axes]
    return {"benchmark": "scale", "rows": rows, "sizes": asdict(sizes), "machine": facts}


def measured(axis: Axis, sizes: Sizes, rng: np.random.Generator) -> dict[str, Any]:
    """One of the `rows` of `measure`."""
    for _ in range(ATTEMPTS):
        seconds, grown = _attempt(axis, sizes, rng)
        if not grown.too_fast:
            break
    return {
        "what": axis.what,
        "sizes": list(axis.sizes),
        "clock": "computed" if axis.clock is time.thread_time else "passed",
        "seconds": seconds,
        **asdict(grown),
        "too_fast": grown.too_fast,
        "too_noisy": grown.too_noisy,
    }


def _attempt(axis: Axis, sizes: Sizes, rng: np.random.Generator) -> tuple[list[list[float]], Growth]:
    """Timings, a list per repetition, and their growth."""
    began = time.monotonic()
    times, seconds = _times(axis), list[list[float]]()
    while True:
        # Interleaved, so that other load on the machine affects all alike.
        seconds.append([_seconds(run, often, axis.clock) for run, often in zip(axis.runs, times, strict=True)])
        if len(seconds) < sizes.repetitions:
            continue
        grown = growth(np.array(axis.sizes, float), np.array(seconds), rng, axis.bound, axis.fixed)
        if not grown.too_noisy or time.monotonic() - began > sizes.patience:
            return seconds, grown


def _times(axis: Axis) -> list[int]:
    """Number of runs per timing, for each size; runs each once, to compile and to fill caches."""
    if not axis.again:
        return [1] * len(axis.runs)
    for run in axis.runs:
        run()
    return [max(1, math.ceil(LEAST_SECONDS / _seconds(run, 1, time.perf_counter))) for run in axis.runs]


def _seconds(run: Callable[[], Any], times: int, clock: Callable[[], float]) -> float:
    """Seconds per run, as a mean over `times` runs."""
    began = clock()
    for _ in range(times):
        run()
    return (clock() - began) / times


@contextmanager
def _algorithms(settings: Sequence[tuple[TrainingSettings, NetworkSettings]]) -> Iterator[list[Any]]:
    """An algorithm for each setting, on the natural stream of `station`."""
    world = get_world("station")
    with ExitStack() as stack:
        algorithms = []
        for training, network in settings:
            config = KerfConfig().kerf(
                world=world.name,
                source=make_generator(world, GeneratorSettings(kind="natural")),
                seed=0,
                network=network,
                training=training,
            )
            algorithms.append(config.debugging(log_level="ERROR", log_sys_usage=False).build_algo())
            stack.callback(algorithms[-1].stop)
        yield algorithms


def _training(num_scenarios: int, num_env_runners: int = 0) -> TrainingSettings:
    return TrainingSettings(
        num_scenarios=num_scenarios,
        minibatch_size=1536,  # the whole of the smallest batch
        advantage_scaling="batch",
        num_env_runners=num_env_runners,
    )


@contextmanager
def _scenarios(sizes: Sizes) -> Iterator[list[Axis]]:
    with _algorithms([(_training(number), NetworkSettings()) for number in sizes.scenarios]) as algorithms:
        yield [Axis("scenarios: an iteration", sizes.scenarios, [one.train for one in algorithms])]


@contextmanager
def _hidden(sizes: Sizes) -> Iterator[list[Axis]]:
    networks = [NetworkSettings(hidden=(width, width)) for width in sizes.hidden]
    with _algorithms([(_training(sizes.batch // 2), network) for network in networks]) as algorithms:
        weights = [sum(tensor.size for tensor in one.policy().weights().values()) for one in algorithms]
        yield [Axis("weights: an iteration", weights, [one.train for one in algorithms])]


@contextmanager
def _runners(sizes: Sizes) -> Iterator[list[Axis]]:
    world = get_world("station")
    rng = np.random.default_rng(0)
    scenarios = natural(world, sizes.batch, rng)
    uniforms = rng.random((world.horizon, sizes.batch), np.float32)
    settings = [(_training(sizes.batch, number), NetworkSettings()) for number in sizes.runners]
    with _algorithms(settings) as algorithms:
        plays = [partial(algorithm.play, scenarios, uniforms) for algorithm in algorithms]
        yield [Axis("env runners: one batch", sizes.runners, plays, bound=0.0, fixed=False, clock=time.perf_counter)]


@contextmanager
def _batteries(sizes: Sizes) -> Iterator[list[Axis]]:
    world = get_world("station")
    parts = []
    for number in sizes.values:
        part: Any = copy.copy(world)
        part.values = world.values[:number]
        names = {value.name for value in part.values}
        part.families = tuple(family for family in world.families if family.value in names)
        parts.append((part, sizes.family[-2]))
    yield [
        _probing("probes by values: measuring", parts),
        _probing("probes by family: measuring", [(world, number) for number in sizes.family]),
    ]


def _probing(what: str, probed: Sequence[tuple[World, int]]) -> Axis:
    """Evaluation of a network on batteries of these worlds, with the given scenarios per family; by the total of probe
    scenarios."""
    world = probed[0][0]
    shape = len(world.observations), len(world.actions)
    policy = TorchPolicy(PolicyNetwork(*shape, NetworkSettings(), torch.Generator().manual_seed(0)))
    batteries = [Battery(world, number, seed=1, strengths=(1.0,)) for world, number in probed]
    return Axis(what, [len(each) for each in batteries], [partial(each.measure, policy) for each in batteries])


@contextmanager
def _studies(sizes: Sizes) -> Iterator[list[Axis]]:
    """Tiny studies on one worker of one pool, after a warm-up study that pays for imports and compilation."""
    most = max(sizes.arms)
    further = {f"penalised-{i}": {"kind": "penalised", "penalty": i} for i in range(1, most)}
    once = dict.fromkeys(("align.imitation.iterations", "align.ppo.iterations", "iterations", "measure_every"), 1)
    recipe = load_recipe("smoke", fields={"arms": {"frozen": None} | further} | once)
    settings, seeds = recipe.resolve(), count()
    with tempfile.TemporaryDirectory() as folder:
        pool: Pool[Unit] = Pool(recipe, Path(folder), 1, run_unit)

        def study(num_arms: int, num_seeds: int) -> None:
            drawn = [next(seeds) for _ in range(num_seeds)]
            units = [Unit(ALIGNED, seed) for seed in drawn]
            units += [Unit(arm, seed) for seed in drawn for arm in list(settings)[:num_arms]]
            failures = pool.run(units, lambda unit: needs(settings, unit), lambda progress: None, lambda unit: [])
            if failures:
                raise RuntimeError(f"{failures[0].unit.name}: {failures[0].why}\n{failures[0].traceback}")

        study(most, 1)
        yield [
            Axis(
                "arms: one seed",
                sizes.arms,
                [partial(study, n, 1) for n in sizes.arms],
                again=False,
                clock=time.perf_counter,
            ),
            Axis(
                "seeds: one arm",
                sizes.seeds,
                [partial(study, 1, n) for n in sizes.seeds],
                again=False,
                clock=time.perf_counter,
            ),
        ]
