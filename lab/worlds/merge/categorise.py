"""Three ways to call a failure outer or inner misalignment, each with its free choice made explicit, side by side.

After "Categorizing failures as 'outer' or 'inner' misalignment is often confused" (Shah), which finds that they
disagree. They read the same exact facts (`kerf.lab.worlds.merge.cases`). None of them is Kerf's own verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from kerf.lab.worlds.merge.cases import CASES, SLACK, Case, Facts, facts

OUTER, INNER, BOTH, EITHER, NEITHER = "outer", "inner", "both", "either", "neither"
AMBIGUOUS = "ambiguous"
"""Assistants that fit the story get different labels."""
NO_FAILURE = "no failure"

Categoriser = Callable[[Facts], str]


def by_objectives(counterfactual: str, found: Facts) -> str:
    """By objectives: ideal, design and revealed.

    Outer: an optimum of the design objective falls short of the ideal one. Inner: the assistant falls short of the
    design objective. The free choice is the counterfactual: what would have been paid where training never was.
    """
    outer, inner = found.design_falls_short[counterfactual], found.policy_falls_short[counterfactual]
    return BOTH if outer and inner else OUTER if outer else INNER


def by_generalisation(bad: Callable[[Facts], bool], found: Facts) -> str:
    """By generalisation. Outer: feedback on the training data was `bad`. Inner: it was not. What is bad is the free
    choice."""
    return OUTER if bad(found) else INNER


def by_root_cause(found: Facts) -> str:
    """By root cause: which remedy, alone, would have driven training away from this assistant?

    Outer: feedback that pays the ideal utility in the situations of training. Inner: the same feedback in the
    situations of deployment, too. A remedy would have if by it the assistant falls shorter of what training pays.
    """
    mended = found.shortfall_if_mended > found.shortfall + SLACK
    covered = found.shortfall_if_covered > found.shortfall + SLACK
    return EITHER if mended and covered else OUTER if mended else INNER if covered else NEITHER


def wrong_on_outputs(found: Facts) -> bool:
    """Bad feedback: it misjudged something that the assistant did."""
    return found.misjudged


def wrong_on_any_output(found: Facts) -> bool:
    """Bad feedback: it misjudged, or would have, something that could be done in the situations of training."""
    return found.could_misjudge


def wrong_on_reasons(found: Facts) -> bool:
    """Bad feedback: it misjudged something, or paid for what was done well only because the assistant was monitored."""
    return found.misjudged or found.ulterior


CATEGORISERS: Mapping[str, Categoriser] = {
    "objectives: clicks": partial(by_objectives, "clicks"),
    "objectives: careful": partial(by_objectives, "careful"),
    "generalisation: outputs": partial(by_generalisation, wrong_on_outputs),
    "generalisation: any output": partial(by_generalisation, wrong_on_any_output),
    "generalisation: reasons": partial(by_generalisation, wrong_on_reasons),
    "root cause": by_root_cause,
}
"""Categorisation, with its free choice -> the categoriser."""


def label(categoriser: Categoriser, found: Sequence[Facts]) -> str:
    """The label of a story, from the facts about each assistant that fits it."""
    labels = {categoriser(each) if each.fails else NO_FAILURE for each in found}
    return labels.pop() if len(labels) == 1 else AMBIGUOUS


def labels(cases: Sequence[Case] = CASES) -> NDArray[np.str_]:
    """The label of each case by each categoriser, `(cases, categorisers)`."""
    found = [[facts(case, assistant) for assistant in case.assistants] for case in cases]
    return np.array([[label(categoriser, each) for categoriser in CATEGORISERS.values()] for each in found])


def disagreement(given: NDArray[np.str_]) -> NDArray[np.int64]:
    """The number of cases that each two categorisers label differently, `(categorisers, categorisers)`."""
    return np.asarray((given[:, :, None] != given[:, None, :]).sum(axis=0), np.int64)


def tables() -> str:
    """Labels, and disagreement of the failures among the cases, as Markdown."""
    given = labels()
    failures = (given != NO_FAILURE).any(axis=1)
    names = tuple(CATEGORISERS)
    differing = disagreement(given[failures])
    return "\n\n".join(
        (
            _table(("case", *names), [(case.name, *row) for case, row in zip(CASES, given.tolist(), strict=True)]),
            f"Of {failures.sum()} failures, labelled differently:",
            _table(("", *names), [(name, *map(str, row)) for name, row in zip(names, differing.tolist(), strict=True)]),
        )
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
