"""Results of attacks on a study: their records as a data frame, and their effects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from kerf.lab.errors import KerfError
from kerf.lab.metrics import Kind, attack_metric, kind_of
from kerf.runs.recipe.attack_plan import RECORD
from kerf.runs.records.atomic_io import as_disk_error
from kerf.runs.records.store import ALIGNED, Store
from kerf.runs.records.tables import read_measures
from kerf.runs.report.effects import effects_frame, study_ends

SIZE = ("budget", "batch", "objective", "draw")
"""Fields that must be equal for attacks to be comparable."""

COLUMNS = (
    "arm",
    "seed",
    "generator",
    "settings",
    "forges",
    "strength",
    "budget",
    "batch",
    "objective",
    "draw",
    "success",
    "scenarios_to_first",
    "scenarios_to_half",
    "diversity",
    "diversity_of_successes",
    "distinct_successes",
    "mean_score",
    "proposed",
    "refused",
)
"""Columns of `attacks.parquet`, which has a row per attack.

`generator` is the attack's label; `settings` is the generator's settings as JSON, without the strength; `forges` says
whether it makes false emergencies at all. `scenarios_to_first` is missing without a success,
`scenarios_to_half` without a batch with successes in half of its episodes.
"""


@dataclass(frozen=True)
class AttackRecord:
    """The record of one attack, as read from its file."""

    record: dict[str, Any]

    @property
    def row(self) -> dict[str, Any]:
        """Its row, by `COLUMNS`."""
        record = self.record
        own = {
            "generator": record["label"],
            "settings": settings_text(record["generator"]),
            "strength": float(record["generator"]["strength"]),
            "refused": sum(record.get("refused", {}).values()),
            "proposed": record.get("proposed", 0),
        }
        return {name: own[name] if name in own else record[name] for name in COLUMNS}


def settings_text(generator: Mapping[str, Any]) -> str:
    """Settings of a generator without its strength: equal generators give equal text."""
    return json.dumps({name: value for name, value in generator.items() if name != "strength"}, sort_keys=True)


def read_attacks(store: Store) -> pd.DataFrame:
    """Read all finished attacks on agents of a study: a row each, sorted; columns `COLUMNS`.

    Raises:
        KerfError: if a record differs from what was published.
    """
    rows = []
    for folder in store.attacks():
        unit = _AttackFolder(folder.relative_to(store.path).as_posix())
        store.finished(unit, verify=True)
        with as_disk_error(folder):
            rows.append(AttackRecord(json.loads((folder / f"{RECORD}.json").read_bytes())).row)
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    costs = {name: frame[name].astype("float64") for name in ("scenarios_to_first", "scenarios_to_half")}
    return frame.assign(**costs).sort_values([*SIZE, "generator", "strength", "arm", "seed"], ignore_index=True)


@dataclass(frozen=True)
class _AttackFolder:
    name: str


def attack_effects(store: Store, attacks: pd.DataFrame, arms: list[str], control: str | None) -> pd.DataFrame:
    """Compute effects on the success of attacks, as `kerf.runs.report.effects.effects_frame` does for other metrics.

    They are paired by seed, the control's change is subtracted, and seeds that lost the skill are not measurable.

    Args:
        store: Store of the study.
        attacks: Attacks of one `SIZE`, on the aligned agents and all of `arms`, in the same seeds.
        arms: The arms to show.
        control: The arm whose change is subtracted; None: each arm's own change.

    Raises:
        KerfError: if cells are missing or damaged.
    """
    measures = read_measures(store.path)
    seeds = set(attacks["seed"])
    skills = measures[
        (measures["metric"].map(kind_of) == Kind.SKILL) & measures["arm"].isin(arms) & measures["seed"].isin(seeds)
    ]
    if skills.empty:
        raise KerfError(
            f"{store.path}: no skill was measured, so an incompetent agent could not be told from a robust one"
        )
    ends = study_ends(skills)
    last = skills.groupby(["arm", "seed"])["iteration"].max()
    frame = attacks.assign(
        metric=[attack_metric(*pair) for pair in zip(attacks["generator"], attacks["strength"], strict=True)],
        score=attacks["success"],
    )
    aligned = frame[frame["arm"] == ALIGNED]
    rows = [skills[["arm", "seed", "iteration", "env_steps", "metric", "score"]]]
    for arm in arms:
        after = frame[frame["arm"] == arm]
        for part, iteration, steps in (
            (aligned.assign(arm=arm), 0, 0),
            (after, last[arm].iloc[0], ends.env_steps[arm]),
        ):
            rows.append(
                part.assign(iteration=iteration, env_steps=steps)[
                    ["arm", "seed", "iteration", "env_steps", "metric", "score"]
                ]
            )
    effects = effects_frame(pd.concat(rows, ignore_index=True), control, arms=arms)
    return effects[effects["metric"].map(kind_of) == Kind.ATTACK].reset_index(drop=True)
