"""Table of the growth of costs, with the verdict on each row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from kerf.runs.bench.growth import FALSE_ALARMS, LEVEL, MISFIT
from kerf.runs.terminal.columns import ByGroups

ATTEMPTS = 3
"""Number of independent measurements in which a row must grow too fast to be reported: other load on the machine comes
in bursts that last longer than a repetition."""

BROKEN = 1
"""Exit code if a cost grows faster than its bound."""


def growth_table(figures: Mapping[str, Any]) -> ByGroups:
    facts = figures["machine"]
    table = Table(
        box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False, title_justify="left", caption_justify="left"
    )
    table.title = f"How cost grows: {facts['cpu']}, one thread (load {facts['load']:.1f} on {facts['cores']} cores)"
    table.caption = Text(
        "seconds = fixed + slope x size^exponent (env runners: no fixed), by least squares of relative errors over "
        "medians of interleaved timings, each repetition divided by its mean. CPU seconds of this thread; in the last "
        f"three rows wall-clock seconds. [{LEVEL:.0%} interval from the noise of the timings.] The bound's tolerance: "
        f"{FALSE_ALARMS:.1%} false alarms under that noise for a cost at its bound, plus {MISFIT:g} for caches; a row "
        f"fails only if {ATTEMPTS} sets of timings in a row exceed it."
    )
    table.add_column("what grows: what is timed", no_wrap=True)
    for heading in ("sizes", "timings", "seconds", "fixed", "noise", "exponent", "bound", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in figures["rows"]:
        typical = np.median(row["seconds"], axis=0)
        table.add_row(
            row["what"],
            f"{len(row['sizes'])}: {row['sizes'][0]:,} to {row['sizes'][-1]:,}",
            str(len(row["seconds"])),
            f"{typical[0]:.3f} to {typical[-1]:.3f}",
            f"{row['fixed']:.3f}",
            f"{row['noise']:.1%}",
            f"{row['exponent']:.2f} [{row['low']:.2f}, {row['high']:.2f}]",
            f"{row['bound']:g} + {row['tolerance']:.2f}",
            verdict_on(row),
        )
    return ByGroups(table)


def verdict_on(row: Mapping[str, Any]) -> str:
    if row["too_noisy"]:
        return "too noisy"
    return "too fast" if row["too_fast"] else "ok"
