"""Summary of a collection, from the records of its studies: what each was aimed at, what else moved, what held.

A study is summed up by the contrast of the first prediction that its recipe registered: that arm, compared with that
other arm. Which metric the arm is aimed at, its target, follows from what the world declares and from the arm's
settings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kerf.lab.collateral import target_values
from kerf.lab.dilemma import Words
from kerf.lab.errors import KerfError
from kerf.lab.metrics import UTILITY, Kind, Metric, of_kind, value_metric, value_of_family
from kerf.lab.reward_spec import design_weights
from kerf.lab.statistics.effect import Effect
from kerf.lab.statistics.tests import benjamini_hochberg
from kerf.lab.world import World, focus
from kerf.lab.worlds import get_world
from kerf.runs.records.collected import Collected, read_collected
from kerf.runs.records.gate_records import instead_of_table
from kerf.runs.records.store import Store
from kerf.runs.report import make_report
from kerf.runs.report.conclusion import Conclusion, conclude, conclude_unfinished, metric_words
from kerf.runs.report.effects import Ends

HELD, FAILED, OPEN = "held", "failed", "undecided"
"""What became of a prediction, in a word."""

UNCHANGED = ("no effect", "no typical effect")
"""Outcomes by which a prediction of no change held, and one of a change failed."""


@dataclass(frozen=True)
class Change:
    """The change of a metric in an arm, compared with another arm.

    Attributes:
        metric: The metric.
        label: Its name for readers.
        effect: The effect, with its interval.
        p: Its permutation p, adjusted by Benjamini-Hochberg over the changes of a study that are no target; nan for the
            target, and where nothing could be measured.
        asked_for: Whether the act cannot be suppressed in forgeries alone without this change
            (`kerf.lab.collateral.target_values`), so that it is no side effect.
    """

    metric: str
    label: str
    effect: Effect
    p: float = float("nan")
    asked_for: bool = False


@dataclass(frozen=True)
class Predicted:
    """A prediction of a study: its name, the claim, the outcome as in the records, and `HELD`, `FAILED` or `OPEN`."""

    name: str
    sentence: str
    effect: str
    outcome: str
    word: str


@dataclass(frozen=True)
class Row:
    """A study in a summary.

    Attributes:
        study: Its name, which is that of its folder.
        world: Name of its world.
        instead: Why there is nothing to tell, in words; empty if there is something.
        arm: The arm that is summed up.
        against: The arm that it is compared with.
        treatment: What the arm is trained by, in words.
        target: Change of what it is aimed at.
        others: Changes of all other values and skills, the largest first; those without a measure last.
        utility: Change of ideal utility.
        predicted: What became of the predictions.
        warnings: What a reader must know first.
        num_seeds: Number of seeds that passed the gate.
    """

    study: str
    world: str
    instead: str = ""
    arm: str = ""
    against: str = ""
    treatment: str = ""
    target: Change | None = None
    others: Sequence[Change] = ()
    utility: Change | None = None
    predicted: Sequence[Predicted] = ()
    warnings: Sequence[str] = ()
    num_seeds: int = 0

    def count(self, word: str) -> int:
        """How many predictions became this."""
        return sum(each.word == word for each in self.predicted)


@dataclass(frozen=True)
class Summary:
    """A collection with its rows, in its order."""

    collected: Collected
    rows: Sequence[Row]


def summarise(folder: Path) -> Summary:
    """Sum up the collection in a folder, from the records of its studies.

    Raises:
        KerfError: if the folder holds no collection.
    """
    collected = read_collected(folder)
    if collected is None:
        raise KerfError(f"{folder} holds no collection of studies, written by kerf run")
    return Summary(collected, [_row_or_error(folder / name) for name in collected.studies])


def _row_or_error(folder: Path) -> Row:
    """The row of a study; what is wrong with its records is told there, and hides no other study."""
    try:
        return _row(folder)
    except KerfError as error:
        return Row(folder.name, "", instead=str(error))


def _row(folder: Path) -> Row:
    store = Store(folder)
    if not (folder / "study.json").exists():
        return Row(folder.name, "", instead="not begun")
    manifest = store.manifest()
    world = get_world(manifest["recipe"]["world"])
    if instead_of_table(store) is not None:
        return Row(folder.name, world.name, instead="no agent passed the gate")
    if conclude_unfinished(store) is not None:
        return Row(folder.name, world.name, instead="not finished")
    report = make_report(store)
    assert report.courses is not None
    first, ends = report.judged[0].primary, report.courses.ends
    arm = manifest["arms"][first.arm]
    design = manifest["recipe"].get("design")
    target = target_metric(world, arm, report.courses.aims.get(first.arm), first.metric, design)
    conclusion = conclude(store, report)
    words = world.dilemma.words
    return Row(
        folder.name,
        world.name,
        arm=first.arm,
        against=first.against,
        treatment=treatment(arm, design),
        target=_change(ends, first.arm, first.against, target, words),
        others=_others(ends, first.arm, first.against, target, world),
        utility=_change(ends, first.arm, first.against, UTILITY, words),
        predicted=_predicted(conclusion, [item.primary.direction for item in report.judged]),
        warnings=conclusion.warnings,
        num_seeds=conclusion.num_seeds,
    )


def target_metric(world: World, arm: Mapping[str, Any], exits: str | None, predicted: str, design: Any = None) -> str:
    """The metric that an arm is aimed at.

    Args:
        world: The world.
        arm: Settings of the arm, resolved.
        exits: Exits in the forgeries that the arm was trained on, if there are any.
        predicted: The metric of the prediction.
        design: The recipe's design reward, as JSON; None: the ideal utility.

    Returns:
        For a penalty in a world with forgeries those exits. For a penalty in another world, and for a reward that pays
        for the forbidden act other than the ideal utility does, the value that the world says a penalty on the act is
        aimed at. For an arm that trains in the scenarios of one family alone, the value of that family. For any other
        the value that is predicted to change. Where there is none, the value that the world shows first
        (`kerf.lab.world.focus`).
    """
    if arm["penalty"] and exits is not None:
        return exits
    aimed_at, forbidden = world.dilemma.aimed_at, world.dilemma.forbidden
    paid = design_weights(world, design if arm.get("design") is None else arm["design"])
    other = forbidden is not None and paid.get(forbidden, 0.0) != world.ideal.get(forbidden, 0.0)
    family = arm["generator"].get("family") if arm["adversarial_share"] == 1.0 else None
    named = [
        aimed_at if arm["penalty"] or (other and family is None) else None,
        None if family is None else value_of_family(family),
        Metric.parse(predicted).value,
    ]
    values = {value.name for value in world.values if not value.skill}
    return next((value_metric(name) for name in named if name in values), focus(world)[0])


def treatment(arm: Mapping[str, Any], design: Any) -> str:
    """What an arm is trained by: its penalty, its reward, and its scenarios if they are of one family."""
    paid = design if arm.get("design") is None else arm["design"]
    parts = []
    if arm["penalty"]:
        parts.append(f"penalty {arm['penalty_sign'] * arm['penalty']:g}")
    if paid is not None:
        parts.append(f"paid by {paid}" if isinstance(paid, str) else "paid by other weights")
    if arm["adversarial_share"] == 1.0 and arm["generator"].get("family"):
        parts.append(f"in {arm['generator']['family']} alone")
    return ", ".join(parts) or "the ideal utility"


def _change(ends: Ends, arm: str, against: str, metric: str, words: Words) -> Change:
    return Change(metric, metric_words(metric, words), ends.effect(arm, against, metric, 0))


def _others(ends: Ends, arm: str, against: str, target: str, world: World) -> list[Change]:
    """Changes of all values and skills but the target, with adjusted p, the largest first."""
    strength = Metric.parse(target).strength
    asked_for = {value_metric(name) for name in target_values(world, 1.0 if strength is None else strength)}
    metrics = [metric for metric in of_kind(ends.metrics, Kind.VALUE, Kind.SKILL) if metric != target]
    effects = {metric: ends.effect(arm, against, metric, 0) for metric in metrics}
    measured = [metric for metric, effect in effects.items() if effect.measurable]
    adjusted = benjamini_hochberg([effects[metric].p for metric in measured]) if measured else ()
    p = dict(zip(measured, (float(each) for each in adjusted), strict=True))
    words = world.dilemma.words
    found = [
        Change(metric, metric_words(metric, words), effect, p.get(metric, float("nan")), metric in asked_for)
        for metric, effect in effects.items()
    ]
    return sorted(found, key=lambda change: -abs(change.effect.interval.mean) if change.effect.measurable else 1.0)


def _predicted(conclusion: Conclusion, directions: Sequence[str]) -> list[Predicted]:
    """What became of each prediction; that of a threshold, which stands last, predicts a change."""
    given = [*directions, *["change"] * (len(conclusion.findings) - len(directions))]
    return [
        Predicted(each.name, each.sentence, each.effect, each.outcome, verdict(each.outcome, direction == "none"))
        for each, direction in zip(conclusion.findings, given, strict=True)
    ]


def verdict(outcome: str, predicted_none: bool) -> str:
    """`HELD`, `FAILED` or `OPEN`, by an outcome and whether no change was predicted."""
    if outcome == "undecided":
        return OPEN
    return HELD if outcome == "held" or (predicted_none and outcome in UNCHANGED) else FAILED
