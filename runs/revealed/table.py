"""Printed form of the three objectives, and their records in the study's folder."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean

import numpy as np
from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kerf.lab.statistics.choice_model import FITS
from kerf.lab.statistics.tests import Interval, paired_interval
from kerf.runs.records.store import ALIGNED, Store
from kerf.runs.report.table import to_text
from kerf.runs.revealed.feedback import DEFINITIONS
from kerf.runs.revealed.objectives import EXPERT, NATURAL, Objectives, Read
from kerf.runs.revealed.summary import ArmSummary, summaries
from kerf.runs.terminal.columns import ByGroups
from kerf.runs.terminal.console import shell

WIDTH = 140
"""Characters per line in `revealed.txt`."""

GOES_ON = {True: "as the expert would", False: "as the policy itself does"}


class ObjectivesReport:
    """The printed output of `kerf revealed`."""

    def __init__(self, found: Objectives) -> None:
        self.found = found

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        found = self.found
        parts: list[RenderableType] = [
            ByGroups(weights_table(found), keys=2),
            *_refusals(found),
            *([ByGroups(training_table(found))] if any(read.belief != NATURAL for read in found.read) else []),
            *([ByGroups(feedback_table(found))] if found.feedback else []),
            ByGroups(utility_table(found)),
        ]
        for index, part in enumerate(parts):
            yield Padding(part, (1 if index else 0, 0, 0, 0))


def weights_table(found: Objectives) -> Table:
    """A row per event, a column per arm: the weight that its agents' choices reveal."""
    arms = summaries(found, NATURAL)
    table = _plain(
        "What the agents now want: event weights that explain their choices, in units of ideal utility",
        f"{found.num_points:,} decision points with {found.num_options:,} options, read under the beliefs that the "
        f"natural stream warrants; after a choice things go on {GOES_ON[found.continuation == EXPERT]}, without what "
        "was forgone. Means over the seeds that fit [95%]; *: the change since alignment excludes 0, one test a cell. "
        "(paid): weight that training paid, where it is not the ideal one. with context: if the forbidden act may also "
        "be shunned or sought as such, by what is seen. agrees: correlation of the utility differences between "
        "options. sharpness: log-odds per unit of utility. Only ratios of weights are revealed, and an agent that "
        "values saving less chooses as one that expects a forgery.",
    )
    table.add_column("", no_wrap=True)
    table.add_column("ideal", justify="right", no_wrap=True)
    for arm in arms:
        table.add_column(arm.name, justify="right", no_wrap=True)
    table.add_row("choices explained", "", *(_percent(arm.explained) for arm in arms))
    table.add_row("... with context", "", *(_percent(arm.explained_in_context) for arm in arms))
    table.add_row("seeds that fit", "", *(f"{arm.fitting} of {arm.num}" for arm in arms))
    table.add_row("agrees: ideal", "", *(_text(arm.agreement["ideal"]) for arm in arms))
    table.add_row("agrees: paid", "", *(_text(arm.agreement.get("design")) for arm in arms))
    table.add_row("sharpness", "", *(_text(arm.sharpness) for arm in arms), end_section=True)
    for event in found.events:
        if any(event in arm.weights for arm in arms):
            ideal = found.ideal.get(event, 0.0)
            table.add_row(event, f"{ideal:g}", *(_weight(arm, event, ideal) for arm in arms))
    return table


def _weight(arm: ArmSummary, event: str, ideal: float) -> str:
    if arm.refused:
        return "not read"
    paid = ideal if arm.paid is None else arm.paid.get(event, 0.0)
    note = "" if math.isclose(paid, ideal, abs_tol=0.005) else f" ({round(paid, 1) + 0.0:.1f} paid)"
    if event not in arm.weights:
        return arm.missing[event].split(":")[0] + note
    changed = "*" if arm.changes[event].reliable and arm.changes[event].excludes(0.0) else ""
    return _text(arm.weights[event]) + changed + note


def _refusals(found: Objectives) -> list[Text]:
    """Why the weights of an arm, or of an event, are not shown."""
    lines = []
    for arm in summaries(found, NATURAL):
        if arm.reasons:
            lines.append(f"  {arm.name}: " + "; ".join(f"seed {seed} {why}" for seed, why in arm.reasons.items()))
    head = f"Not read (the weights must explain {FITS:.0%} of the choices):\n"
    texts = [Text(head + "\n".join(lines))] if lines else []
    arms = [arm for arm in summaries(found, NATURAL) if not arm.refused]
    whys = {event: why for arm in arms for event, why in arm.missing.items()}
    never = [event for event in whys if not any(event in arm.weights for arm in arms)]
    if never:
        texts.append(Text("Not identified: " + "; ".join(f"{event} ({whys[event]})" for event in never) + "."))
    return texts


def training_table(found: Objectives) -> Table:
    """A row per arm whose stream of scenarios is not the natural one: the reading under that stream's beliefs."""
    table = _plain(
        "The same under the beliefs of each arm's own training",
        "As if the agents expected forgeries as often as training showed them, at the points that training shows. "
        "Compare with the aligned agents under the same beliefs, for weights are in units of what choices there are "
        "worth. If these beliefs explain an arm's choices better than those above, it may be them that changed.",
    )
    for heading in ("arm", "choices explained", "agrees: ideal", "agrees: paid", *_focus(found)):
        table.add_column(heading, justify="left" if heading == "arm" else "right", no_wrap=True)
    for belief in dict.fromkeys(read.belief for read in found.read if read.belief != NATURAL):
        table.add_row(f"{belief}:")
        for arm in summaries(found, belief):
            weights = [_weight(arm, event, found.ideal.get(event, 0.0)) for event in _focus(found)]
            agreement = [_text(arm.agreement["ideal"]), _text(arm.agreement.get("design"))]
            table.add_row(f"  {arm.name}", _percent(arm.explained), *agreement, *weights)
    return table


def _focus(found: Objectives) -> list[str]:
    """Events of the dilemma itself that have an ideal weight."""
    from kerf.lab.worlds import get_world

    dilemma = get_world(found.world).dilemma
    return [event for event in (dilemma.rescued, dilemma.needless) if event in found.events]


def feedback_table(found: Objectives) -> Table:
    """A row per penalised arm: how often each definition of good feedback disagrees with the penalties."""
    table = _plain(
        "Was the feedback on the training data bad, and by which definition?",
        "Acts of the aligned agents in scenarios of the arm's own stream, where training begins. by ...: share of the "
        "penalised acts that this definition would not penalise / of those that it would and that went unpenalised. "
        "rule: every forbidden act is bad; ex_post: one that was not needed; ex_ante: one "
        "that was not justified by what could be known.",
    )
    for heading in ("arm", "grader", "acts/episode", "penalised", *(f"by {name}" for name in DEFINITIONS)):
        table.add_column(heading, justify="left" if heading in ("arm", "grader") else "right", no_wrap=True)
    for name in dict.fromkeys(row.arm for row in found.feedback):
        rows = [row for row in found.feedback if row.arm == name]
        table.add_row(
            name,
            found.arms[name].grader,
            f"{fmean(row.acts for row in rows):.2f}",
            _share(row.penalised for row in rows),
            *(
                f"{_share(row.undeserved[of] for row in rows)} / {_share(row.missed[of] for row in rows)}"
                for of in DEFINITIONS
            ),
        )
    return table


def utility_table(found: Objectives) -> Table:
    """A row per arm: change of ideal utility in families of training and in held-out ones."""
    table = _plain(
        "Did the policy generalise badly?",
        "Ideal utility per scenario, families weighing the same: change since alignment [95%] in the families of the "
        "natural stream, in those that training never shows, and how much more was lost in the latter.",
    )
    for heading in ("arm", "families of training", "held-out families", "held-out less training"):
        table.add_column(heading, justify="left" if heading == "arm" else "right", no_wrap=True)
    before = {row.seed: row for row in found.utilities if row.arm == ALIGNED}
    trained, held_out = (fmean(getattr(row, kind) for row in before.values()) for kind in ("trained", "held_out"))
    table.add_row(ALIGNED, f"{trained:.2f}", f"{held_out:.2f}", f"{held_out - trained:+.2f}", end_section=True)
    for name in found.arms:
        rows = [row for row in found.utilities if row.arm == name]
        own = [row.trained - before[row.seed].trained for row in rows]
        other = [row.held_out - before[row.seed].held_out for row in rows]
        gaps = [of_other - of_own for of_other, of_own in zip(other, own, strict=True)]
        table.add_row(
            name, *(_text(paired_interval(some, np.random.default_rng(0)), "+") for some in (own, other, gaps))
        )
    return table


def reruns(found: Objectives, store: Store) -> list[str]:
    """Commands of the two reruns that would tell bad feedback from bad generalisation; none without a penalty."""
    penalised = [arm for arm in found.arms.values() if arm.train and arm.penalty and arm.yoked_to is None]
    if not penalised:
        return []
    arm = next((arm for arm in penalised if arm.name == "penalised"), penalised[0])
    at = f"arms.{arm.name}"

    def command(out: str, *sets: str) -> str:
        words = [word for setting in sets for word in ("--set", f"{at}.{setting}")]
        return shell("kerf", "run", store.path / "recipe.yaml", *words, "--out", f"{store.path}-{out}")

    first = command("good-feedback", "grader=ex_ante")
    second = command("on-deployment", "generator={kind: natural}", "adversarial_share=1")
    lines = [f"Two reruns would tell bad feedback from bad generalisation, here for {arm.name}:"]
    if arm.grader == "ex_ante":
        lines.append("  Its feedback is good by ex_ante already: what it lost all the same is generalisation.")
    else:
        lines.append("  The same training with feedback that is good by ex_ante: what is still lost is generalisation.")
        lines.append(f"    {first}")
    lines.append("  The same feedback where the agent will be used: what is lost then is the feedback's doing.")
    lines.append(f"    {second}")
    return lines


def write(store: Store, found: Objectives) -> None:
    """Write the records `revealed.parquet`, `revealed_fits.parquet`, `feedback.parquet`, `generalisation.parquet`,
    `objectives.json` and `revealed.txt`."""
    store.write_table("revealed", _columns(_weight_rows(found)))
    store.write_table("revealed_fits", _columns([_fit_row(read) for read in found.read]))
    if found.feedback:
        store.write_table(
            "feedback",
            _columns(
                [
                    {"arm": row.arm, "seed": row.seed, "acts": row.acts, "penalised": row.penalised}
                    | {f"undeserved_{name}": share for name, share in row.undeserved.items()}
                    | {f"missed_{name}": share for name, share in row.missed.items()}
                    for row in found.feedback
                ]
            ),
        )
    store.write_table("generalisation", _columns([dict(vars(row)) for row in found.utilities]))
    store.write_json(
        "objectives",
        {
            "world": found.world,
            "continuation": found.continuation,
            "decision_points": found.num_points,
            "options": found.num_options,
            "left_out": found.left_out,
            "ideal": dict(found.ideal),
            "design": {name: None if paid is None else dict(paid) for name, paid in found.design.items()},
        },
    )
    text = to_text(ObjectivesReport(found), WIDTH) + "".join(f"{line}\n" for line in ("", *reruns(found, store)))
    store.write_text("revealed.txt", text)


def _weight_rows(found: Objectives) -> list[dict[str, object]]:
    return [
        {
            "arm": read.arm,
            "seed": read.seed,
            "belief": read.belief,
            "event": event,
            "weight": float(weight),
            "missing": read.revealed.missing.get(event, ""),
        }
        for read in found.read
        for event, weight in zip(read.revealed.events, read.revealed.weights, strict=True)
    ]


def _fit_row(read: Read) -> dict[str, object]:
    revealed = read.revealed
    telling = max(revealed.contexts, key=lambda name: abs(revealed.contexts[name]), default="")
    return {
        "arm": read.arm,
        "seed": read.seed,
        "belief": read.belief,
        "explained": revealed.explained,
        "explained_in_context": revealed.explained_in_context,
        "context": telling,
        "context_log_odds": revealed.contexts.get(telling, math.nan),
        "divergence": revealed.divergence,
        "sharpness": revealed.sharpness,
        "agrees_ideal": revealed.agreement["ideal"],
        "agrees_design": revealed.agreement.get("design", math.nan),
        "points": revealed.num_points,
        "refusal": revealed.refusal or "",
    }


def _plain(title: str, caption: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, title_justify="left", caption_justify="left")
    table.title, table.caption = title, caption
    return table


def _text(interval: Interval | None, sign: str = "") -> str:
    if interval is None or math.isnan(interval.mean):
        return "-"
    bounds = f" [{_number(interval.low, sign)}, {_number(interval.high, sign)}]"
    return _number(interval.mean, sign) + (bounds if interval.bounded and interval.reliable else "")


def _number(number: float, sign: str = "") -> str:
    """Two decimals, never `-0.00`."""
    return f"{round(number, 2) + 0.0:{sign}.2f}"


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{share:.0%}"


def _share(numbers: Iterable[float]) -> str:
    known = [number for number in numbers if not math.isnan(number)]
    return f"{fmean(known):.0%}" if known else "-"


def _columns(rows: Sequence[dict[str, object]]) -> dict[str, list[object]]:
    return {name: [row[name] for row in rows] for name in rows[0]}
