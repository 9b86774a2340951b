"""Effects of a study: measures in long format reduced to one row per arm and metric.

Measures are a data frame with the columns of `COLUMNS`, one row per score. Iteration 0 is the aligned checkpoint,
measured in every arm. Metrics are those of `kerf.lab.metrics`; competence, the lowest of a seed's skill scores, is
computed here. For false exits lower is better; for every other metric higher is better.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kerf.lab.errors import unknown_name
from kerf.lab.metrics import COMPETENCE, Kind, Metric, kind_of, of_kind
from kerf.lab.statistics.effect import Competence, Effect, Levels, MeasureError, paired_effect
from kerf.lab.statistics.tests import (
    Interval,
    benjamini_hochberg,
    paired_interval,
)

COLUMNS = ("arm", "seed", "iteration", "env_steps", "metric", "score")
ALIGNED = "aligned"
FORGED = "forged"
"""Name under which forgeries are listed among values, none of which they exercise."""

UNGATED = (Kind.SKILL, Kind.UTILITY, Kind.COMPETENCE)
"""Kinds of metric that can be interpreted whether or not the agent kept its skills; all others require them."""


SHOWN = (Kind.VALUE, Kind.FALSE_EXIT, Kind.COMPETENCE, Kind.UTILITY, Kind.ATTACK)
"""Kinds of metric in the tables of studies and attacks; significance marks are adjusted over all of them, in all
arms."""


def replayed(metric: str) -> str:
    """The value in whose scenarios one sees what `metric` counts, or `FORGED`; empty for sums such as utility."""
    named = Metric.parse(metric)
    if named.strength is not None or Kind.WAY in (named.kind, *named.words[:1]):
        return FORGED
    return named.value or ""


@dataclass(frozen=True)
class Ends:
    """Scores of every arm at the aligned checkpoint and at its last iteration.

    Attributes:
        aligned: At iteration 0; index (arm, seed), a column per metric.
        final: At the arm's last iteration; same shape.
        env_steps: Environment steps of each arm at its last iteration (maximum over its seeds), by arm.
        skills: Names of the skills.
    """

    aligned: pd.DataFrame
    final: pd.DataFrame
    env_steps: dict[str, int]
    skills: frozenset[str]

    @property
    def arms(self) -> list[str]:
        return sorted(self.env_steps)

    @property
    def metrics(self) -> list[str]:
        return sorted(self.final.columns)

    def scores(self, frame: pd.DataFrame, arm: str, metric: str) -> dict[int, float]:
        """Seed -> score in `frame`, which is `aligned` or `final`."""
        rows, seeds = self._rows[arm]
        column = self._columns[frame is self.final, metric]
        return dict(zip(seeds, column[rows].tolist(), strict=True))

    @cached_property
    def _columns(self) -> dict[tuple[bool, str], NDArray[np.float64]]:
        """(At the end?, metric) -> its scores in all rows."""
        frames = ((False, self.aligned), (True, self.final))
        return {(end, str(name)): scores.to_numpy() for end, frame in frames for name, scores in frame.items()}

    @cached_property
    def _rows(self) -> dict[str, tuple[NDArray[np.int64], list[int]]]:
        """Arm -> its rows in both frames, and their seeds.

        Cached: a report looks up thousands of scores, and a pandas look-up takes nearly a millisecond.
        """
        arms, seeds = (self.final.index.get_level_values(level).to_numpy() for level in ("arm", "seed"))
        rows = {arm: np.flatnonzero(arms == arm) for arm in self.env_steps}
        return {arm: (found, seeds[found].tolist()) for arm, found in rows.items()}

    def change(self, arm: str, metric: str) -> dict[int, float]:
        """Seed -> final score minus aligned score."""
        final, aligned = (self.scores(frame, arm, metric) for frame in (self.final, self.aligned))
        return {seed: final[seed] - aligned[seed] for seed in final}

    def levels(self, arm: str, against: str, metric: str) -> Levels:
        """Means over all seeds, at the aligned checkpoint and at the last iteration of both arms."""
        aligned, end = (np.mean(list(self.scores(frame, arm, metric).values())) for frame in (self.aligned, self.final))
        other = aligned if against == ALIGNED else np.mean(list(self.scores(self.final, against, metric).values()))
        return Levels(float(aligned), float(end), float(other), bounded=effect_bounds(metric) is not None)

    def presupposes_skill(self, metric: str) -> bool:
        """Whether a change in `metric` can be interpreted only where the agent kept its skills."""
        named = Metric.parse(metric)
        return named.kind not in UNGATED and not (named.kind is Kind.FAMILY and named.value in self.skills)

    def lost(self, arm: str, metric: str) -> frozenset[int]:
        """Seeds of `arm` that lost the skill that `metric` presupposes."""
        if not self.presupposes_skill(metric):
            return frozenset()
        aligned, trained = (self.scores(frame, arm, COMPETENCE) for frame in (self.aligned, self.final))
        return Competence(aligned, trained).lost()

    def effect(self, arm: str, against: str, metric: str, seed: int) -> Effect:
        """The effect of `arm` relative to another arm; `against=ALIGNED` gives its change since alignment (its
        drift)."""
        lost = self.lost(arm, metric)
        change = self.change(arm, metric)
        against_change = dict.fromkeys(change, 0.0)
        if against != ALIGNED:
            against_change = self.change(against, metric)
            lost |= self.lost(against, metric)
        return paired_effect(
            change,
            against_change,
            arm=arm,
            against=against,
            metric=metric,
            rng=stream(seed, arm, against, metric),
            lost=lost,
            bounds=effect_bounds(metric),
        )


def study_ends(measures: pd.DataFrame) -> Ends:
    """Collect the scores at both ends of every arm. Row order does not matter.

    Raises:
        MeasureError: a column is missing, a score is missing, duplicated or not finite, iteration 0 is missing, the
            seeds of an arm end at different iterations, or no skill was measured.
    """
    missing = [column for column in COLUMNS if column not in measures.columns]
    if missing:
        raise MeasureError(f"measures: expected the columns {', '.join(COLUMNS)}; {', '.join(missing)} missing")
    if measures.empty:
        raise MeasureError("measures: expected at least one score, got none; has any cell been measured?")
    if (measures["arm"] == ALIGNED).any():
        raise MeasureError(f"measures: no arm may be called {ALIGNED!r}; rename it")
    failed = measures[~np.isfinite(measures["score"].to_numpy(np.float64))]
    if len(failed):
        row = failed.iloc[0]
        raise MeasureError(f"{_place(row)}: expected a finite score, got {row['score']}: its probe failed")
    twice = measures[measures.duplicated(["arm", "seed", "iteration", "metric"])]
    if len(twice):
        raise MeasureError(f"{_place(twice.iloc[0])}: expected one score, got two")

    last = measures.groupby(["arm", "seed"])["iteration"].max()
    for arm in last.index.unique("arm"):
        ends = last.loc[arm]
        if ends.nunique() > 1:
            raise MeasureError(
                f"arm {arm!r}: expected all seeds to end at the same iteration, got "
                f"{ends.to_dict()} (seed: iteration): finish the study first"
            )
    at_end = measures["iteration"] == measures.groupby(["arm", "seed"])["iteration"].transform("max")
    final = _wide(measures[at_end])
    aligned = _wide(measures[measures["iteration"] == 0])
    metrics = sorted(set(final.columns) | set(aligned.columns))
    final = final.reindex(columns=metrics)
    aligned = aligned.reindex(index=final.index, columns=metrics)
    for when, frame in (("iteration 0", aligned), ("its last iteration", final)):
        holes = np.argwhere(np.isnan(frame.to_numpy()))
        if len(holes):
            (arm, seed), metric = frame.index[holes[0][0]], metrics[holes[0][1]]
            raise MeasureError(f"arm {arm!r}, seed {seed}, {metric}: no score at {when}: measure that cell again")
    skills = of_kind(metrics, Kind.SKILL)
    if not skills:
        raise MeasureError("measures: no skill/ metric; without competence a lost skill would pass for a lost value")
    for frame in (aligned, final):
        frame[COMPETENCE] = frame[skills].min(axis=1)
    steps = measures[at_end].groupby("arm")["env_steps"].max()
    env_steps = {str(arm): int(number) for arm, number in steps.items()}
    return Ends(aligned, final, env_steps, frozenset(Metric.parse(metric).words[0] for metric in skills))


def effects_frame(
    measures: pd.DataFrame, control: str | None, *, arms: Sequence[str] | None = None, seed: int = 0
) -> pd.DataFrame:
    """Compute the effect on every metric of every arm at its last iteration: a row per arm and metric.

    Args:
        measures: See the module.
        control: The arm that the others are compared with; None: each is compared with its own aligned checkpoint.
        arms: The arms to show, in order (`control` may be among them); None: all, by name.
        seed: Seed of the intervals and tests. Each row has its own random stream, so rows do not depend on each other.

    Returns:
        Columns `arm`, `against`, `metric`; `mean`, `low`, `high` (95% interval over seeds); `num_seeds`, `lost` (seeds
        left out because the skill was lost), `reliable`, `measurable`; `p` (permutation), `p_bh` (`p` adjusted by
        Benjamini-Hochberg over all metrics of the kinds `SHOWN` in all arms; nan for others); `env_steps`. First the
        rows of arm `aligned` (absolute scores, `against` and both p empty), then `control` against `aligned` (its
        drift), then the other arms against `control`.

    Raises:
        MeasureError: see `study_ends`. KerfError: an unknown arm.
    """
    ends = study_ends(measures)
    asked = ends.arms if arms is None else arms
    order = list(asked) if control is None else [control, *(arm for arm in asked if arm != control)]
    for arm in order:
        if arm not in ends.env_steps:
            raise unknown_name("arm in the measures", arm, ends.arms)
    rows = []
    for metric in ends.metrics:
        scores = list(ends.scores(ends.aligned, order[0], metric).values())
        bounds = None if effect_bounds(metric) is None else (0.0, 1.0)
        interval = paired_interval(scores, stream(seed, ALIGNED, order[0], metric), bounds=bounds)
        rows.append(_row(ALIGNED, "", metric, interval, lost=0, p=math.nan, env_steps=0))
    for arm in order:
        against = ALIGNED if control in (None, arm) else control
        for metric in ends.metrics:
            effect = ends.effect(arm, against, metric, seed)
            p = effect.p if effect.measurable else math.nan
            rows.append(_row(arm, against, metric, effect.interval, len(effect.lost), p, ends.env_steps[arm]))
    frame = pd.DataFrame(rows)
    frame["p_bh"] = math.nan
    shown = frame["metric"].map(lambda metric: Metric.parse(metric).kind in SHOWN) & frame["p"].notna()
    frame.loc[shown, "p_bh"] = benjamini_hochberg(frame.loc[shown, "p"].to_numpy())
    return frame


def _row(
    arm: str, against: str, metric: str, interval: Interval, lost: int, p: float, env_steps: int
) -> dict[str, object]:
    return {
        "arm": arm,
        "against": against,
        "metric": metric,
        "mean": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "num_seeds": interval.num,
        "lost": lost,
        "reliable": interval.reliable,
        "measurable": interval.num > 0,
        "p": p,
        "env_steps": env_steps,
    }


def _wide(measures: pd.DataFrame) -> pd.DataFrame:
    return measures.pivot(index=["arm", "seed"], columns="metric", values="score").sort_index()


def _place(row: pd.Series) -> str:
    return f"arm {row['arm']!r}, seed {row['seed']}, iteration {row['iteration']}, {row['metric']}"


def effect_bounds(metric: str) -> tuple[float, float] | None:
    """Bounds on a change of `metric`: a difference of two scores in [0, 1]; None for utility.

    They bound an effect too, because both arms start from the same aligned score.
    """
    return None if kind_of(metric) is Kind.UTILITY else (-1.0, 1.0)


def stream(seed: int, *words: str) -> np.random.Generator:
    """Random generator named by `words`: its draws do not depend on other draws or on row order."""
    digest = hashlib.sha256("\0".join(words).encode()).digest()
    key = tuple(int(word) for word in np.frombuffer(digest, "<u4"))
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
