"""Parameters and metrics of the MLflow runs of a study, read from the records.

Every run has the parameters `PARAMETERS`, so that the runs of many studies can be grouped by them. A run has at most
`MOST` metrics, those that one compares; families, held-out scores and ways are in the attached tables. Names are the
same in every study, and the step of a metric is the iteration of training. The aligned agents' steps end at 0, where
those of the arms begin:

- a cell has the curves of its agent: `false_exit/trained` and `collateral/trained` (in false emergencies of the
  strength that its arm trains on; the hardest where that was not measured), `competence`, `utility/ideal`, each
  `value/<value>`, `env_steps`, and training numbers as `train/<metric>`;
- an arm has the means of these curves over its seeds, and its effects at the end, `effect/<metric>/mean`, `.../low` and
  `.../high`, with the interval over seeds, at step 0, so that MLflow draws them as bars; the aligned agents have their
  absolute scores, `score/<metric>/...`;
- a study has `prediction/<name>/mean`, `.../low` and `.../high`, the effect of each arm on the metric of the first
  prediction, `effect/<metric>/<arm>`, and beside these `MOST` what its analyses found (`kerf.runs.tracking.analyses`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kerf.lab.errors import KerfError
from kerf.lab.metrics import (
    COMPETENCE,
    TRAINED_COLLATERAL,
    TRAINED_EXIT,
    UTILITY,
    Kind,
    collateral_metric,
    exits_by_strength,
    of_kind,
    training_metric,
)

if TYPE_CHECKING:
    import pandas as pd

PARAMETERS = (
    *("recipe", "recipe_hash", "battery_hash", "revision"),
    *("phase", "arm", "kind", "seed"),
    *("generator", "strength", "adversarial_share", "grader", "penalty"),
)
"""`phase` is `study`, `arm` (all seeds of an arm) or `cell` (one agent); `kind` is the arm's, `aligned` for aligned
agents; `generator` is its kind, `strength` the generator's; `penalty` is signed, negative if the arm rewards acts that
would otherwise be penalised; `revision` is that of the code."""

ABSENT = "-"
"""The value of a parameter that does not apply to a run."""

ENDS = ("mean", "low", "high")
"""The values given for an effect: mean and interval."""

MOST = 40
"""Maximum number of metrics of a run."""

CURVES = 24
"""Maximum number of curves; the first in the order of the module's description are taken, values by name."""

AIM, COLLATERAL_AIM = TRAINED_EXIT, TRAINED_COLLATERAL
"""False exits and collateral at the strength that an arm trains on."""

TRAINING = (
    *(training_metric("sample", figure) for figure in ("penalised", "elicited", "return_utility")),
    *(training_metric("learn", figure) for figure in ("entropy", "kl", "loss", "value_loss")),
)
"""Training metrics that are curves; the others are in the records."""

_METRIC = re.compile(r"[a-z0-9_@][a-z0-9_./@-]*")


class Number(NamedTuple):
    """A metric: a finite number with a name and a step (iteration)."""

    name: str
    value: float
    step: int


def parameters(
    manifest: Mapping[str, Any], phase: str, arm: str | None = None, seed: int | None = None
) -> dict[str, str]:
    """Return the values of `PARAMETERS`; `ABSENT` if one does not apply or the arm's settings lack it."""
    settings = manifest["arms"].get(arm, {})
    generator = settings.get("generator") or {}
    penalty = settings.get("penalty")
    known = {
        "recipe": manifest["name"],
        "recipe_hash": manifest["recipe_hash"],
        "battery_hash": manifest["battery_hash"],
        "revision": manifest.get("revision"),
        "phase": phase,
        "arm": arm,
        "kind": settings.get("kind") if settings else arm,
        "seed": seed,
        "generator": generator.get("kind"),
        "strength": generator.get("strength"),
        "adversarial_share": settings.get("adversarial_share"),
        "grader": settings.get("grader"),
        "penalty": penalty * settings.get("penalty_sign", 1) if penalty else penalty,
    }
    return {name: ABSENT if known[name] is None else str(known[name]) for name in PARAMETERS}


def trained_strength(manifest: Mapping[str, Any], arm: str) -> float | None:
    """Return the strength of the false emergencies that `arm` trains on; None for the aligned agents."""
    generator = manifest["arms"].get(arm, {}).get("generator") or {}
    strength: float | None = generator.get("strength")
    return strength


def curves(folders: Sequence[Path], strength: float | None, before: bool = False) -> list[Number]:
    """Read the curves of finished units: means over the units at each iteration; what is not finite is left out.

    Args:
        folders: The folders of the units.
        strength: That of `trained_strength`.
        before: Whether the units are the alignment: their last step is 0, and the others are negative.

    Raises:
        KerfError: if a name has characters other than a-z 0-9 _ . / @ -.
    """
    from kerf.runs.records.schema import read_tables

    measures, training = (
        read_tables(name, [path for folder in folders if (path := folder / f"{name}.parquet").exists()])
        for name in ("measures", "training")
    )
    wide = _wide(measures, strength)
    values = of_kind(sorted(measures["metric"].unique()), Kind.VALUE)
    wanted = [name for name in (AIM, COMPETENCE, UTILITY, *values, COLLATERAL_AIM, "env_steps") if name in wide.columns]
    means = [(name, wide[name].groupby(level="iteration").mean()) for name in wanted]
    for name in TRAINING:
        curve = training[training["metric"] == name].groupby("iteration")["value"].mean()
        if len(curve):
            means.append((f"train/{name}", curve))
    last = max((int(mean.index.max()) for _, mean in means), default=0) if before else 0
    return [
        Number(name, float(value), int(step) - last)
        for name, mean in means[:CURVES]
        for step, value in zip(mean.index.to_numpy(), mean.to_numpy(), strict=True)
        if math.isfinite(value)
    ]


def _wide(measures: pd.DataFrame, strength: float | None) -> pd.DataFrame:
    """A row for each seed and iteration, a column for each metric, with competence and those of the aim."""
    _refuse_wrong(measures["metric"].unique())
    wide = measures.pivot(index=["seed", "iteration"], columns="metric", values="score").sort_index()
    recorded = list(wide.columns)
    if skills := of_kind(recorded, Kind.SKILL):
        wide[COMPETENCE] = wide[skills].min(axis=1, skipna=False)
    for name, metric in aims(recorded, strength).items():
        wide[name] = wide[metric]
    wide["env_steps"] = measures.groupby(["seed", "iteration"])["env_steps"].max()
    return wide


def aims(metrics: Iterable[str], strength: float | None) -> dict[str, str]:
    """Return the metrics in the records that `AIM` and `COLLATERAL_AIM` stand for, where there are any."""
    there = list(metrics)
    exits = exits_by_strength(there)
    if not exits:
        return {}
    at = strength if strength in exits else max(exits)
    found = {AIM: exits[at], COLLATERAL_AIM: collateral_metric(at)}
    return {name: metric for name, metric in found.items() if metric in there}


def effect_number(metric: str, end: str) -> str:
    """Return the name of the `mean`, `low` or `high` of an effect on `metric`."""
    return f"effect/{metric}/{end}"


def score_number(metric: str, end: str) -> str:
    """Return the name of the `mean`, `low` or `high` of an absolute score."""
    return f"score/{metric}/{end}"


def effects(path: Path, manifest: Mapping[str, Any], room: int = MOST - CURVES) -> dict[str, dict[str, float]]:
    """Read the effects by arm from `effects.parquet`, for the metrics of the predictions, then `AIM` and others.

    Args:
        path: A table with the columns `arm`, `against`, `metric`, `mean`, `low`, `high`.
        manifest: The study's.
        room: Maximum number of names.
    """
    import pyarrow.parquet as pq

    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for row in pq.read_table(path).to_pylist():
        rows.setdefault(row["arm"], {})[row["metric"]] = row
    predicted = [prediction["metric"] for prediction in manifest.get("primaries", ())]
    found = {}
    for arm, by_metric in sorted(rows.items()):
        shown = dict.fromkeys(predicted) | dict.fromkeys((AIM, COMPETENCE, UTILITY, COLLATERAL_AIM))
        meant = aims(by_metric, trained_strength(manifest, arm))
        numbers: dict[str, float] = {}
        for name in list(shown)[: room // len(ENDS)]:
            row = by_metric.get(meant.get(name, name))
            for end in ENDS:
                if row is not None and row[end] is not None and math.isfinite(row[end]):
                    numbers[(effect_number if row["against"] else score_number)(name, end)] = row[end]
        found[arm] = numbers
    return found


def headline(root: Path, manifest: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, str]]:
    """Read the headline of a finished study: its metrics, and the outcome of each prediction by its name."""
    import pyarrow.parquet as pq

    numbers = {"seeds": float(len(manifest["seeds"])), "arms": float(len(manifest["arms"]))}
    outcomes: dict[str, str] = {}
    judged = json.loads((root / "primaries.json").read_bytes()) if (root / "primaries.json").exists() else []
    for item in judged:
        name, interval = item["primary"]["name"], item["effect"]["interval"]
        outcomes[name] = item["verdict"]["outcome"]
        numbers |= {f"prediction/{name}/{end}": interval[end] for end in ENDS if interval[end] is not None}
    if (root / "threshold.json").exists():
        threshold = json.loads((root / "threshold.json").read_bytes())
        outcomes[threshold["prediction"]["name"]] = threshold["outcome"]
    if judged and (root / "effects.parquet").exists():
        focus = judged[0]["primary"]["metric"]
        for row in pq.read_table(root / "effects.parquet").to_pylist():
            if row["metric"] == focus and row["against"] and row["mean"] is not None:
                numbers[f"effect/{focus}/{row['arm']}"] = row["mean"]
    finite = [(name, value) for name, value in numbers.items() if math.isfinite(value)]
    return dict(finite[:MOST]), outcomes


def _refuse_wrong(names: Iterable[str]) -> None:
    for name in names:
        if not _METRIC.fullmatch(name):
            raise KerfError(f"names of metrics use a-z 0-9 _ . / @ -, got {name!r}")
