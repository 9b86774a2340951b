"""Command `kerf bench generators`: cost of generating scenarios, as a share of the training iteration that uses them.

Every registered generator trains an agent, interleaved with `natural`, so that other load on the machine affects all
alike. The latent adversary is no generator: training with it is timed against training without it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kerf.agents.algorithm import KerfAlgorithm
from kerf.agents.config import KerfConfig
from kerf.agents.latent_radius import latent_scale
from kerf.agents.network import Weights
from kerf.agents.settings import NetworkSettings, TrainingSettings
from kerf.generators.base import GeneratorSettings
from kerf.generators.registry import known_generators, make_generator
from kerf.lab.grader import ExPost
from kerf.lab.worlds import get_world
from kerf.runs.bench.timing import (
    Stopwatch,
    machine,
    one_quiet_thread,
    refuse_unwritable,
    spread,
    spread_text,
    write_figures,
)
from kerf.runs.execution.local_ray import local_ray
from kerf.runs.recipe.files import load_recipe
from kerf.runs.terminal.columns import ByGroups

NATURAL, LATENT = "natural", "latent, in the policy"
BOUND = 0.2
"""Upper bound on a generator's share of a training iteration."""

WIDER_BOUNDS = {"learned": 0.6, LATENT: 0.6}
"""Bounds for those that train a network, or attack one, at every step."""

RECIPE = "turner"
"""Recipe of the agents."""

CLOCK = time.thread_time
"""Seconds of CPU time of this thread. All work is done in it and nothing waits, so that this equals the elapsed time on
an idle machine."""

BROKEN = 1
"""Exit code if a bound is broken."""


@dataclass(frozen=True)
class Sizes:
    """Sizes and repetitions of the benchmark.

    Attributes:
        batches: Scenarios per iteration; the first is that of the main study.
        imitating: Iterations in which the agent first learns to leave, so that there are failures to find.
        filling: Untimed iterations of each generator, in which it fills its archive.
        repetitions: Timings of each, interleaved.
        iterations: Iterations per timing.
    """

    batches: tuple[int, ...] = (512, 1024)
    imitating: int = 40
    filling: int = 4
    repetitions: int = 9
    iterations: int = 3


FULL = Sizes()
CHECK = Sizes(batches=(512,), imitating=25, filling=2, repetitions=7, iterations=2)
"""About twenty seconds on two cores."""


@dataclass(frozen=True)
class Side:
    """An agent in training, always from the same weights.

    Attributes:
        algorithm: Trains it.
        start: The initial weights.
        iterations: Iterations per timing.
        stopwatch: Times the methods of its scenario source.
    """

    algorithm: KerfAlgorithm
    start: Weights
    iterations: int
    stopwatch: Stopwatch

    def seconds(self) -> tuple[float, float]:
        """Seconds per iteration, in total and of its source, as means over one timing."""
        self.algorithm.load_weights(self.start)
        self.stopwatch.read()
        began = CLOCK()
        for _ in range(self.iterations):
            self.algorithm.train()
        total = CLOCK() - began
        return total / self.iterations, sum(self.stopwatch.read().values()) / self.iterations


def generators(json_file: Path | None, console: Console, check: bool = False, sizes: Sizes | None = None) -> int:
    """Measure, print a table, and write the figures to `json_file` if it is given.

    Args:
        json_file: Where the figures go; None: nowhere.
        console: Where the table goes.
        check: Measure at a small size, and report by the exit code whether a bound is broken.
        sizes: Instead of `FULL` or `CHECK`.

    Returns:
        `BROKEN` if `check` and a bound is broken, else 0.

    Raises:
        KerfError: if the file is not writable (checked before anything is measured); if a plug-in cannot be loaded.
    """
    refuse_unwritable(json_file)
    with console.status("starting") as status:
        figures = measure(sizes or (CHECK if check else FULL), status.update)
    console.print(_table(figures))
    write_figures(json_file, figures)
    broken = [row for row in figures["rows"] if row["broken"]]
    for row in broken:
        console.print(
            f"Above its bound: {row['what']} at {row['num_scenarios']:,} scenarios, "
            f"{row['share']['median']:.0%} of training, expected at most {row['bound']:.0%}.",
            highlight=False,
        )
    return BROKEN if check and broken else 0


def measure(sizes: Sizes, say: Callable[[str], None]) -> dict[str, Any]:
    """All figures as plain JSON values.

    `rows` holds, for every batch size and generator, `what`, `num_scenarios`, `seconds` (of `ask` and `tell` together;
    for `latent`, what it adds to an iteration), `iteration` (seconds of the iteration that `share` refers to), `share`
    (each as `median`, `low` and `high` over the repetitions), `bound`, and `broken`, whether the median share exceeds
    the bound. The other keys are `benchmark`, `sizes` and `machine`.
    """
    facts = machine()
    with one_quiet_thread(), local_ray(1):
        say("an agent that leaves")
        start, scale = _leaver(sizes)
        rows = []
        for num_scenarios in sizes.batches:
            with _sides(sizes, num_scenarios, start, scale) as sides:
                timed = _timed(sides, sizes.repetitions, say)
            rows += [{"num_scenarios": num_scenarios, **row} for row in _rows(timed)]
    return {"benchmark": "generators", "rows": rows, "sizes": asdict(sizes), "machine": facts}


def _leaver(sizes: Sizes) -> tuple[Weights, float]:
    """Weights of an agent that roughly imitates the expert, and the unit of its latent radii."""
    recipe = load_recipe(RECIPE)
    phase = recipe.align.imitation.training.model_copy(update={"num_scenarios": sizes.batches[0]})
    with _trainer(recipe.network, phase, NATURAL) as algorithm:
        for _ in range(sizes.imitating):
            algorithm.train()
        policy = algorithm.policy()
    return policy.weights(), latent_scale(policy, get_world(recipe.world), np.random.default_rng(0))


@contextmanager
def _sides(sizes: Sizes, num_scenarios: int, start: Weights, scale: float) -> Iterator[dict[str, Side]]:
    """An agent in training for each generator, and two for the latent adversary: without it and with it."""
    recipe = load_recipe(RECIPE)
    plain = recipe.training.model_copy(update={"num_scenarios": num_scenarios})
    attacked = plain.model_copy(update={"latent_radius": 1.0})
    with ExitStack() as stack:

        def side(kind: str, training: TrainingSettings) -> Side:
            algorithm = stack.enter_context(_trainer(recipe.network, training, kind, recipe.penalty, scale))
            watch = Stopwatch(CLOCK).watch("ask", algorithm.source, "ask").watch("tell", algorithm.source, "tell")
            made = Side(algorithm, start, sizes.iterations, watch)
            algorithm.load_weights(start)
            for _ in range(sizes.filling):
                algorithm.train()
            return made

        found = {kind: side(kind, plain) for kind in known_generators()}
        # The latent adversary attacks the steps that led to the forbidden event: forgeries alone maximise their number.
        yield found | {_without(LATENT): side("scripted", plain), LATENT: side("scripted", attacked)}


@contextmanager
def _trainer(
    network: NetworkSettings, training: TrainingSettings, kind: str, penalty: float = 0.0, scale: float | None = None
) -> Iterator[KerfAlgorithm]:
    world = get_world("station")
    config = KerfConfig().kerf(
        world=world.name,
        source=make_generator(world, GeneratorSettings(kind=kind)),
        seed=0,
        network=network,
        training=training,
        grader=ExPost(),
        penalty=penalty,
        latent_scale=scale,
    )
    algorithm: KerfAlgorithm = config.debugging(log_level="ERROR", log_sys_usage=False).build_algo()
    try:
        yield algorithm
    finally:
        algorithm.stop()


def _without(name: str) -> str:
    return f"without {name}"


def _timed(
    sides: Mapping[str, Side], repetitions: int, say: Callable[[str], None]
) -> dict[str, list[tuple[float, float]]]:
    """Seconds of an iteration and of its source, for each side and repetition; the first repetition is discarded."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for repetition in range(repetitions + 1):
        for name, side in sides.items():
            say(f"training with {name}")
            seconds = side.seconds()
            if repetition:
                found[name].append(seconds)
    return found


def _rows(timed: Mapping[str, Sequence[tuple[float, float]]]) -> Iterator[dict[str, Any]]:
    """The `rows` of `measure` for one batch size."""
    natural = [whole for whole, _ in timed[NATURAL]]
    without = [whole for whole, _ in timed[_without(LATENT)]]
    for name, seconds in timed.items():
        if name == _without(LATENT):
            continue
        if name == LATENT:
            base, taken = without, [whole - other for (whole, _), other in zip(seconds, without, strict=True)]
        else:
            base, taken = natural, [source for _, source in seconds]
        share = spread([part / whole for part, whole in zip(taken, base, strict=True)])
        bound = WIDER_BOUNDS.get(name, BOUND)
        yield {
            "what": name,
            "seconds": spread(taken),
            "iteration": spread(base),
            "share": share,
            "bound": bound,
            "broken": share["median"] > bound,
        }


def _table(figures: Mapping[str, Any]) -> ByGroups:
    facts, sizes = figures["machine"], figures["sizes"]
    table = Table(box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left")
    table.title = (
        f"Looking for scenarios: {facts['cpu']}, one thread (load {facts['load']:.1f} on {facts['cores']} cores)"
    )
    table.caption = Text(
        f"ask and tell of one batch, within training of recipe {RECIPE}, over an iteration with {NATURAL}; latent: "
        "what radius 1 adds to an iteration with forgeries alone, over one without it. Time that the thread computed; "
        f"medians of {sizes['repetitions']} repetitions in turn [lowest, highest]."
    )
    table.add_column("", no_wrap=True)
    for heading in ("scenarios", "ms", "an iteration, ms", "share of it", "should be <=", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in figures["rows"]:
        table.add_row(
            row["what"],
            f"{row['num_scenarios']:,}",
            spread_text({name: 1e3 * number for name, number in row["seconds"].items()}, ".1f"),
            f"{1e3 * row['iteration']['median']:.1f}",
            spread_text(row["share"], ".1%"),
            f"{row['bound']:.0%}",
            "too slow" if row["broken"] else "",
        )
    return ByGroups(table, keys=2)
