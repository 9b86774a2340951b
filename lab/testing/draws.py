"""Checks of a world's scenario distributions: the natural stream, families and forgeries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from unittest import SkipTest

import numpy as np
from numpy.typing import NDArray

from kerf.lab.distinct import row_hash
from kerf.lab.scenario import Scenarios
from kerf.lab.testing.checks import expect, expect_same, global_randomness
from kerf.lab.testing.laws import expect_plausible, follows
from kerf.lab.testing.subject import WorldSubject
from kerf.lab.world import World, natural, natural_exactly

Sample = Callable[[int, np.random.Generator], Scenarios]
Exact = Callable[[], tuple[Scenarios, NDArray[np.float64]]]


class Draws(WorldSubject):
    """Scenarios are valid, and a function of the random generator."""

    def sources(self, world: World) -> Iterator[tuple[str, Sample, Exact | None]]:
        """Every distribution of `world`: its name, its sampler, and its enumeration, or None."""
        everything = all(family.exact is not None for family in self.trained)
        yield "natural", partial(natural, world), partial(natural_exactly, world) if everything else None
        for family in world.families:
            yield family.name, family.sample, family.exact
        if not world.dilemma.has_forgeries:
            return
        exact = world.dilemma.exact_forgeries
        for strength in self.strengths:
            for held_out in (False, True):
                yield (
                    f"forgeries of strength {strength}{', held out' if held_out else ''}",
                    partial(_forged, world, strength, held_out),
                    partial(exact, strength, held_out) if exact else None,
                )

    def test_draws_are_valid_scenarios(self) -> None:
        space = self.world.space
        for name, sample, _ in self.sources(self.world):
            for n in (0, 1, 257):
                drawn = sample(n, self.rng(n))
                expect(drawn.shape == (n, len(space)), f"{name}: shape {(n, len(space))} expected, got {drawn.shape}")
                expect(drawn.dtype == np.int16, f"{name}: int16 expected, got {drawn.dtype}")
                try:
                    space.validate(drawn)
                except Exception as error:
                    raise AssertionError(f"{name}: {error}") from error

    def test_same_seed_same_scenarios_other_seed_others(self) -> None:
        drawn = {name: sample(64, self.rng(7)) for name, sample, _ in self.sources(self.world)}
        for whose, world in (("again", self.world), ("by another such world", self.make_world())):
            for name, sample, _ in self.sources(world):
                expect_same(drawn[name], sample(64, self.rng(7)), f"{name}: drawn {whose} from the same seed")
        other = {name: sample(64, self.rng(8)) for name, sample, _ in self.sources(self.world)}
        for name, rows in drawn.items():
            if name == "natural" or len(np.unique(rows, axis=0)) > 1:
                expect(rows.tobytes() != other[name].tobytes(), f"{name}: another seed draws the same")

    def test_draws_use_no_global_randomness(self) -> None:
        for name, sample, _ in self.sources(self.world):
            found = []
            for seed in (1, 2):
                with global_randomness(seed):
                    found.append(sample(16, self.rng(3)))
            expect_same(found[0], found[1], f"{name}: drawn under two seeds of the global generators")

    def test_held_out_scenarios_are_never_drawn_in_training(self) -> None:
        world, rng = self.world, self.rng(4)
        dilemma = world.dilemma
        strengths = self.strengths if dilemma.has_forgeries else ()
        trained = [natural(world, self.num_draws, rng)]
        trained += [dilemma.forge(self.num_draws // 4, strength, rng) for strength in strengths]
        seen = set(keys(np.concatenate(trained)).tolist())
        tried = {family.name: family.sample(200, rng) for family in world.families if family.held_out}
        if strengths:
            tried["held-out forgeries"] = np.concatenate(
                [dilemma.forge(200, strength, rng, True) for strength in strengths]
            )
        for name, rows in tried.items():
            both = np.flatnonzero([key in seen for key in keys(rows).tolist()])
            if len(both):
                raise AssertionError(f"{name}: training draws {world.space.to_text(rows[both[0]])}, too")

    def test_what_is_written_out_is_what_is_drawn(self) -> None:
        """Chi-square tests of whole scenarios and of each field."""
        p_values: dict[str, float] = {}
        space, rng = self.world.space, self.rng(5)
        for name, sample, exact in self.sources(self.world):
            if exact is None:
                continue
            rows, probs = exact()
            space.validate(rows)
            expect((probs > 0).all(), f"{name}: written out with a probability that is not above 0")
            expect(abs(probs.sum() - 1.0) < 1e-9, f"{name}: probabilities sum to {probs.sum()}, not to 1")
            expect(len(np.unique(keys(rows))) == len(rows), f"{name}: a scenario is written out twice")
            drawn = sample(5 * self.num_draws, rng)
            p_values[name] = whole_scenarios_follow(drawn, rows, probs)
            for column, field in enumerate(space.fields):
                values = np.arange(field.low, field.high + 1)
                law = np.bincount(rows[:, column] - field.low, probs, len(values)).astype(np.float64)
                kept = law > 0
                p_values[f"{name}: {field.name}"] = follows(drawn[:, column].astype(np.int64), values[kept], law[kept])
        if not p_values:
            raise SkipTest(f"{self.world.name} writes nothing out")
        expect_plausible(p_values, self.level)


def _forged(world: World, strength: float, held_out: bool, n: int, rng: np.random.Generator) -> Scenarios:
    return world.dilemma.forge(n, strength, rng, held_out)


def whole_scenarios_follow(drawn: Scenarios, rows: Scenarios, probs: NDArray[np.float64]) -> float:
    """Chi-square p value of `drawn` `(n, F)` under the distribution `probs` `(m,)` on `rows` `(m, F)`, which are
    distinct."""
    _, places = np.unique(keys(np.concatenate((rows, drawn))), return_inverse=True)
    return follows(places[len(rows) :], places[: len(rows)], probs)


def keys(scenarios: Scenarios) -> NDArray[np.uint64]:
    """A 64-bit hash of each row, `(n,)`."""
    return row_hash(np.ascontiguousarray(scenarios, np.int32).view(np.uint32), 0)
