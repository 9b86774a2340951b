"""Optimiser note of the report: how often gradients were clipped, and how far each part of the gradient moved
the weights."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from kerf.lab.metrics import training_metric

CLIPPED = training_metric("learn", "grad_clip_share")
STEPS = tuple(training_metric("learn", f"step_{part}") for part in ("penalty", "utility", "critic"))


def optimiser_note(training: pd.DataFrame, arms: Sequence[str]) -> str:
    """One line on all arms that report optimiser metrics; empty if none does, as with exact gradients.

    Args:
        training: From `kerf.runs.records.tables.read_training`.
        arms: Arms, in the order of the line.
    """
    means = training[training["metric"].isin([CLIPPED, *STEPS])].groupby(["arm", "metric"])["value"].mean()
    wide = means.unstack("metric").reindex(columns=[CLIPPED, *STEPS])
    found = dict(zip(wide.index, wide.to_numpy().tolist(), strict=True))
    parts = []
    for arm in arms:
        if arm in found:
            clipped, *steps = found[arm]
            parts.append(f"{arm} {clipped:.0%} ({', '.join(f'{step:.3f}' for step in steps)})")
    if not parts:
        return ""
    return (
        "Minibatches whose gradient was clipped, and mean effective steps of the penalty, the utility and the critic: "
        f"{'; '.join(parts)}."
    )
