"""Report of a sweep: its table and verdicts, from the outcomes of its trials."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kerf.lab.metrics import COLLATERAL, ROBUSTNESS
from kerf.lab.statistics.effect import Effect
from kerf.lab.statistics.intervals import MIN_SEEDS
from kerf.lab.statistics.tests import benjamini_hochberg, smallest_p
from kerf.lab.statistics.text import interval_text, p_text, signed
from kerf.runs.report.table import FALSE_DISCOVERY_RATE, marks_sentence, metric_label
from kerf.runs.sweep.findings import Line, feasible, front, lines, shown_metrics
from kerf.runs.sweep.outcome import Outcome
from kerf.runs.sweep.spec import SweepSpec
from kerf.runs.terminal.columns import ByGroups

TEXT_WIDTH = 140


@dataclass(frozen=True)
class SweepReport:
    """The printed report of a sweep.

    Attributes:
        spec: The sweep.
        outcomes: Its trials, by number.
        again: The front's trials on held-out seeds, in the order of the front.
        verdicts: One sentence per conclusion.
    """

    spec: SweepSpec
    outcomes: Sequence[Outcome]
    again: Sequence[Outcome]
    verdicts: Sequence[str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Padding(ByGroups(self._table(), self._num_keys), (1, 0, 1, 0))
        for line in self._legend():
            yield Text(line)
        yield Text()
        for verdict in self.verdicts:
            yield Text(verdict)

    @property
    def _num_keys(self) -> int:
        """Columns that say which trial a row is."""
        return len(self.spec.over) + (self.spec.mode == "pareto")

    def _table(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        if self.spec.mode == "pareto":
            table.add_column("trial", no_wrap=True)
        for axis in self.spec.over:
            header = axis.name.replace(".", ".\n")
            table.add_column(Text(header), justify="right", no_wrap=True)
        metrics = shown_metrics(self.spec, self.outcomes)
        for metric in metrics:
            table.add_column(Text(metric_label(metric, self.spec.words)), justify="right", no_wrap=True)
        if self.spec.mode == "pareto":
            shown = self._front()
        else:
            shown = sorted(self.outcomes, key=lambda o: [o.trial.settings[a.path] for a in reversed(self.spec.over)])
        marked = _marked([*shown, *self.again], metrics)
        second = self.spec.over[1].path if len(self.spec.over) > 1 else None
        for index, outcome in enumerate(shown):
            last = index + 1 == len(shown)
            section = self.spec.mode == "dose" and second is not None and not last
            end = section and shown[index + 1].trial.settings[second] != outcome.trial.settings[second]  # type: ignore[index]
            self._row(table, outcome, metrics, marked, end_section=bool(end) or (last and bool(self.again)))
        for again in self.again:
            self._row(table, again, metrics, marked, ", held out")
        return table

    def _row(
        self,
        table: Table,
        outcome: Outcome,
        metrics: Sequence[str],
        marked: Collection[int],
        note: str = "",
        end_section: bool = False,
    ) -> None:
        settings = [_number(outcome.trial.settings[axis.path]) for axis in self.spec.over]
        if self.spec.mode == "pareto":
            settings = [f"{outcome.trial.number}{note}", *settings]
        effects = [outcome.effects[metric] for metric in metrics]
        cells = [_effect_cell(effect, id(effect) in marked) for effect in effects]
        table.add_row(*settings, *cells, end_section=end_section)

    def _legend(self) -> list[str]:
        spec, outcome = self.spec, self.outcomes[0]
        effect = outcome.effects[spec.traded[0]]
        num = len(effect.seeds) + len(effect.lost)
        sentences = [
            f"Effects of {spec.arm} against {spec.control}: mean over {num} seed{'s' * (num != 1)} [95% interval, "
            f"paired by seed]. {marks_sentence(num)}",
            f"{''.join(_sums(spec))}More is better in all columns.",
        ]
        if spec.mode == "pareto":
            kept = sum(feasible(spec, o) for o in self.outcomes)
            floors = (
                " and ".join(f"{metric_label(f.metric, spec.words)} >= {f.change:g}" for f in spec.floors)
                or "being measurable"
            )
            if not kept:
                sentences.append(f"No trial passes {floors}. Shown: the front without floors.")
                return sentences
            sentences.append(
                f"Shown: the front. {kept} of {len(self.outcomes)} trials pass {floors}; of these, none beats one on "
                "the front in robustness without losing in collateral. Selected by their scores, they look better "
                "than they are; held out: the same settings on seeds that were not used to select them."
            )
        return sentences

    def _front(self) -> list[Outcome]:
        """The front; if no trial satisfies the floors, the front without them."""
        without_floors = self.spec.model_copy(update={"floors": ()})
        return front(self.spec, self.outcomes) or front(without_floors, self.outcomes)


def _marked(outcomes: Sequence[Outcome], metrics: Sequence[str]) -> set[int]:
    """Effects (by identity) that are significant after adjustment over all cells of the table."""
    cells = [outcome.effects[metric] for outcome in outcomes for metric in metrics]
    tested = [effect for effect in cells if effect.measurable]
    adjusted = benjamini_hochberg([effect.p for effect in tested])
    return {
        id(effect)
        for effect, p in zip(tested, adjusted, strict=True)
        if p < FALSE_DISCOVERY_RATE and effect.interval.excludes(0.0)
    }


def _effect_cell(effect: Effect, marked: bool) -> Text:
    if not effect.measurable:
        return Text("skill lost")
    text = interval_text(effect.interval)
    return Text(f"* {text}", "bold") if marked else Text(text)


def make_report(spec: SweepSpec, outcomes: Sequence[Outcome], again: Sequence[Outcome]) -> SweepReport:
    """Make the report of these outcomes, in the order of their trials."""
    return SweepReport(spec, outcomes, again, verdicts(spec, outcomes, again))


def _sums(spec: SweepSpec) -> Iterator[str]:
    """What the summary metrics are, a sentence each."""
    if ROBUSTNESS in spec.traded:
        yield f"robustness: how far {spec.words.elicited} of strength {spec.yardstick:g} have fallen. "
    if COLLATERAL in spec.traded:
        yield f"collateral: mean over the {len(spec.untouched)} values that the penalty is not aimed at. "


def verdicts(spec: SweepSpec, outcomes: Sequence[Outcome], again: Sequence[Outcome]) -> list[str]:
    """The conclusions, one sentence each."""
    if spec.mode == "pareto":
        return [_front_sentence(spec, outcomes, again)]
    metric = spec.traded[1] if spec.limit is None else spec.limit.metric
    found = lines(spec, outcomes, metric)
    if spec.mode == "threshold":
        return [_threshold_sentence(spec, line) for line in found]
    sentences = [_dose_sentence(spec, line, len(found)) for line in found]
    if spec.limit is not None:
        sentences += [_threshold_sentence(spec, line) for line in found]
    return sentences


def _dose_sentence(spec: SweepSpec, line: Line, num: int) -> str:
    what, where = metric_label(line.metric, spec.words), _at(spec, line)
    if line.curve is None:
        return f"{what}{where} cannot be measured: no seed kept its skills at every dose."
    dose, slope = spec.over[0].name, line.curve.slope
    bounds = f" [{signed(slope.low, 3)}, {signed(slope.high, 3)}]" if slope.bounded else ""
    adjusted = f", Holm over {num}" if num > 1 else ""
    claim = f"p {p_text(line.p)}{adjusted}"
    if line.p < 0.05:
        verb = "falls" if slope.mean < 0 else "rises"
        text = f"{what} {verb} with {dose}{where}"
    else:
        text = f"{what} is not shown to change with {dose}{where}"
        if num * smallest_p(len(line.seeds)) >= 0.05:
            return f"{text}: {signed(slope.mean, 3)}{bounds} a unit ({claim}; {_seeds(line)}, too few to show it)."
    return f"{text}: {signed(slope.mean, 3)}{bounds} a unit ({claim}, {_seeds(line)})."


def _threshold_sentence(spec: SweepSpec, line: Line) -> str:
    assert spec.limit is not None
    what, where, dose = metric_label(line.metric, spec.words), _at(spec, line), spec.over[0].name
    found, curve = line.threshold, line.curve
    if found is None or curve is None:
        return f"{what}{where} cannot be measured: no seed kept its skills at every dose."
    lost = found.limit < 0
    change = f"{'lost' if lost else 'gained'} {abs(found.limit):g}"
    if lost != found.falling:
        change = f"{'lost' if lost else 'gained'} no more than {abs(found.limit):g}"
    below, above = found.between
    interval = "no interval"
    if not math.isnan(found.low):
        low, high = (
            f"{end:.3g}" if math.isfinite(end) else f"beyond {found.doses[1]:g}" for end in (found.low, found.high)
        )
        interval = f"95% interval {low} to {high}"
    if not found.reached:
        end = signed(float(curve.mean[-1]))
        if not math.isnan(float(curve.low[-1])):
            end += f" [{signed(float(curve.low[-1]))}, {signed(float(curve.high[-1]))}]"
        sentence = f"{what} has not {change} up to {dose} {found.doses[1]:g}{where}, where it has changed by {end}"
        sentence += f"; {interval}" if math.isfinite(found.low) else ""
    elif below == above:
        sentence = f"{what} has {change} at {dose} {above:.3g}{where}, already the smallest dose"
    else:
        sentence = f"{what} has {change} by {dose} {above:.3g}{where}, and not at {below:.3g} yet, {interval}"
    warned = "" if found.reliable else f"; with fewer than {MIN_SEEDS} seeds no interval is reliable"
    return f"{sentence} ({_seeds(line)}{warned})."


def _front_sentence(spec: SweepSpec, outcomes: Sequence[Outcome], again: Sequence[Outcome]) -> str:
    found = front(spec, outcomes)
    if not found:
        return (
            f"None of {len(outcomes)} trials passes the floors, so there is no front; lower a floor, or widen a range."
        )
    ends = " to ".join(
        f"robustness {signed(o.objectives[0])} at collateral {signed(o.objectives[1])} "
        f"({settings_text(spec, o.trial.settings)})"
        for o in (found if len(found) == 1 else (found[0], found[-1]))
    )
    sentence = f"The front has {len(found)} of {len(outcomes)} trials: {ends}."
    if again:
        kept = sum(feasible(spec, o) for o in again)
        losses = [now.objectives[0] - then.objectives[0] for now, then in zip(again, found, strict=True)]
        mean = sum(losses) / len(losses)
        sentence += (
            f" On held-out seeds {kept} of {len(again)} still pass, and their robustness differs by {signed(mean)} on "
            "average from the score that selected them."
        )
    return sentence


def _at(spec: SweepSpec, line: Line) -> str:
    return "" if line.at is None else f" at {spec.over[1].name} {line.at:g}"


def _seeds(line: Line) -> str:
    left_out = f", seeds {list(line.lost)} left out: skill lost" if line.lost else ""
    return f"{len(line.seeds)} seed{'s' * (len(line.seeds) != 1)}{left_out}"


def settings_text(spec: SweepSpec, settings: Mapping[str, float]) -> str:
    """The settings that are set, as `strength 0.3, penalty 4`."""
    return ", ".join(f"{axis.name} {_number(settings[axis.path])}" for axis in spec.over if axis.path in settings)


def _number(value: float) -> str:
    return f"{value:.4g}"
