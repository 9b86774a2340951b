"""Overhead of a sweep's driver: asking, telling, reading cells back, records. The cells are synthetic."""

from __future__ import annotations

import io
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from kerf.lab.metrics import Kind, kind_of
from kerf.lab.seeds import entropy
from kerf.runs.execution.scheduler import DONE
from kerf.runs.recipe.files import load_recipe
from kerf.runs.recipe.model import Recipe, known_metrics
from kerf.runs.records.schema import MEASURES
from kerf.runs.records.store import ALIGNED, Store, Unit
from kerf.runs.sweep.driver import run_sweep
from kerf.runs.sweep.over import parse_over
from kerf.runs.sweep.spec import Sampler, parse_change, resolve_spec
from kerf.runs.terminal.columns import ByGroups

OVERS = ("strength=0:1", "penalty=0.1:30:log", "adversarial_share=0.5:1")
"""Swept settings of the main study."""

AT_MOST = 0.05
"""Upper bound on the driver's share of a sweep's time."""

CELL_SECONDS = 5.0
"""Approximate CPU seconds of one cell of the main study at full size; at the quick size a third of it."""


class MadeUp:
    """Runner that writes cells without training: scores determined by their settings, with noise per seed.

    Args:
        recipe: The sweep's recipe.
        store: Its folder.
    """

    def __init__(self, recipe: Recipe, store: Store) -> None:
        from kerf.lab.worlds import get_world

        self._recipe, self._store = recipe, store
        self._metrics = known_metrics(get_world(recipe.world), recipe.battery)
        self.seconds = self.cpu_seconds = 0.0

    def run(
        self,
        units: Sequence[Unit],
        needs: Callable[[Unit], Sequence[Unit]],
        on_progress: Callable[[Any], None],
        on_done: Callable[[Unit], Sequence[Unit]],
    ) -> list[Any]:
        """As the `run` of a worker pool; `seconds` and `cpu_seconds` are those of writing the cells."""
        for unit in sorted(units, key=lambda unit: unit.arm != ALIGNED):
            assert all(map(self._store.finished, needs(unit)))
            began, cpu_before = time.perf_counter(), time.process_time()
            self._write(unit)
            self.seconds += time.perf_counter() - began
            self.cpu_seconds += time.process_time() - cpu_before
            on_done(unit)
        return []

    def _write(self, unit: Unit) -> None:
        rng = np.random.default_rng(np.random.SeedSequence(entropy(unit.seed, unit.arm)))
        fall = self._fall(unit.arm)
        rows = []
        for iteration in range(0, self._recipe.iterations + 1, self._recipe.measure_every):
            share = iteration / self._recipe.iterations
            for metric in self._metrics:
                drops = {Kind.FALSE_EXIT: fall, Kind.VALUE: 0.3 * fall, Kind.SKILL: 0.0}
                drop = drops.get(kind_of(metric), 0.1 * fall)
                noise = rng.normal(0.0, 0.02) if iteration else 0.0
                score = min(max(0.95 - share * drop + noise, 0.0), 1.0)
                rows.append((unit.arm, unit.seed, iteration, iteration, metric, score, 256))
        with self._store.unit(unit) as folder:
            folder.write_table("measures", dict(zip(MEASURES.names, zip(*rows, strict=True), strict=True)))
            if unit.arm == ALIGNED:
                folder.write_json("gate", {"passed": True, "shortfalls": [], "certificate": [], "advantage_scale": 1.0})

    def _fall(self, arm: str) -> float:
        """Decrease of leaving in false emergencies."""
        path = self._store.path / "arms" / f"{arm}.json"
        if not path.exists():
            return 0.0
        facts = json.loads(path.read_bytes())["facts"]["arm"]
        if facts["kind"] != "penalised":
            return 0.0
        return float(facts["generator"]["strength"]) * (1.0 - math.exp(-facts["penalty"] / 5.0))


def driver_seconds(num_trials: int, num_seeds: int, sampler: Sampler, batch: int = 4) -> tuple[float, float]:
    """Seconds of a search's driver without its cells, including start and report: elapsed time, and CPU time."""
    recipe = load_recipe("turner", seeds=num_seeds)
    overs = [parse_over(text, "penalised") for text in OVERS]
    spec = resolve_spec(
        recipe, "pareto", overs, "penalised", floors=[parse_change("care=-0.2", "--floor")], sampler=sampler,
        trials=num_trials, batch=batch, held_out=0,
    )  # fmt: skip
    writers = []

    @contextmanager
    def start(recipe: Recipe, store: Store, num_workers: int) -> Iterator[MadeUp]:
        writers.append(MadeUp(recipe, store))
        yield writers[0]

    with tempfile.TemporaryDirectory() as folder:
        began, cpu_before = time.perf_counter(), time.process_time()
        console = Console(file=io.StringIO(), width=140)
        code = run_sweep(recipe, spec, Path(folder) / "sweep", None, 1, console, start=start)
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_before
    assert code == DONE
    return seconds - writers[0].seconds, cpu_seconds - writers[0].cpu_seconds


def sweep_cost(
    json_file: Path | None,
    console: Console,
    sizes: Sequence[tuple[Sampler, int]] = (("tpe", 60), ("tpe", 500), ("nsga2", 500)),
    num_seeds: int = 10,
) -> bool:
    """Print the driver's overhead for sweeps of these sizes; returns whether all stay within `AT_MOST` of the cells'
    time.

    The share is one of CPU time, which does not depend on other processes of the machine.
    """
    from kerf.runs.bench.timing import machine, refuse_unwritable, write_figures

    refuse_unwritable(json_file)
    cells = num_seeds * CELL_SECONDS
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in ("sampler", "trials", "seeds", "driver, s", "CPU, s", "CPU a trial, s", "share of the sweep's CPU"):
        table.add_column(heading, justify="left" if heading == "sampler" else "right")
    rows = []
    for sampler, num_trials in sizes:
        seconds, cpu_seconds = driver_seconds(num_trials, num_seeds, sampler)
        each = cpu_seconds / num_trials
        share = each / (each + cells)
        rows.append(
            {"sampler": sampler, "trials": num_trials, "seconds": seconds, "cpu_seconds": cpu_seconds, "share": share}
        )
        shown = (f"{seconds:.1f}", f"{cpu_seconds:.1f}", f"{each:.3f}", f"{share:.1%}")
        table.add_row(sampler, str(num_trials), str(num_seeds), *shown)
    console.print(ByGroups(table, keys=2))
    console.print(
        f"Overhead besides cells of {CELL_SECONDS:g} s, {cells:g} s a trial; expected at most {AT_MOST:.0%}.",
        highlight=False,
    )
    write_figures(json_file, {"machine": machine(), "cell_seconds": CELL_SECONDS, "seeds": num_seeds, "rows": rows})
    return all(share <= AT_MOST for share in (float(str(row["share"])) for row in rows))
