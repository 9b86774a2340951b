"""Checks of a world's false emergencies: the effect of strength, and fields that cannot be forged."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kerf.lab.forging import REASONS, Forging
from kerf.lab.scenario import Scenarios
from kerf.lab.testing.checks import expect, expect_same
from kerf.lab.testing.laws import expect_plausible, fields_of_one_law, independent, share_fits
from kerf.lab.testing.subject import WorldSubject

HALF = 0.5
"""A strength at which tells are informative, but not fully."""


class Forgeries(WorldSubject):
    """Strength is the share of tells that a forgery hides; all other fields are distributed as in genuine
    emergencies."""

    def forged(self, strength: float, word: int) -> Scenarios:
        """A sample of forgeries."""
        self.skip_without_forgeries()
        return self.world.dilemma.forge(self.num_draws, strength, self.rng(word, 31))

    def column(self, scenarios: Scenarios, name: str) -> NDArray[np.int64]:
        return scenarios[:, self.world.space.column(name)].astype(np.int64)

    def observable(self) -> list[str]:
        return [field.name for field in self.world.space.fields if not field.hidden]

    def test_each_tell_gives_away_as_often_as_strength_says(self) -> None:
        """Exact binomial tests against `tell_rate`."""
        self.skip_without_forgeries()
        p_values = {}
        for number, strength in enumerate(self.strengths):
            rows = self.forged(strength, number)
            for tell in self.world.dilemma.tells:
                shown, rate = int(self.column(rows, tell).sum()), self.tell_rate(tell, strength)
                claim = f"{tell} gives {shown} of {len(rows)} forgeries of strength {strength} away, not {rate:.3g}"
                p_values[claim] = share_fits(shown, len(rows), rate)
        expect_plausible(p_values, self.level)

    def test_tells_of_a_forgery_are_independent_of_all_else(self) -> None:
        """Chi-square tests of each tell against each other field."""
        rows = self.forged(HALF, 5)
        p_values = {
            f"{tell} and {field.name} of forgeries of strength {HALF}": independent(
                self.column(rows, tell), self.column(rows, field.name)
            )
            for tell in self.world.dilemma.tells
            for field in self.world.space.fields
            if field.name != tell
        }
        expect_plausible(p_values, self.level)

    def test_forgeries_of_strength_one_look_genuine(self) -> None:
        """Chi-square tests of each observable field, and of each pair of forgeable ones."""
        self.skip_without_forgeries()
        genuine = self.genuine(self.num_draws, self.rng(32))
        space = self.world.space
        pairs = [field.name for field in space.fields if field.forgeable and not field.hidden]
        tests = fields_of_one_law(space, genuine, self.forged(1.0, 6), self.observable(), pairs)
        expect_plausible({f"{what} tells forged from genuine": p for what, p in tests.items()}, self.level)

    def test_tells_of_strength_zero_give_forgeries_away(self) -> None:
        """Each tell is more probable in a forgery than in a genuine emergency, and the posterior uses it."""
        from scipy import stats

        rows = self.forged(0.0, 7)
        dilemma, genuine = self.world.dilemma, self.genuine(self.num_draws, self.rng(33))
        for tell in dilemma.tells:
            table = [np.bincount(self.column(part, tell), minlength=2) for part in (rows, genuine)]
            p = float(stats.fisher_exact(np.array(table), alternative="less").pvalue)
            expect(
                p < self.level, f"{tell} is no likelier on forgeries of strength 0 than on genuine ones (p = {p:.2g})"
            )
        known = dilemma.need_posterior(rows, 0.0).mean()
        unknown = dilemma.need_posterior(self.forged(1.0, 8), 1.0).mean()
        expect(
            known < unknown, f"need_posterior is {known:.3f} of forgeries of strength 0, {unknown:.3f} of strength 1"
        )

    def test_strength_changes_only_what_can_be_forged(self) -> None:
        """Chi-square tests of every field that is not forgeable, against forgeries of strength 0."""
        space = self.world.space
        fixed = [field.name for field in space.fields if not field.forgeable]
        base = self.forged(0.0, 9)
        p_values = {}
        for number, strength in enumerate(self.strengths[1:]):
            for name, p in fields_of_one_law(space, base, self.forged(strength, 10 + number), fixed).items():
                p_values[f"{name}, which cannot be forged, changes with strength {strength}"] = p
        expect_plausible(p_values, self.level)

    def test_what_nature_forges_is_played_as_it_is(self) -> None:
        """The rules of forging (`kerf.lab.forging`) refuse none of the world's own forgeries."""
        self.skip_without_forgeries()
        for number, strength in enumerate(self.strengths):
            forging = Forging(self.world, strength)
            fresh = forging.draw(self.num_draws // 4, self.rng(34, number))
            bare = forging.without_tells(fresh)
            forged = forging.enforce(fresh, bare, bare)
            if forged.refused.any():
                row = int(np.flatnonzero(forged.refused)[0])
                reason, text = REASONS[forged.refused[row] - 1], self.world.space.to_text(fresh[row])
                raise AssertionError(f"a forgery of strength {strength} is refused ({reason}): {text}")
            expect_same(forged.scenarios, fresh, f"forgeries of strength {strength}")
