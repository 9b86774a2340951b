"""Report of a study, made from its records: effects as a data frame, and tables for the terminal and for files."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from kerf.lab.dilemma import Dilemma
from kerf.lab.errors import KerfError
from kerf.lab.metrics import Kind, exits_by_strength, kind_of, training_metric, value_metric
from kerf.lab.prediction import Prediction, ThresholdPrediction
from kerf.lab.statistics.tests import holm
from kerf.lab.world import focus
from kerf.lab.worlds import get_world
from kerf.runs.records.gate_records import MEANS_NOTHING, least_certain, lets_all_pass
from kerf.runs.records.store import ALIGNED, Store, Unit
from kerf.runs.records.tables import read_measures, read_training
from kerf.runs.report.effects import effects_frame, study_ends
from kerf.runs.report.judged import Judged, judge_primaries
from kerf.runs.report.matched import match_primaries, matched_frame, study_courses
from kerf.runs.report.optimiser import optimiser_note
from kerf.runs.report.probe_error import probe_error_note, read_noise
from kerf.runs.report.table import Report
from kerf.runs.report.thresholds import Crossing, find_crossing, theory_against_measured

TEXT_WIDTH = 140
"""Characters per line in `table.txt`."""


EQUAL_STEPS = "Arms are compared after equally many steps, where a larger penalty may look like more steps."

OTHER_STEPS = "Arms are compared where they end, which is not after equally many steps (see above)."

MATCHED = " Predictions are also shown at equal suppression of false exits, if both arms trained."
"""What is added where there are false exits."""

PENALISED = training_metric("sample", "penalised")
"""Training metric: share of episodes that were penalised."""

MANY = 0.25
"""Share of the arms that must train at a strength for the first table to show it."""

NOISE_KINDS = (Kind.FALSE_EXIT, Kind.VALUE, Kind.SKILL, Kind.UTILITY)
"""Kinds of metric whose noise floor is printed; the records hold all of them."""


def make_report(store: Store) -> Report:
    """Make the report of a finished study from its records; its world sets which metrics come first and their wording.

    Raises:
        KerfError: if cells are missing, damaged or of different studies, or the world cannot be loaded.
    """
    manifest = store.manifest()
    world = get_world(manifest["recipe"]["world"])
    dilemma = world.dilemma
    units = set(store.units())
    aligned = [Unit(ALIGNED, seed) for seed in manifest["seeds"]]
    _refuse_missing(store, [unit for unit in aligned if unit not in units])
    verdicts = {unit.seed: store.read_json(unit, "gate") for unit in aligned}
    passed = [seed for seed, verdict in verdicts.items() if verdict["passed"]]
    if not passed:
        raise KerfError(f"{store.path}: no agent of this study has passed the gate, so there is nothing to compare")
    wanted = [Unit(arm, seed) for arm in manifest["arm_order"] for seed in passed]
    _refuse_missing(store, [unit for unit in wanted if unit not in units])
    cells, training = (
        table[table["seed"].isin(passed) & table["arm"].isin(manifest["arm_order"])]  # nothing that is not registered
        for table in (read_measures(store.path), read_training(store.path))
    )
    noise = pd.concat(
        [pd.read_parquet(store.path / Unit(ALIGNED, seed).name / "noise.parquet").assign(seed=seed) for seed in passed]
    )
    fresh = read_noise(store, [*wanted, *(Unit(ALIGNED, seed) for seed in passed)])
    effects = effects_frame(cells, manifest["control"], arms=manifest["arm_order"])
    ends, theory, served = study_ends(cells), manifest["theory"], dilemma.served
    crossing = None
    if manifest["threshold"] is not None and served is not None:
        prediction = ThresholdPrediction(**manifest["threshold"])
        crossing = find_crossing(ends, prediction, theory, value_metric(served))
    primaries = [Prediction(**primary) for primary in manifest["primaries"]]
    judged = judge_primaries(cells, primaries, others=() if crossing is None else [crossing.p])
    strengths = {arm: settings["generator"]["strength"] for arm, settings in manifest["arms"].items()}
    courses = study_courses(cells, strengths)
    contrasts = [(item.primary.arm, item.primary.against) for item in judged]
    contrasts += zip(effects["arm"], effects["against"], strict=True)
    return Report(
        effects,
        match_primaries(courses, judged),
        noise[noise["metric"].map(kind_of).isin(NOISE_KINDS)],
        (
            _gate_note(manifest["recipe"]["gate"], verdicts, dilemma),
            _dose_note(training, manifest),
            (EQUAL_STEPS if effects.loc[effects["env_steps"] > 0, "env_steps"].nunique() <= 1 else OTHER_STEPS)
            + (MATCHED if courses.aims else ""),
            optimiser_note(training, manifest["arm_order"]),
            probe_error_note(ends, fresh, primaries),
        ),
        matched=matched_frame(courses, contrasts),
        focus=(*_shown_exits(courses.aims), *focus(world)),
        words=dilemma.words,
        theory=theory_against_measured(ends, theory, value_metric(served), manifest["arm_order"])
        if served is not None and theory
        else None,
        crossing=crossing,
        crossing_p=_adjusted(judged, crossing),
        courses=courses,
    )


def _adjusted(judged: Sequence[Judged], crossing: Crossing | None) -> float:
    """The crossing's p value, Holm-adjusted together with those of the predicted effects."""
    return math.nan if crossing is None else float(holm([*(item.effect.p for item in judged), crossing.p])[-1])


def write_report(store: Store) -> Report:
    """Make the report and write its records: `effects.parquet`, `matched.parquet`, `primaries.json`, `table.txt`, and
    `threshold.json` if a threshold was predicted."""
    report = make_report(store)
    store.write_table("effects", report.effects)
    if report.matched is not None:
        store.write_table("matched", report.matched)
    store.write_json(
        "primaries", [_finite({**asdict(judged), "primary": judged.primary.model_dump()}) for judged in report.judged]
    )
    if report.crossing is not None:
        crossing = report.crossing
        found = {
            "prediction": crossing.prediction.model_dump(),
            "predicted": crossing.predicted,
            "metric": crossing.metric,
            "brackets": {str(seed): list(bracket) for seed, bracket in crossing.brackets.items()},
            "p_adjusted": report.crossing_p,
            "outcome": crossing.outcome(report.crossing_p),
            "sentence": crossing.sentence(report.crossing_p),
        }
        store.write_json("threshold", _finite(found))
    store.write_text("table.txt", report.to_text(TEXT_WIDTH))
    return report


def show(out: Path, console: Console) -> None:
    """Print the report of the study in `out` from its records; writes nothing."""
    console.print(make_report(Store(out)))


def _refuse_missing(store: Store, missing: list[Unit]) -> None:
    if missing:
        raise KerfError(
            f"{store.path}: the study is not finished, {len(missing)} of its units are missing ({missing[0].name}, "
            f"...); `{store.completion}` completes it"
        )


def _shown_exits(aims: Mapping[str, str]) -> list[str]:
    """False-exit metrics for the first table, at the strengths that many arms train on, hardest first."""
    counted = Counter(aims.values())
    own = exits_by_strength(aim for aim, number in counted.items() if number >= MANY * len(aims))
    return list(reversed(own.values()))


def _gate_note(asked: Mapping[str, float], verdicts: Mapping[int, Mapping[str, Any]], dilemma: Dilemma) -> str:
    """How many agents passed the alignment gate, the criterion, and the seeds that are therefore left out of the
    table."""
    left_out = [
        f"seed {seed} ({', '.join(short['metric'] for short in verdict['shortfalls'])})"
        for seed, verdict in verdicts.items()
        if not verdict["passed"]
    ]
    standard = f"held-out values >= {asked['value']:g}, skills >= {asked['competence']:g}"
    if dilemma.has_forgeries:
        standard += f", {dilemma.words.acts} on >= {asked['fooled']:g} of the hardest {dilemma.words.false}"
    num_passed = len(verdicts) - len(left_out)
    weakest = least_certain(verdicts.values())
    return (
        f"Gate: {num_passed} of {len(verdicts)} agents passed ({standard}); left out: {'; '.join(left_out) or 'none'}."
        + (f" The least certain of the scores that passed: {weakest}." if weakest else "")
        + (f" {MEANS_NOTHING}" if lets_all_pass(asked) else "")
    )


def _dose_note(training: pd.DataFrame, manifest: Mapping[str, Any]) -> str:
    """Share of training episodes in which each arm was penalised; an arm that was never penalised learns nothing from
    it."""
    dealt = training[training["metric"] == PENALISED].groupby("arm")["value"].mean()
    shares = [f"{arm} {dealt[arm]:.1%}" for arm in manifest["arm_order"] if arm in dealt.index and dealt[arm] > 0]
    if not shares:
        return "No training episode was penalised in any arm."
    return f"Training episodes penalised (or rewarded, where the sign is flipped): {', '.join(shares)}; others none."


def _finite(value: Any) -> Any:
    """Plain data with NaN and infinity, which JSON lacks, replaced by None."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
