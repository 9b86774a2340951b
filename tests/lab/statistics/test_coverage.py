"""How often the reported 95% intervals hold the true mean: the figures in `COVERAGE` are measured again, by simulation.

Each study is a sample of a known distribution of effects over seeds. All comparisons below have an error rate of 0.001
in all, shared out among the shapes and numbers of seeds; the random numbers are fixed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from kerf.lab.statistics.intervals import (
    COVERAGE,
    COVERAGE_SEEDS,
    TOLERATED,
    coverage_sentence,
    mean_bounds,
    sign_flips,
)

NUM_STUDIES = 20_000
BLOCK = 500
"""Studies that are computed at once: above 16 seeds each block has sign patterns of its own."""

PATTERNS = 2048
"""Sign patterns of a block at most: `paired_interval` uses more, which moves its bounds by little."""

SD = 0.05
Draw = Callable[[np.random.Generator, tuple[int, int]], NDArray[np.float64]]


def collapse(share: float) -> tuple[Draw, float]:
    """Seeds that lose 0.9 with probability `share` and nothing else; their mean."""

    def draw(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float64]:
        return rng.normal(np.where(rng.random(size) < share, -0.9, 0.0), SD)

    return draw, -0.9 * share


SHAPES: dict[str, tuple[Draw, float]] = {
    "normal": (lambda rng, size: rng.normal(-0.1, SD, size), -0.1),
    "exponential": (lambda rng, size: -rng.exponential(0.1, size), -0.1),
    "Beta(1, 4)": (lambda rng, size: -rng.beta(1, 4, size), -0.2),
    "lognormal, sigma 0.5": (lambda rng, size: -rng.lognormal(0, 0.5, size), -math.exp(0.125)),
    "lognormal, sigma 1": (lambda rng, size: -rng.lognormal(0, 1, size), -math.exp(0.5)),
    "30% collapse": collapse(0.3),
    "50% collapse": collapse(0.5),
    "80% collapse": collapse(0.8),
}
"""Shape -> effects `(studies, seeds)` and their true mean."""


def hits(shape: str, num_seeds: int, num_studies: int = NUM_STUDIES, entropy: int = 0) -> int:
    """In how many of `num_studies` studies the interval holds the true mean."""
    draw, truth = SHAPES[shape]
    rng = np.random.default_rng(np.random.SeedSequence([entropy, num_seeds, *shape.encode()]))
    found = 0
    for _ in range(num_studies // BLOCK):
        samples = draw(rng, (BLOCK, num_seeds))
        low, high = mean_bounds(samples, sign_flips(num_seeds, rng)[:PATTERNS], 0.95)
        found += int(((low <= truth) & (truth <= high)).sum())
    return found


def shares() -> dict[str, tuple[float, ...]]:
    return {shape: shares for shapes in COVERAGE.values() for shape, shares in shapes.items()}


@pytest.mark.slow
def test_the_coverage_that_is_reported_is_the_coverage_that_is_measured():
    tail = 0.001 / (len(SHAPES) * len(COVERAGE_SEEDS)) / 2
    assert set(shares()) == set(SHAPES)
    wrong = []
    for shape, reported in shares().items():
        for num, share in zip(COVERAGE_SEEDS, reported, strict=True):
            # Half a unit in the third digit is rounding of the constant.
            least = stats.binom.ppf(tail, NUM_STUDIES, share - 0.0005)
            most = stats.binom.isf(tail, NUM_STUDIES, min(1.0, share + 0.0005))
            found = hits(shape, num)
            if not least <= found <= most:
                wrong.append(f"{shape}, {num} seeds: {found / NUM_STUDIES:.4f}, reported {share}")
    assert not wrong


def test_a_wrong_figure_would_be_noticed():
    # The usual bootstrap holds normal means in 84% of studies of 5 seeds, and Student's t exponential ones in 88%.
    few = 2000
    for shape, share in (("normal", 0.84), ("exponential", 0.88)):
        assert hits(shape, 5, few) > stats.binom.isf(0.0005, few, share)


def test_the_sentence_names_every_kind_and_number_of_seeds_that_misses_and_no_other():
    sentence = coverage_sentence()
    least, most = TOLERATED
    assert f"{least:.0%} to {most:.0%} of studies" in sentence
    for kind, shapes in COVERAGE.items():
        expected = {}
        for num, column in zip(COVERAGE_SEEDS, zip(*shapes.values(), strict=True), strict=True):
            if missed := [share for share in column if not least <= share <= most]:
                expected[str(num)] = {f"{min(missed):.1%}", f"{max(missed):.1%}"}
        listed = sentence.partition(f"{kind} (")[2].partition(")")[0]
        parts = [part.split(" seeds: ") for part in listed.split("; ") if part]
        assert {num: set(span.split(" to ")) for num, span in parts} == expected


def test_the_documents_have_the_same_figures():
    text = (Path(__file__).parents[3] / "docs" / "concepts" / "statistics.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.strip().startswith("|")]
    told = {tuple(cells) for _, *cells in rows if all(cell.endswith("%") for cell in cells)}
    assert {tuple(f"{share:.1%}" for share in figures) for figures in shares().values()} <= told
