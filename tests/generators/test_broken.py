"""The kit of generators can fail: each of its checks catches a generator that breaks what it checks."""

from __future__ import annotations

import numpy as np
import pytest

from kerf.generators.base import GeneratorSettings
from kerf.generators.natural import Natural
from kerf.generators.scripted import Scripted
from kerf.generators.testing import AdversaryContract, GeneratorContract
from kerf.lab.dilemma import Mix
from kerf.lab.worlds import get_world


class Counting(Scripted):
    """Correct in this: counts its scores, and asks for the first place after 256 of them."""

    told = 0

    def _ask(self, n, rng):
        scenarios = super()._ask(n, rng)
        if self.told >= 256:
            scenarios[:, self.world.space.column("place")] = 0
        return scenarios

    def _tell(self, scenarios, scores):
        self.told += len(scores)

    def get_state(self):
        return {"told": self.told}

    def set_state(self, state):
        if set(state) != {"told"}:
            raise ValueError(f"expected told, got {sorted(state)}")
        self._asked, self.told = None, state["told"]


class Invalid(Natural):
    def ask(self, n, rng):
        return super().ask(n, rng) + np.int16(5)


class Eager(Natural):
    def ask(self, n, rng):
        return super().ask(max(n, 1), rng)


class Fixed(Natural):
    def _ask(self, n, rng):
        return super()._ask(n, np.random.default_rng(0))


class Global(Natural):
    def _ask(self, n, rng):
        return super()._ask(n, np.random.default_rng(np.random.randint(9)))  # noqa: NPY002


class Stronger(Scripted):
    def mix(self):
        return Mix(natural=0.0, strength=0.9)


class Unbound(Scripted):
    def mix(self):
        return None


class Patient(Natural):
    def tell(self, scenarios, scores):
        if self._asked is not None:
            super().tell(scenarios, scores)


class Hasty(Counting):
    def tell(self, scenarios, scores):
        self.told += 1
        super().tell(scenarios, scores)


class Trusting(Natural):
    def tell(self, scenarios, scores):
        super().tell(self._asked, scores)


class Forgetful(Counting):
    def get_state(self):
        return {"told": 0}


class Common(Counting):
    def __init__(self, world, settings):
        super().__init__(world, settings)
        self.of = [0]

    def __deepcopy__(self, memo):
        other = type(self)(self.world, GeneratorSettings(kind="common", strength=self.strength))
        other.of, other.told = self.of, self.told
        return other

    def _tell(self, scenarios, scores):
        self.of[0] += len(scores)

    def get_state(self):
        return {"told": self.of[0]}


class Asked(Counting):
    def _ask(self, n, rng):
        self.told += n
        return super()._ask(n, rng)

    def _tell(self, scenarios, scores):
        pass


class Alone(Counting):
    def expect(self, scenarios, pending):
        super().expect(scenarios, pending)
        self.told += 1


class Lenient(Natural):
    def set_state(self, state):
        self._asked = None


class Numeric(Natural):
    def report(self):
        return {"asked": (1, 2)}


class Hiding(Scripted):
    """Draws again where a tell is shown."""

    def _ask(self, n, rng):
        one, other = (Scripted._ask(self, n, rng) for _ in range(2))
        shown = one[:, self.world.space.column("tell")] == 1
        return np.where(shown[:, None], other, one)


class Elsewhere(Scripted):
    def _ask(self, n, rng):
        return self.world.dilemma.forge(n, self.strength, rng, True)


class NotOne:
    def __init__(self, world, settings):
        pass


CAUGHT = (
    ("asks_give_valid_scenarios", Invalid, "of 1 scenarios are not valid"),
    ("asks_give_valid_scenarios", NotOne, "a generator subclasses Generator"),
    ("asking_for_nothing_is_refused", Eager, "ask\\(0\\): must raise ValueError"),
    ("same_seed_same_scenarios_other_seed_others", Fixed, "another seed gives the same"),
    ("it_uses_no_global_randomness", Global, "from a global generator"),
    ("scenarios_are_of_the_mix_it_says", Stronger, "tell"),
    ("scenarios_are_of_the_mix_it_says", Unbound, "must be an Adversary"),
    ("tell_needs_an_ask", Patient, "tell before ask: must raise RuntimeError"),
    ("wrong_scores_are_refused_and_change_nothing", Hasty, "refused scores changed what was learnt"),
    ("scores_of_other_scenarios_are_refused", Trusting, "in another order: must raise ValueError"),
    ("a_restored_generator_goes_on_as_the_original", Forgetful, "scenarios after set_state"),
    ("a_copy_goes_on_as_the_original_and_apart_from_it", Common, "what a copy learnt changed the original"),
    ("asking_twice_without_telling_learns_nothing", Asked, "after an ask that was not told"),
    ("another_takes_over_what_waits_for_scores", Alone, "something else from what was asked for elsewhere"),
    ("a_foreign_state_is_refused", Lenient, "a foreign state: must raise ValueError"),
    ("a_report_is_plain", Numeric, "plain JSON"),
    ("it_hides_no_more_tells_than_strength_allows", Hiding, "tell of forgeries of strength 0.4"),
    ("what_it_forges_is_plausible", Elsewhere, "no plausible forgeries"),
)
"""A check, without its `test_`; the generator that it must catch; and how."""


class OfLever(AdversaryContract):
    num_draws = 2000

    def __init__(self, kind):
        self.kind = kind

    def make_world(self):
        return get_world("tests.lab.small_worlds:ExactLever")

    def make_generator(self, strength):
        return self.kind(self.world, GeneratorSettings(kind="broken", strength=strength))


@pytest.mark.parametrize(("check", "kind", "words"), CAUGHT, ids=[f"{row[0]}-{row[1].__name__}" for row in CAUGHT])
def test_a_broken_generator_is_caught(check, kind, words):
    with pytest.raises(AssertionError, match=words):
        getattr(OfLever(kind), f"test_{check}")()


def test_every_check_is_seen_to_fail():
    checks = {name.removeprefix("test_") for name in dir(AdversaryContract) if name.startswith("test_")}
    assert {check for check, *_ in CAUGHT} == checks


def test_a_contract_about_nothing_says_what_it_lacks():
    with pytest.raises(NotImplementedError, match="GeneratorContract must define make_"):
        GeneratorContract().test_a_report_is_plain()
