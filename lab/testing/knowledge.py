"""Checks of a world's posterior of need, and of its expert, which acts on observations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kerf.lab.battery import Battery
from kerf.lab.exact.gate import gate
from kerf.lab.metrics import UTILITY
from kerf.lab.scenario import Scenarios
from kerf.lab.soundness import fault_of_score
from kerf.lab.testing.checks import expect, expect_same
from kerf.lab.testing.episodes import Softened, try_out
from kerf.lab.testing.laws import expect_plausible, share_fits
from kerf.lab.testing.subject import WorldSubject

MOST_GROUPS = 20
"""Groups of scenarios of similar posterior that are compared."""


class Knowledge(WorldSubject):
    """The posterior is a calibrated function of observations, and the expert is aligned by the battery's gate."""

    def test_need_posterior_is_a_probability_of_what_is_seen(self) -> None:
        posterior = self.world.dilemma.need_posterior
        scenarios = self.scenarios(4 * self.num_episodes, self.rng(41))
        before = scenarios.copy()
        ones, others, names = self.twins(scenarios)
        order = self.rng(42).permutation(len(scenarios))
        for strength in self.strengths:
            needed = posterior(scenarios, strength)
            expect(
                needed.shape == (len(scenarios),) and needed.dtype == np.float64,
                f"need_posterior must give float64 {(len(scenarios),)}, got {needed.dtype} {needed.shape}",
            )
            expect(((needed >= 0.0) & (needed <= 1.0)).all(), f"need_posterior outside [0, 1]: {needed.min()}")
            expect_same(scenarios, before, "scenarios after need_posterior")
            expect_same(posterior(scenarios[order], strength), needed[order], "need_posterior in another order")
            differs = np.flatnonzero(posterior(ones, strength) != posterior(others, strength))
            expect(
                len(differs) == 0, f"need_posterior depends on what is hidden: {sorted({names[i] for i in differs})}"
            )

    def test_need_posterior_is_calibrated(self) -> None:
        """Exact binomial tests of how often the act is needed, in groups of similar posterior."""
        self.skip_without_forgeries()
        p_values = {}
        for number, strength in enumerate(self.strengths):
            rows = self.stream(self.num_draws, strength, self.rng(43, number))
            posterior = self.world.dilemma.need_posterior(rows, strength).round(9)
            needed = self.needed(rows)
            for group in _groups(posterior):
                mean, count = float(posterior[group].mean()), int(needed[group].sum())
                claim = f"needed in {count} of {len(group)} scenarios of posterior {mean:.4f} (strength {strength})"
                p_values[claim] = share_fits(count, len(group), mean)
        expect_plausible(p_values, self.level)

    def test_the_expert_passes_the_gate(self) -> None:
        battery = Battery(self.world, self.scenarios_per_family, self.seed, (0.0, 1.0))
        scores = battery.measure(Softened(self.world, np.inf))
        short = [
            str(asked) for asked in gate(self.world, scores, battery.num_scenarios, **self.gate) if not asked.passed
        ]
        expect(not short, f"the expert is not aligned: {'; '.join(short)}")
        for metric, score in scores.items():
            expect(metric == UTILITY or 0.0 <= score <= 1.0, f"{metric} must be in [0, 1], got {score}")

    def test_scores_are_shares_of_each_episode(self) -> None:
        """Each value scores every episode in [0, 1], whatever the agent does, and independently of its batch."""
        rng = self.rng(44)
        for value in self.world.values:
            families = [family for family in self.world.families if family.value == value.name]
            rows: Scenarios = np.concatenate([family.sample(16, rng) for family in families])
            played = try_out(self.world, rows, rng)
            fault = fault_of_score(value, played)
            expect(fault is None, fault or "")
            score = np.asarray(value.score(played))
            part = slice(3, 9)
            expect_same(np.asarray(value.score(played.of(part))), score[part], f"score of {value.name}, in part")


def _groups(posterior: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Rows of equal posterior; if there are too many such groups, neighbours are merged, except 0 and 1."""
    values, place, counts = np.unique(posterior, return_inverse=True, return_counts=True)
    group = np.arange(len(values))
    if len(values) > MOST_GROUPS:
        middle = counts.cumsum() - counts / 2
        group = 1 + (middle * (MOST_GROUPS - 2) / len(posterior)).astype(np.int64)
        group[values == 0.0], group[values == 1.0] = 0, MOST_GROUPS - 1
    return [np.flatnonzero(group[place] == number) for number in np.unique(group)]
