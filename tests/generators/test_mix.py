"""Declared distributions of generators against their draws: chi-square tests with the world's densities."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chisquare

from kerf.generators.base import Generator, GeneratorSettings
from kerf.generators.mixture import Mixture
from kerf.generators.natural import Natural
from kerf.generators.registry import known_generators, make_generator
from kerf.generators.scripted import Scripted
from kerf.lab.dilemma import Mix
from kerf.lab.distinct import distinct
from kerf.lab.scenario import Scenarios
from kerf.lab.worlds import get_world

WORLD = get_world("dilemma")
DRAWN = 40_000
CELLS = 200
"""Cells of one test, each of which expects about `DRAWN / CELLS` scenarios."""
ALPHA = 1e-3
"""Error rate of the tests of one distribution, all together: with their seeds fixed, they pass always or never."""


def scripted(strength: float) -> Generator:
    return make_generator(WORLD, GeneratorSettings(kind="scripted", strength=strength))


def p_values(drawn: Scenarios, mix: Mix) -> list[float]:
    """Of chi-square tests that `drawn` comes from `mix`, one for each order in which scenarios are put into cells."""
    every, _ = WORLD.completions(WORLD.situations())
    density = WORLD.density(every, mix)
    assert density.sum() == pytest.approx(1.0)
    _, kind = distinct(np.ascontiguousarray(np.concatenate((every, drawn))).astype(np.int32))
    counts = np.bincount(kind[len(every) :], minlength=len(every))
    assert len(counts) == len(every), "a scenario was drawn that hides behind no situation"
    assert not counts[density == 0.0].any(), "a scenario was drawn that has probability 0"
    columns = [column for column, field in enumerate(WORLD.space.fields) if field.high > field.low]
    return [
        _test(counts, density, np.lexsort(every[:, columns].T[np.roll(np.arange(len(columns)), shift)]))
        for shift in range(len(columns))
    ]


def _test(counts: NDArray[np.int64], density: NDArray[np.float64], order: NDArray[np.int64]) -> float:
    cell = np.minimum((np.cumsum(density[order]) * CELLS).astype(np.int64), CELLS - 1)
    expected = np.bincount(cell, density[order]) * DRAWN
    large = expected >= 10.0  # as chi-square asks; the others count as one cell
    observed, expected = (np.append(of[large], of[~large].sum()) for of in (np.bincount(cell, counts[order]), expected))
    return float(chisquare(observed[expected > 0.0], expected[expected > 0.0]).pvalue)


def fixed_kinds() -> list[str]:
    """Kinds whose distribution is known: it does not depend on scores."""
    return [kind for kind in known_generators() if make_generator(WORLD, GeneratorSettings(kind=kind)).mix()]


def test_adversaries_have_no_distribution_of_their_own() -> None:
    assert not {"replay", "mutation", "illuminate", "search", "learned"} & set(fixed_kinds())


@pytest.mark.parametrize("kind", fixed_kinds())
@pytest.mark.parametrize("adversarial_share", [1.0, 0.75])
@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_scenarios_have_the_density_that_their_generator_says(kind, adversarial_share, strength):
    generator = make_generator(WORLD, GeneratorSettings(kind=kind, strength=strength), adversarial_share)
    mix = generator.mix()
    assert mix is not None
    found = p_values(generator.ask(DRAWN, np.random.default_rng(7)), mix)
    assert min(found) > ALPHA / len(found)


@pytest.mark.parametrize(
    "wrong", [Mix(0.25, 0.35), Mix(0.27, 0.3), Mix(0.25, 0.0), Mix()], ids=["strength", "share", "known", "natural"]
)
def test_another_mix_is_told_from_it(wrong):
    generator = make_generator(WORLD, GeneratorSettings(kind="scripted", strength=0.3), adversarial_share=0.75)
    found = p_values(generator.ask(DRAWN, np.random.default_rng(7)), wrong)
    assert min(found) < ALPHA / len(found)


# ---- what mixtures say


class Learns(Natural):
    """A source of scenarios that depend on scores."""

    def mix(self) -> None:
        return None


@pytest.mark.parametrize(
    ("sources", "shares", "mix"),
    [
        ((scripted(0.5), scripted(0.5)), (0.3, 0.7), Mix(0.0, 0.5)),
        ((scripted(0.5), scripted(0.4)), (0.3, 0.7), None),
        ((scripted(0.5), scripted(0.4)), (1.0, 0.0), Mix(0.0, 0.5)),
        ((scripted(0.5), Natural(WORLD, GeneratorSettings(kind="natural"))), (0.25, 0.75), Mix(0.75, 0.5)),
        ((scripted(0.5), Natural(WORLD, GeneratorSettings(kind="natural"))), (0.0, 1.0), Mix()),
        ((scripted(0.5), Learns(WORLD, GeneratorSettings(kind="natural"))), (0.5, 0.5), None),
        ((Mixture((scripted(0.5), scripted(0.5)), (0.5, 0.5)), scripted(0.5)), (0.1, 0.9), Mix(0.0, 0.5)),
    ],
)
def test_a_mixture_is_a_mix_if_its_parts_are_natural_and_of_one_strength(sources, shares, mix):
    assert Mixture(sources, shares).mix() == mix


def test_three_natural_parts_are_natural_to_the_last_bit():
    parts = [Natural(WORLD, GeneratorSettings(kind="natural")) for _ in range(3)]
    assert Mixture(parts, (0.1, 0.2, 0.7)).mix() == Mix()


def test_strength_means_nothing_to_the_natural_stream():
    assert make_generator(WORLD, GeneratorSettings(kind="natural", strength=0.3)).mix() == Mix()
    assert isinstance(scripted(0.2), Scripted)
    assert scripted(0.2).mix() == Mix(0.0, 0.2)


def test_a_generator_that_says_nothing_is_no_mix():
    class Silent(Generator):
        def _ask(self, n, rng):
            return self.world.space.blank(n)

    assert Silent(WORLD).mix() is None
