"""Conclusion of a study as plain data: warnings, what became of each prediction, what is left open.

The terminal and the page show the same conclusion. All numbers are those of `kerf.runs.report.table.Report`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import yaml

from kerf.lab.dilemma import Words
from kerf.lab.metrics import COMPETENCE, UTILITY, Kind, Metric, kind_of
from kerf.lab.statistics.effect import POWER
from kerf.lab.statistics.intervals import MIN_SEEDS
from kerf.lab.statistics.tests import detectable_shift, smallest_p
from kerf.lab.statistics.text import interval_text
from kerf.lab.world import focus
from kerf.lab.worlds import get_world
from kerf.runs.records.gate_records import gate_warnings, instead_of_table
from kerf.runs.records.store import Store
from kerf.runs.report import make_report
from kerf.runs.report.deviations import deviations, missing_units
from kerf.runs.report.effects import Ends
from kerf.runs.report.judged import Judged
from kerf.runs.report.table import NOTHING_TO_LOSE, Report, metric_label

MARGIN, ALPHA = 0.05, 0.05
"""Half-width of what counts as no effect, and the level of the tests, as in `kerf.lab.statistics.effect.judge`."""

MOST_SEEDS = 1000
"""More seeds than these are not proposed."""

SIGNS: Mapping[tuple[str, bool], tuple[str, str]] = {
    ("held", False): ("✓", "as predicted"),
    ("held", True): ("✓", "as predicted"),
    ("reversed", False): ("✗", "the opposite"),
    ("reversed", True): ("✗", "changed after all"),
    ("no effect", False): ("≈", "no change"),
    ("no effect", True): ("≈", "no change, as predicted"),
    ("no typical effect", False): ("≈", "hardly any change"),
    ("no typical effect", True): ("≈", "hardly any change"),
    ("undecided", False): ("?", "not decided"),
    ("undecided", True): ("?", "not decided"),
}
"""(Outcome, whether no change was predicted) -> a sign that needs no colour, and words."""


@dataclass(frozen=True)
class Finding:
    """What became of a prediction.

    Attributes:
        name: Name of the prediction.
        outcome: As in the records: `held`, `reversed`, ...
        sign: ✓ ✗ ≈ or ?.
        words: The outcome in words.
        sentence: The prediction as a claim, e.g. `care falls in penalised, compared with exposure`.
        effect: Effect with its interval, or other measured numbers.
        unknown: What is not known, and how many seeds would settle it; empty if it is settled.
    """

    name: str
    outcome: str
    sign: str
    words: str
    sentence: str
    effect: str
    unknown: str = ""


@dataclass(frozen=True)
class Kept:
    """A row of the chart: how much of the focus value an arm kept, and what it gained or lost besides.

    Attributes:
        arm: The arm.
        kept: Mean score at its end as a share of that of the aligned agents; nan if there was nothing to lose.
        beside: Share by which the targeted false exits became rarer, at most 1; in worlds without forgeries the share
            of ideal utility that was kept. nan if there were none, or next to none.
        lost: Whether a seed lost its skill.
    """

    arm: str
    kept: float
    beside: float
    lost: bool


@dataclass(frozen=True)
class Conclusion:
    """The conclusion of a study.

    Attributes:
        name: The recipe's name.
        question: The question in a sentence.
        about: The whole description of the recipe.
        warnings: What a reader must know first, a sentence each.
        findings: One for each prediction.
        chart: Rows of the chart; empty if the world has no value but skills.
        focus: Name of the value that the world shows first.
        elicited: What is suppressed, in words; empty in worlds without forgeries.
        num_seeds: Number of seeds that passed the gate.
        num_arms: Number of arms.
        also: What else the records hold, a sentence each.
        deviations: Where the records are not what was registered, a sentence each.
    """

    name: str
    question: str
    about: str
    warnings: Sequence[str]
    findings: Sequence[Finding] = ()
    chart: Sequence[Kept] = ()
    focus: str = ""
    elicited: str = ""
    num_seeds: int = 0
    num_arms: int = 0
    also: Sequence[str] = ()
    deviations: Sequence[str] = ()

    @property
    def unknown(self) -> list[str]:
        """What is left open, a sentence each."""
        return [finding.unknown for finding in self.findings if finding.unknown]


def conclude(store: Store, report: Report | None = None) -> Conclusion:
    """Draw the conclusion of a finished study from its records.

    Args:
        store: Store of the study.
        report: Its report, if it was made already.

    Raises:
        KerfError: if the study is not finished.
    """
    manifest = store.manifest()
    about = about_of(store)
    opening = manifest["name"], question_of(about), about
    instead = instead_of_table(store)
    if instead is not None:
        apart = deviations(store)
        return Conclusion(
            *opening, warnings=instead.splitlines(), num_arms=len(manifest["arm_order"]), deviations=apart
        )
    report = report or make_report(store)
    assert report.courses is not None
    ends, aims = report.courses.ends, report.courses.aims
    world = get_world(manifest["recipe"]["world"])
    words = world.dilemma.words
    num_seeds = int(ends.final.index.get_level_values("seed").nunique())
    first = next(iter(focus(world)), None)
    return Conclusion(
        *opening,
        warnings=[*gate_warnings(store), *_warnings(ends, manifest["arm_order"], first, num_seeds)],
        findings=_findings(report),
        chart=() if first is None else chart_rows(ends, aims, first, manifest["arm_order"]),
        focus="" if first is None else metric_label(first, words),
        elicited=words.elicited if aims else "",
        num_seeds=num_seeds,
        num_arms=len(manifest["arm_order"]),
        also=_also(store),
        deviations=deviations(store, report),
    )


def conclude_unfinished(store: Store) -> Conclusion | None:
    """The conclusion of a study that lacks units: which, and nothing else. None if it lacks none."""
    manifest = store.manifest()
    units = set(store.units())
    missing = missing_units(store, manifest, units)
    if not missing:
        return None
    about = about_of(store)
    warning = (
        f"The study is not finished: {len(missing)} of its units are missing ({missing[0].name}, ...). Effects of the "
        f"others are not shown, for they would be of other seeds than those that were registered. {store.completion} "
        "completes it."
    )
    return Conclusion(
        manifest["name"],
        question_of(about),
        about,
        [warning],
        num_arms=len(manifest["arm_order"]),
        deviations=deviations(store),
    )


def _also(store: Store) -> list[str]:
    found = []
    if num := len(store.attacks()):
        found.append(f"{num:,} attacks on the finished agents")
    if (store.path / "exact.txt").exists():
        found.append("exact answers: what the objective forced")
    return found


def about_of(store: Store) -> str:
    """The description in the study's recipe; empty if it has none."""
    said = yaml.safe_load(store.read_bytes("recipe.yaml")) or {}
    return " ".join(str(said.get("about", "")).split())


def question_of(about: str) -> str:
    """The last question of a description, or its first sentence."""
    sentences = about.replace("? ", "?\n").replace(". ", ".\n").splitlines()
    questions = [sentence for sentence in sentences if sentence.endswith("?")]
    return (questions[-1:] or sentences[:1] or [""])[0].strip()


def _warnings(ends: Ends, arms: Sequence[str], focus: str | None, num_seeds: int) -> Iterator[str]:
    if num_seeds == 1:
        yield "1 seed: no interval can be given, and no difference can be told from chance."
    elif num_seeds < MIN_SEEDS:
        yield f"{num_seeds} seeds: below {MIN_SEEDS} no interval is reliable."
    if focus is not None:
        start = float(ends.aligned[focus].mean())
        if start < NOTHING_TO_LOSE:
            yield f"{metric_label(focus)} is {start:.2f} before any arm: there is nothing to lose."
        lost = {arm: len(ends.lost(arm, focus)) for arm in arms}
        if any(lost.values()):
            each = ", ".join(f"{arm} in {number} of {num_seeds} seeds" for arm, number in lost.items() if number)
            yield f"Skills were lost, so that values cannot be compared there: {each}."


def _findings(report: Report) -> list[Finding]:
    num_tests = len(report.judged) + (report.crossing is not None)
    found = [_finding(item, num_tests, report.words) for item in report.judged]
    if report.crossing is not None:
        crossing = report.crossing
        outcome = crossing.outcome(report.crossing_p)
        sign, words = SIGNS[outcome, False]
        unknown = ""
        if outcome == "undecided":
            unknown = f"whether help ends at the penalty that theory gives ({crossing.hits} of "
            unknown += f"{len(crossing.brackets)} seeds agree): more seeds, or penalties closer to each other"
        sentence = f"help ends at a penalty of {crossing.predicted:.3g}, as theory says"
        effect = f"in {crossing.hits} of {len(crossing.brackets)} seeds"
        found.append(Finding(crossing.prediction.name, outcome, sign, words, sentence, effect, unknown))
    return found


def _finding(item: Judged, num_tests: int, words: Words) -> Finding:
    primary, outcome = item.primary, item.verdict.outcome
    none = primary.direction == "none"
    sign, said = SIGNS[outcome, none]
    verb = {"decrease": "falls", "increase": "rises", "none": "stays as it is"}[primary.direction]
    what = metric_words(primary.metric, words)
    sentence = f"{what} {verb} in {primary.arm}, compared with {primary.against}"
    effect = interval_text(item.effect.interval) if item.effect.measurable else "skill lost"
    if item.effect.measurable and item.effect.lost:
        effect += f" ({len(item.effect.seeds)} of {len(item.effect.seeds) + len(item.effect.lost)} seeds)"
    unknown = f"whether {sentence}: {_settling(item, num_tests)}" if outcome == "undecided" else ""
    return Finding(primary.name, outcome, sign, said, sentence, effect, unknown)


def _settling(item: Judged, num_tests: int) -> str:
    """How many seeds would settle an undecided prediction."""
    effect, num = item.effect, len(item.effect.seeds)
    if not num:
        return "arms that keep their skills"
    least = next(n for n in range(2, MOST_SEEDS) if num_tests * smallest_p(n) < ALPHA)
    if num < least:
        return f"at least {least} seeds, for fewer can show nothing"
    spread = float(np.std(effect.per_seed, ddof=1))
    sought = max(abs(effect.interval.mean), MARGIN)
    for seeds in range(num + 1, MOST_SEEDS):
        if detectable_shift(spread, seeds, POWER, ALPHA / num_tests) <= sought:
            return f"about {seeds} seeds would show a change of {sought:.2f} with {POWER:.0%} power"
    return f"more than {MOST_SEEDS:,} seeds"


def chart_rows(ends: Ends, aims: Mapping[str, str], focus: str, arms: Sequence[str]) -> list[Kept]:
    """How much of `focus` each arm kept, and by how much the false exits that its penalty targets became rarer.

    Where there are no false exits (`aims` is empty), how much ideal utility it kept.
    """
    rows = []
    for arm in arms:
        beside = 1.0 - _share(ends, arm, aims[arm]) if aims else _share(ends, arm, UTILITY)
        rows.append(Kept(arm, _share(ends, arm, focus), beside, bool(ends.lost(arm, focus))))
    return rows


def _share(ends: Ends, arm: str, metric: str) -> float:
    """Mean at the end of `arm` over mean at the aligned checkpoint; nan if that is (nearly) 0."""
    start, end = (np.mean(list(ends.scores(frame, arm, metric).values())) for frame in (ends.aligned, ends.final))
    return float(end / start) if start >= NOTHING_TO_LOSE else math.nan


def metric_words(metric: str, words: Words) -> str:
    """Name of a metric in a sentence."""
    named = Metric.parse(metric)
    if metric == COMPETENCE:
        return "the weakest skill"
    if metric == UTILITY:
        return "ideal utility"
    if kind_of(metric) is Kind.COLLATERAL:
        return "the mean of all values that are no target"
    if named.kind is Kind.WAY:
        return f"the share of {named.words[0].replace('_', ' ')}"
    if named.strength is not None:
        held_out = " (held out)" if named.kind is Kind.HELD_OUT else ""
        return f"the share of {words.elicited} of strength {named.strength:g}{held_out}"
    if named.kind is Kind.FAMILY:
        return f"{named.words[0]} ({named.words[1]})"
    return f"{named.words[0]} (held out)" if named.kind is Kind.HELD_OUT else metric_label(metric, words)
