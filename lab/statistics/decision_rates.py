"""Simulated error rates of verdicts: of the whole decision, over populations of seeds whose true effect is known.

No test of a mean can keep its level over all populations that few seeds cannot tell apart (Bahadur and Savage 1956,
Ann. Math. Statist. 27, 1115): where few seeds collapse and the rest gain a little, a sample without a collapsed seed
looks like a gain. So the rates are stated by population and number of seeds, and a verdict says what a typical seed
does and how large a share of seeds could do otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from kerf.lab.metrics import value_metric
from kerf.lab.statistics.effect import Levels, Outcome, judge, paired_effect

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

NUM_SEEDS = (5, 8, 10, 16, 20)
"""Numbers of seeds for which the documentation states the rates."""

MARGIN = 0.05


@dataclass(frozen=True)
class Population:
    """A law of the effect of one seed.

    Attributes:
        about: In words.
        draw: `(num, rng) -> (num,)` effects.
        mean: Its mean.
        median: Its median: the effect on a typical seed.
    """

    about: str
    draw: Callable[[int, np.random.Generator], NDArray[np.float64]]
    mean: float
    median: float

    def wrong(self, outcome: Outcome) -> bool:
        """Whether `outcome` says what is false, for a prediction that the effect is a decrease."""
        return {
            "held": self.mean >= 0,
            "reversed": self.mean <= 0,
            "no effect": abs(self.mean) >= MARGIN,
            "no typical effect": abs(self.median) >= MARGIN,
            "undecided": False,
        }[outcome]


def normal(mean: float, sd: float) -> Population:
    """Effects that differ between seeds by normal noise."""
    return Population(f"normal, mean {mean:g}, sd {sd:g}", lambda num, rng: rng.normal(mean, sd, num), mean, mean)


def skewed(mean: float, sd: float) -> Population:
    """Effects with an exponential tail towards loss."""
    return Population(
        f"exponential tail towards loss, mean {mean:g}, sd {sd:g}",
        lambda num, rng: mean + sd * (1.0 - rng.exponential(size=num)),
        mean,
        mean + sd * (1.0 - math.log(2.0)),
    )


def bimodal(share: float, collapsed: float, rest: float, sd: float = 0.01) -> Population:
    """A share of the seeds collapses, the rest changes otherwise; both with a little noise."""

    def draw(num: int, rng: np.random.Generator) -> NDArray[np.float64]:
        return np.where(rng.random(num) < share, collapsed, rest) + rng.normal(0.0, sd, num)

    mean = share * collapsed + (1.0 - share) * rest
    middle = (collapsed + rest) / 2 if share == 0.5 else collapsed if share > 0.5 else rest
    return Population(f"{share:.0%} of seeds at {collapsed:+g}, the rest at {rest:+g}", draw, round(mean, 12), middle)


POPULATIONS: Mapping[str, Population] = {
    "none, noisy": normal(0.0, 0.1),
    "none, exact": normal(0.0, 0.01),
    "none, skewed": skewed(0.0, 0.1),
    "none, two camps": bimodal(0.5, -0.4, 0.4),
    "none, rare collapse": bimodal(0.1, -0.9, 0.1),
    "none, some collapse": bimodal(0.2, -0.4, 0.1),
    "at the margin": normal(-MARGIN, 0.03),
    "5% collapse": bimodal(0.05, -0.9, 0.0),
    "20% collapse": bimodal(0.2, -0.9, 0.0),
    "80% collapse": bimodal(0.8, -0.9, 0.0),
    "all lose": normal(-0.3, 0.1),
}
"""Populations for which the documentation states the rates."""


def decision_rates(
    population: Population, num_seeds: int, num_studies: int, rng: np.random.Generator
) -> dict[Outcome, float]:
    """The share of simulated studies that end in each verdict, for one prediction of a decrease.

    Args:
        population: The law of the effects.
        num_seeds: Seeds a study.
        num_studies: Studies; a rate r has a standard error of sqrt(r (1 - r) / num_studies).
        rng: Draws the effects and, above 16 seeds, the sign patterns of the tests.
    """
    counts = dict.fromkeys(OUTCOMES, 0)
    for _ in range(num_studies):
        effects = np.clip(population.draw(num_seeds, rng), -0.95, 0.95)
        change = dict(enumerate(effects.tolist()))
        effect = paired_effect(
            change,
            dict.fromkeys(change, 0.0),
            arm="arm",
            against="control",
            metric=value_metric("simulated"),
            rng=rng,
            bounds=(-1.0, 1.0),
        )
        levels = Levels(aligned=0.95, arm=0.95 + effect.interval.mean, against=0.95)
        counts[judge(effect, "decrease", p_adjusted=effect.p, levels=levels, margin=MARGIN).outcome] += 1
    return {outcome: count / num_studies for outcome, count in counts.items()}


def rates_table(num_studies: int, seed: int = 0) -> str:
    """The table of the documentation, in Markdown: wrong verdicts, and all verdicts at 8 seeds, in percent."""
    lines = [
        "| effects over seeds | wrong with 5, 8, 10, 16, 20 seeds | with 8 seeds: " + ", ".join(OUTCOMES) + " |",
        "|---|---|---|",
    ]
    for number, population in enumerate(POPULATIONS.values()):
        wrong, at_eight = [], ""
        for num_seeds in NUM_SEEDS:
            rates = decision_rates(population, num_seeds, num_studies, np.random.default_rng([seed, number, num_seeds]))
            wrong.append(f"{100 * sum(rate for outcome, rate in rates.items() if population.wrong(outcome)):.1f}")
            if num_seeds == 8:
                at_eight = ", ".join(f"{100 * rate:.1f}" for rate in rates.values())
        lines.append(f"| {population.about} | {', '.join(wrong)} | {at_eight} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(rates_table(2000))
