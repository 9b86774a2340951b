"""Conformance kit of generators, for the test suites of plug-ins; `kerf.lab.testing` has that of worlds.

class TestMine(AdversaryContract):
    def make_world(self):
        return get_world("station")

    def make_generator(self, strength):
        return Mine(self.world, GeneratorSettings(kind="mine", strength=strength))
"""

from __future__ import annotations

import copy
import json
from functools import cached_property, partial
from typing import Any

import numpy as np

from kerf.generators.adversary import Adversary
from kerf.generators.base import Generator
from kerf.lab.forging import Forging
from kerf.lab.scenario import Scenarios
from kerf.lab.testing.checks import expect, expect_raises, expect_same, global_randomness
from kerf.lab.testing.laws import expect_plausible, fields_of_one_law
from kerf.lab.world import World, natural

ROUND = 96
"""Scenarios per `ask`."""


class GeneratorSubject:
    """The generator under test: base of all contracts. A subclass implements `make_world` and `make_generator`.

    Attributes:
        seed: Of all random numbers, so that a check passes always or never.
        strength: Of the generator under test.
        num_draws: Scenarios of each sample of a statistical test.
        level: Error rate of each statistical check, all its comparisons together.
    """

    seed: int = 0
    strength: float = 0.5
    num_draws: int = 4000
    level: float = 0.001

    def make_world(self) -> World:
        """A world whose scenarios it generates."""
        raise NotImplementedError(f"{type(self).__name__} must define make_world")

    def make_generator(self, strength: float) -> Generator:
        """A new, untrained generator for `self.world`, always of the same settings."""
        raise NotImplementedError(f"{type(self).__name__} must define make_generator")

    @cached_property
    def world(self) -> World:
        """The world, one for all generators of a check."""
        return self.make_world()

    def make(self) -> Generator:
        """Another generator of the kind under test."""
        generator = self.make_generator(self.strength)
        expect(isinstance(generator, Generator), f"a generator subclasses Generator, got {type(generator).__name__}")
        return generator

    def rng(self, *words: int) -> np.random.Generator:
        """A private random generator for a check."""
        return np.random.default_rng((self.seed, *words))

    def go_on(self, generator: Generator, rounds: int, rng: np.random.Generator) -> Scenarios:
        """The scenarios of some rounds with random scores."""
        asked = []
        for _ in range(rounds):
            scenarios = generator.ask(ROUND, rng)
            generator.tell(scenarios, np.floor(rng.random(ROUND) * 1.2))
            asked.append(scenarios)
        return np.concatenate(asked)


class GeneratorContract(GeneratorSubject):
    """What every `kerf.generators.base.Generator` promises."""

    # -- ask --------------------------------------------------------------------------------------------------------

    def test_asks_give_valid_scenarios(self) -> None:
        space = self.world.space
        for n in (1, 2, 257):
            scenarios = self.make().ask(n, self.rng(n))
            expect(scenarios.shape == (n, len(space)), f"asked for {n}: shape {scenarios.shape}")
            expect(scenarios.dtype == np.int16, f"scenarios must be int16, got {scenarios.dtype}")
            valid = space.valid(scenarios)
            expect(valid.all(), f"{(~valid).sum()} of {n} scenarios are not valid")

    def test_asking_for_nothing_is_refused(self) -> None:
        for n in (0, -1):
            expect_raises(ValueError, "n >= 1", lambda n=n: self.make().ask(n, self.rng()), f"ask({n})")  # type: ignore[misc]

    def test_same_seed_same_scenarios_other_seed_others(self) -> None:
        first, again, other = (self.make().ask(64, self.rng(seed)) for seed in (7, 7, 8))
        expect_same(again, first, "scenarios of the same seed")
        expect(first.tobytes() != other.tobytes(), "another seed gives the same scenarios")

    def test_it_uses_no_global_randomness(self) -> None:
        found = []
        for seed in (1, 2):
            with global_randomness(seed):
                found.append(self.go_on(self.make(), 2, self.rng(3)))
        expect_same(found[0], found[1], "scenarios under two seeds of the global generators")

    def test_scenarios_are_of_the_mix_it_says(self) -> None:
        """Chi-square tests of each field, and of each pair of forgeable ones, against the mix; a generator without a
        mix must be an adversary, whose strength is enforced."""
        generator, rng = self.make(), self.rng(5)
        mix = generator.mix()
        if mix is None:
            sources = [generator, *getattr(generator, "sources", ())]
            expect(
                any(isinstance(source, Adversary) or not source.forges for source in sources),
                "what forges and is no fixed mix must be an Adversary",
            )
            return
        scenarios = generator.ask(self.num_draws, rng)
        num = int(rng.binomial(self.num_draws, mix.natural))
        forged = self.world.dilemma.forge(self.num_draws - num, mix.strength, rng)
        drawn = np.concatenate([natural(self.world, num, rng), forged])
        space = self.world.space
        names = [field.name for field in space.fields]
        pairs = [*(field.name for field in space.fields if field.forgeable)]
        tests = fields_of_one_law(space, scenarios, drawn, names, pairs)
        expect_plausible({f"{what} of what is asked for and of {mix}": p for what, p in tests.items()}, self.level)

    # -- tell -------------------------------------------------------------------------------------------------------

    def test_tell_needs_an_ask(self) -> None:
        generator, scenarios = self.make(), self.make().ask(4, self.rng())
        words, zeros = "needs an ask", np.zeros(4)
        expect_raises(RuntimeError, words, lambda: generator.tell(scenarios, zeros), "tell before ask")
        asked = generator.ask(4, self.rng())
        generator.tell(asked, zeros)
        expect_raises(RuntimeError, words, lambda: generator.tell(asked, zeros), "tell twice")

    def test_wrong_scores_are_refused_and_change_nothing(self) -> None:
        generator = self.make()
        scenarios = generator.ask(4, self.rng())
        for shape in ((3,), (5,), (4, 1), ()):
            scores = np.zeros(shape)
            expect_raises(
                ValueError, "shape (4,)", partial(generator.tell, scenarios, scores), f"scores of shape {shape}"
            )
        for wrong in (np.nan, np.inf, -0.01, 1.01):
            scores = np.zeros(4)
            scores[2] = wrong
            expect_raises(ValueError, "row 2", partial(generator.tell, scenarios, scores), f"a score of {wrong}")
        generator.tell(scenarios, np.zeros(4))
        untouched = self.make()
        untouched.tell(untouched.ask(4, self.rng()), np.zeros(4))
        expect(_text(generator) == _text(untouched), "refused scores changed what was learnt")

    def test_scores_of_other_scenarios_are_refused(self) -> None:
        generator = self.make()
        scenarios = generator.ask(64, self.rng())
        words, zeros = "in their order", np.zeros(64)
        expect_raises(ValueError, words, lambda: generator.tell(scenarios[::-1], zeros), "scenarios in another order")
        scenarios[0] = -1
        expect_raises(ValueError, words, lambda: generator.tell(scenarios, zeros), "scenarios that were changed")

    # -- what is learnt ---------------------------------------------------------------------------------------------

    def test_a_restored_generator_goes_on_as_the_original(self) -> None:
        original = self.make()
        self.go_on(original, 3, self.rng(0))
        scenarios = original.ask(32, self.rng(1))
        restored = self.make()
        restored.set_state(json.loads(_text(original)))
        expect_raises(
            RuntimeError, "needs an ask", lambda: restored.tell(scenarios, np.zeros(32)), "tell after set_state"
        )
        original.tell(scenarios, np.zeros(32))
        restored.set_state(json.loads(_text(original)))
        expect_same(
            self.go_on(restored, 3, self.rng(2)), self.go_on(original, 3, self.rng(2)), "scenarios after set_state"
        )
        expect(_text(original) == _text(restored), "states differ after the same rounds")
        expect(original.report() == restored.report(), "reports differ after the same rounds")

    def test_a_copy_goes_on_as_the_original_and_apart_from_it(self) -> None:
        original = self.make()
        self.go_on(original, 2, self.rng(0))
        twin, kept = copy.deepcopy(original), _text(original)
        ahead = self.go_on(twin, 2, self.rng(1))
        expect(_text(original) == kept, "what a copy learnt changed the original")
        expect_same(self.go_on(original, 2, self.rng(1)), ahead, "scenarios of a copy")

    def test_asking_twice_without_telling_learns_nothing(self) -> None:
        hasty, patient = self.make(), self.make()
        for generator in (hasty, patient):
            self.go_on(generator, 2, self.rng(0))
        hasty.ask(32, self.rng(1))
        expect_same(
            hasty.ask(32, self.rng(2)), patient.ask(32, self.rng(2)), "scenarios after an ask that was not told"
        )

    def test_another_takes_over_what_waits_for_scores(self) -> None:
        """Scores of scenarios from another generator of the same state are accepted."""
        here, there, alone = self.make(), self.make(), self.make()
        for generator in (here, there, alone):
            self.go_on(generator, 2, self.rng(0))
        scenarios = there.ask(64, self.rng(1))
        here.expect(scenarios, there.pending())
        expect_same(alone.ask(64, self.rng(1)), scenarios, "scenarios of a generator of the same state")
        for generator in (here, alone):
            generator.tell(scenarios, np.linspace(0, 1, 64))
        expect(_text(here) == _text(alone), "it learnt something else from what was asked for elsewhere")
        expect_same(self.go_on(here, 1, self.rng(2)), self.go_on(alone, 1, self.rng(2)), "scenarios afterwards")

    def test_a_foreign_state_is_refused(self) -> None:
        expect_raises(ValueError, "nonsense", lambda: self.make().set_state({"nonsense": 1}), "a foreign state")

    def test_a_report_is_plain(self) -> None:
        generator = self.make()
        self.go_on(generator, 3, self.rng(0))
        report = generator.report()
        expect(json.loads(json.dumps(report, allow_nan=False)) == report, "a report must be plain JSON values")


class ForgerContract(GeneratorSubject):
    """What generators of forgeries promise, whatever they learn.

    Attributes:
        strengths: Strengths at which tells are counted.
    """

    strengths: tuple[float, ...] = (0.0, 0.4, 1.0)

    def test_it_hides_no_more_tells_than_strength_allows(self) -> None:
        """With a score of 1 where every tell is hidden, for which an unconstrained search would select. Chi-square
        tests of each tell, and each pair, against nature's forgeries."""
        space, tells = self.world.space, self.world.dilemma.tells
        columns = [space.column(tell) for tell in tells]
        p_values: dict[str, float] = {}
        for strength in self.strengths:
            generator, rng, played = self.make_generator(strength), self.rng(11), []
            for _ in range(8):
                scenarios = generator.ask(512, rng)
                generator.tell(scenarios, (scenarios[:, columns] == 0).all(axis=1).astype(np.float64))
                played.append(scenarios)
            drawn = self.world.dilemma.forge(2 * 8 * 512, strength, rng)
            for what, p in fields_of_one_law(space, np.concatenate(played), drawn, tells, tells).items():
                p_values[f"{what} of forgeries of strength {strength}"] = p
        expect_plausible(p_values, self.level)

    def test_what_it_forges_is_plausible(self) -> None:
        generator = self.make()
        scenarios = self.go_on(generator, 6, self.rng(12))
        plausible = Forging(self.world, self.strength).plausible(scenarios)
        expect(plausible.all(), f"{(~plausible).sum()} of {len(plausible)} scenarios are no plausible forgeries")


class AdversaryContract(GeneratorContract, ForgerContract):
    """What every `kerf.generators.adversary.Adversary` promises."""


def _text(generator: Generator) -> str:
    state: dict[str, Any] = generator.get_state()
    return json.dumps(state, allow_nan=False)
