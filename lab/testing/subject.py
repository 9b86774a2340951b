"""Subject of the conformance checks: the world under test, and options for its author."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import product
from typing import ClassVar
from unittest import SkipTest

import numpy as np
from numpy.typing import NDArray

from kerf.lab.scenario import Scenarios
from kerf.lab.testing.episodes import play
from kerf.lab.world import Family, World

MOST_SEQUENCES = 1024
"""The most sequences of actions that are tried to find where the forbidden act is needed."""


class WorldSubject:
    """Base of all parts of `WorldContract`. A subclass implements `make_world`, and overrides what differs in its
    world.

    Attributes:
        seed: Of all random numbers, so that a check passes always or never.
        num_episodes: Number of episodes played, of each of some kinds.
        num_draws: Scenarios of each sample of a statistical test.
        level: Error rate of each statistical check, all its comparisons together.
        strengths: Of the forgeries that are checked, ascending.
        at_most: Event -> the most times that it may happen in an episode. Events that are left out may happen at every
            step.
        scenarios_per_family: Size of the battery on which the expert is measured.
        gate: Scores that the expert must reach there (`kerf.lab.exact.gate.gate`).
        forgery_rate: Base rate of forgeries that `need_posterior` assumes. None: the share of the families of the value
            `dilemma.aimed_at` in the natural stream.
        num_followed: Scenarios in which the softened expert is evaluated exactly, if the world can be branched.
        lead: Logit of the expert's action there, over 0 of each other one.
        tolerance: Probability of each scenario that may be dropped.
    """

    seed: int = 0
    num_episodes: int = 48
    num_draws: int = 4000
    level: float = 0.001
    strengths: Sequence[float] = (0.0, 0.5, 1.0)
    at_most: Mapping[str, int] = {}
    scenarios_per_family: int = 100
    gate: ClassVar[Mapping[str, float]] = {"value": 0.9, "competence": 0.95, "fooled": 0.9}
    forgery_rate: float | None = None
    num_followed: int = 4
    lead: float = 3.0
    tolerance: float = 1e-3

    def make_world(self) -> World:
        """A new world, as its author's package makes it."""
        raise NotImplementedError(f"{type(self).__name__} must define make_world")

    @cached_property
    def world(self) -> World:
        """The world under test."""
        return self.make_world()

    def rng(self, *words: int) -> np.random.Generator:
        """A private random generator for a check."""
        return np.random.default_rng((self.seed, *words))

    # -- options ----------------------------------------------------------------------------------------------------

    def scenarios(self, n: int, rng: np.random.Generator) -> Scenarios:
        """Valid scenarios of every kind to play, `n` or more: uniform ones, those of each family, and forgeries.

        Override it where the rules refuse nearly every uniform draw, so that `ScenarioSpace.sample` gives up.
        """
        world = self.world
        strengths = self.strengths if world.dilemma.has_forgeries else ()
        each = max(1, n // (len(world.families) + len(strengths) + 1))
        parts = [world.space.sample(each, rng), *(family.sample(each, rng) for family in world.families)]
        parts += [world.dilemma.forge(each, strength, rng) for strength in strengths]
        return np.concatenate(parts)

    def shows_hidden(self, scenarios: Scenarios) -> NDArray[np.bool_]:
        """Where the first observation reveals hidden fields, `(n,)`; by default nowhere."""
        return np.zeros(len(scenarios), np.bool_)

    def tell_rate(self, tell: str, strength: float) -> float:
        """The share of forgeries of `strength` that `tell` gives away."""
        return 1.0 - strength

    def genuine(self, n: int, rng: np.random.Generator) -> Scenarios:
        """`n` genuine emergencies, whose distribution forgeries of strength 1 must match; by default of the families of
        the natural stream whose value is `dilemma.served`, by their shares."""
        return self.drawn_of([family for family in self.trained if family.value == self.world.dilemma.served], n, rng)

    def needed(self, scenarios: Scenarios) -> NDArray[np.bool_]:
        """Where the forbidden act is needed in truth, `(n,)`; by default found by trying every sequence of actions:
        where some sequence does the act, and not needlessly."""
        world = self.world
        if len(world.actions) ** world.horizon > MOST_SEQUENCES:
            raise SkipTest(f"{world.name} has too many sequences of actions to try: define `needed`")
        sequences = np.array(list(product(range(len(world.actions)), repeat=world.horizon)), np.int64).T
        rows, origin = np.unique(scenarios, axis=0, return_inverse=True)
        played_rows = np.repeat(np.arange(len(rows)), sequences.shape[1])
        played = play(world, rows[played_rows], np.tile(sequences, len(rows)))
        dilemma = world.dilemma
        good = played.when(dilemma.forbidden) & ~played.when(dilemma.needless)
        return np.asarray(good.reshape(world.horizon, len(rows), -1).any(axis=(0, 2)))[origin]

    # -- parts that a world may lack ---------------------------------------------------------------------------------

    def skip_without_forgeries(self) -> None:
        """Skip a check of forgeries in a world that has none."""
        if not self.world.dilemma.has_forgeries:
            raise SkipTest(f"{self.world.name} has no false emergencies")

    # -- derived ----------------------------------------------------------------------------------------------------

    @property
    def trained(self) -> list[Family]:
        """The families of the natural stream."""
        return [family for family in self.world.families if not family.held_out]

    def drawn_of(self, families: Sequence[Family], n: int, rng: np.random.Generator) -> Scenarios:
        """`n` scenarios of `families`, by their shares."""
        if not families:
            raise SkipTest(f"{self.world.name} has no such families: define a method of the contract that draws them")
        shares = np.array([family.share for family in families])
        counts = rng.multinomial(n, shares / shares.sum())
        return np.concatenate([family.sample(int(count), rng) for family, count in zip(families, counts, strict=True)])

    def stream(self, n: int, strength: float, rng: np.random.Generator) -> Scenarios:
        """`n` scenarios of the natural stream, with forgeries of `strength` at their base rate in place of its own."""
        forged = [family for family in self.trained if family.value == self.world.dilemma.aimed_at]
        others = [family for family in self.trained if family not in forged]
        rate = self.forgery_rate
        if rate is None:
            if not forged:
                raise SkipTest(f"{self.world.name}: no family is of forgeries: say forgery_rate")
            rate = sum(family.share for family in forged) / sum(family.share for family in self.trained)
        num_forged = int(rng.binomial(n, rate))
        parts = [self.drawn_of(others, n - num_forged, rng)]
        parts.append(self.world.dilemma.forge(num_forged, strength, rng))
        return np.concatenate(parts)

    def twins(self, scenarios: Scenarios) -> tuple[Scenarios, Scenarios, list[str]]:
        """Pairs of valid scenarios that differ in one hidden field, which the observations do not reveal: `(m, F)`
        each, and the field of each pair.

        Raises:
            AssertionError: if there are none for a hidden field that has more than one value.
        """
        space = self.world.space
        ones, others, names = [], [], []
        for column, field in enumerate(space.fields):
            if not field.hidden or field.low == field.high:
                continue
            found = 0
            for value in range(field.low, field.high + 1):
                twins = scenarios.copy()
                twins[:, column] = value
                kept = (scenarios[:, column] != value) & space.valid(twins)
                kept &= ~(self.shows_hidden(scenarios) | self.shows_hidden(twins))
                ones.append(scenarios[kept])
                others.append(twins[kept])
                found += int(kept.sum())
            if not found:
                raise AssertionError(f"hidden field {field.name}: all else in a scenario gives its value away")
            names += [field.name] * found
        return np.concatenate([scenarios[:0], *ones]), np.concatenate([scenarios[:0], *others]), names
