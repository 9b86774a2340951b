"""Statistical tests of the conformance checks: each gives a p value, and `expect_plausible` judges many together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from kerf.lab.scenario import Scenarios, ScenarioSpace
from kerf.lab.testing.checks import expect

RARE = 5.0
"""Cells of a table with lower expected counts are merged."""


def expect_plausible(p_values: Mapping[str, float], level: float) -> None:
    """Raise `AssertionError` if a p value is at or below `level` over their number (Bonferroni): under the
    null hypotheses that happens with probability `level` at most. Names the least one."""
    expect(p_values, "nothing was tested")
    claim = min(p_values, key=p_values.__getitem__)
    expect(
        p_values[claim] > level / len(p_values),
        f"{claim}: p = {p_values[claim]:.2g}, the smallest of {len(p_values)} tests at level {level:g} together",
    )


def share_fits(count: int, number: int, low: float, high: float | None = None) -> float:
    """Two-sided exact binomial p value of `count` in `number`, for a probability in [`low`, `high`] (`high`: `low`).

    `low` may be a mean of probabilities that differ: their sum then has a smaller variance than a binomial, so the test
    is conservative (Hoeffding 1956).
    """
    from scipy import stats

    high = low if high is None else high
    nearest = min(max(count / number, low), high)
    return float(stats.binomtest(count, number, min(max(nearest, 0.0), 1.0)).pvalue)


def same_law(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """Chi-square p value that two samples of whole numbers, `(n,)` and `(m,)`, have the same distribution; 1 if there
    is one value.

    Rare values are merged.
    """
    from scipy import stats

    values, place = np.unique(np.concatenate((one, other)), return_inverse=True)
    table = np.stack(
        [np.bincount(part, minlength=len(values)) for part in (place[: len(one)], place[len(one) :])]
    ).astype(np.float64)
    total = table.sum(axis=0)
    rare = total * min(len(one), len(other)) / total.sum() < RARE
    table = np.column_stack((table[:, ~rare], table[:, rare].sum(axis=1)))
    table = table[:, table.sum(axis=0) > 0]
    return float(stats.chi2_contingency(table).pvalue) if table.shape[1] > 1 else 1.0


def follows(drawn: NDArray[np.int64], values: NDArray[np.int64], probs: NDArray[np.float64]) -> float:
    """Chi-square p value of `drawn` `(n,)` under the distribution `probs` `(m,)` on `values` `(m,)`, which are
    distinct; 0 for a value of probability 0."""
    from scipy import stats

    order = np.argsort(values)
    place = np.searchsorted(values, drawn, sorter=order).clip(max=len(values) - 1)
    if (values[order][place] != drawn).any():
        return 0.0
    counts = np.bincount(order[place], minlength=len(values))
    expected = probs / probs.sum() * len(drawn)
    rare = expected < RARE
    found, asked = (np.append(part[~rare], part[rare].sum()) for part in (counts, expected))
    kept = asked > 0
    return float(stats.chisquare(found[kept], asked[kept]).pvalue) if kept.sum() > 1 else 1.0


def independent(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """Chi-square p value that a flag `one` `(n,)` is independent of `other` `(n,)`; 1 if either has one value. Rare
    values of `other` are merged."""
    values, place = np.unique(one, return_inverse=True)
    if len(values) < 2:
        return 1.0
    first = place == 0
    return same_law(other[first], other[~first])


def fields_of_one_law(
    space: ScenarioSpace, one: Scenarios, other: Scenarios, names: Iterable[str], pairs: Iterable[str] = ()
) -> dict[str, float]:
    """P values that the fields `names`, and each pair of the fields `pairs`, have the same distribution in both
    samples.

    Args:
        space: Space of the scenarios.
        one: `(n, F)`.
        other: `(m, F)`.
        names: Fields.
        pairs: Fields.
    """
    columns = {name: space.column(name) for name in (*names, *pairs)}
    span = int(space.high.max()) - int(space.low.min()) + 1

    def joint(rows: Scenarios, words: tuple[str, ...]) -> NDArray[np.int64]:
        numbers = np.zeros(len(rows), np.int64)
        for word in words:
            numbers = numbers * span + rows[:, columns[word]]
        return numbers

    claims = [*((name,) for name in dict.fromkeys(names)), *combinations(tuple(pairs), 2)]
    return {" and ".join(words): same_law(joint(one, words), joint(other, words)) for words in claims}
