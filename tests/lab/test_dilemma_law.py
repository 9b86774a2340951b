"""Distributions of a dilemma's scenarios, their posteriors, and the optimal actions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from kerf.lab.dilemma import Mix
from kerf.lab.exact.evaluation import evaluate
from kerf.lab.exact.information_sets import grow
from kerf.lab.exact.optimum import belief, solve
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.scripted import ConstantPolicy, ExpertPolicy
from kerf.lab.testing.draws import whole_scenarios_follow
from kerf.lab.world import natural_exactly
from kerf.lab.worlds.dilemma import ASK, CALL, LEAVE, STAY, DilemmaWorld
from kerf.lab.worlds.dilemma.settings import DilemmaSettings, Signal, overlapping
from kerf.lab.worlds.dilemma.sources import FALSE, GENUINE
from kerf.lab.worlds.laws import Independent
from tests.lab.dilemmas import HIDDEN, LEVEL, NAMES, RICH, any_settings, column, few, looks, mixes, world_of

# -- where scenarios come from -----------------------------------------------------------------------------------------


@few
@given(of=any_settings(), mix=mixes)
def test_densities_are_probabilities_for_any_mix(of: DilemmaSettings, mix: Mix) -> None:
    world = DilemmaWorld(of)
    situations = world.situations()
    rows, origin = world.completions(situations)
    np.testing.assert_array_equal(np.unique(origin), np.arange(len(situations)))
    assert (np.diff(origin) >= 0).all()
    assert len(np.unique(rows, axis=0)) == len(rows)
    density = world.density(rows, mix)
    assert (density >= 0).all()
    assert density.sum() == pytest.approx(1.0, abs=1e-9)
    visible = [field.name not in HIDDEN for field in world.space.fields]
    np.testing.assert_array_equal(rows[:, visible], situations[origin][:, visible])
    assert (density[column(world, rows, "place") == of.places] == 0).all(), "the last place is held out"
    parts = mix.natural * world.density(rows, Mix()) + (1 - mix.natural) * world.density(rows, Mix(0.0, mix.strength))
    np.testing.assert_allclose(density, parts, atol=1e-15)


@few
@given(of=any_settings(), mix=mixes)
def test_densities_are_those_of_what_is_written_out(of: DilemmaSettings, mix: Mix) -> None:
    world = DilemmaWorld(of)
    rows, chances = natural_exactly(world)
    np.testing.assert_allclose(world.density(rows, Mix()), chances, atol=1e-15)
    forged, forged_chances = world.dilemma.exact_forgeries(mix.strength, False)
    np.testing.assert_allclose(world.density(forged, Mix(0.0, mix.strength)), forged_chances, atol=1e-15)
    known = {row.tobytes() for row in np.concatenate([rows, forged])}
    everything, _ = world.completions(world.situations())
    unknown = np.array([row.tobytes() not in known for row in everything])
    assert (world.density(everything[unknown], mix) == 0).all()
    assert {row.tobytes() for row in everything} >= known


@few
@given(of=any_settings(), strength=st.sampled_from((0.0, 0.3, 1.0)))
def test_the_posterior_is_bayes_rule(of: DilemmaSettings, strength: float) -> None:
    """Natural scenarios without forgeries, and forgeries of `strength` at their base rate, enumerated."""
    world = DilemmaWorld(of)
    situations = world.situations()
    rows, origin = world.completions(situations)
    truth, in_time = column(world, rows, "truth"), column(world, rows, "in_time")
    honest = world.density(rows, Mix()) * (truth != FALSE)
    weights = honest / honest.sum() * (1.0 - of.false) + of.false * world.density(rows, Mix(0.0, strength))
    needed = (truth == GENUINE) & ~((in_time == 1) & of.strict)
    total = np.bincount(origin, weights)
    shown = total > 1e-12
    expected = np.bincount(origin, weights * needed)[shown] / total[shown]
    posterior = world.dilemma.need_posterior(situations, strength)
    np.testing.assert_allclose(posterior[shown], expected, atol=1e-9)
    assert ((posterior >= 0) & (posterior <= 1)).all()


def test_the_posterior_by_hand() -> None:
    """Base rates 0.35 and 0.15; a tell that half of the forgeries show, and nothing that is genuine."""
    world = DilemmaWorld(replace(overlapping(), orders=False))
    quiet = 0.5 / 2 * 0.05**4
    genuine, forged = 0.35 / 2 * 0.95**4, 0.15 * 0.95**4
    heard = "dilemma(cry=1, thump=1, message=1, vitals=1{})"
    silent, told = (world.space.from_text(heard.format(rest))[None] for rest in ("", ", channel=1"))
    for strength in (0.0, 0.5, 1.0):
        unseen = forged * (1.0 - 0.5 * (1.0 - strength))
        expected = genuine / (genuine + quiet + unseen)
        assert world.dilemma.need_posterior(silent, strength)[0] == pytest.approx(expected)
        assert world.dilemma.need_posterior(told, strength)[0] == 0.0
    late = world.space.from_text("dilemma(cry=1, thump=1, message=1, vitals=1, delay=1)")[None]
    expected = 0.05 * genuine / (genuine + quiet)
    assert world.dilemma.need_posterior(late, 1.0)[0] == pytest.approx(expected), "asking saves 95 of 100"


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_each_tell_gives_away_as_strength_says(strength: float) -> None:
    """Exact binomial tests; at strength 1 a forgery's signals are distributed as genuine ones, except the hour."""
    forged = RICH.dilemma.forge(5000, strength, np.random.default_rng(5))
    signals = RICH.settings.forgeable
    for signal in signals:
        expected = (1 - strength) * signal.false + strength * signal.genuine
        found = int(column(RICH, forged, signal.name).sum())
        assert stats.binomtest(found, 5000, expected).pvalue > LEVEL / (3 * len(signals))


# -- what is best ------------------------------------------------------------------------------------------------------


@few
@given(of=any_settings())
def test_the_expert_is_the_bayes_optimum_of_the_natural_stream(of: DilemmaSettings) -> None:
    check_expert(DilemmaWorld(of))


@pytest.mark.parametrize("name", NAMES)
def test_the_experts_of_the_named_worlds_are_optimal(name: str) -> None:
    check_expert(world_of(name))


def check_expert(world: DilemmaWorld) -> None:
    tree = grow(world, world.situations())
    weights = belief(tree, Mix())
    best = solve(tree, RewardSpec(), weights).by_situation
    own = np.bincount(tree.origin, evaluate(ExpertPolicy(world), world, tree.completions).utility * weights)
    np.testing.assert_allclose(own, best, atol=1e-9)


def test_the_expert_calls_where_that_is_best() -> None:
    """P = 0.35: 0.35 x 10 - 0.65 x 4 > 0, while leaving may cost 0.65 x 30."""
    of = DilemmaSettings(
        cues=(Signal("cry", 0.5, 0.5, 0.5),), genuine=0.35, false=0.15, cost=30.0, call_saves=1.0, call_cost=4.0
    )
    world = DilemmaWorld(of)
    assert (world.expert(looks(world, world.situations())) == CALL).all()
    check_expert(world)


def test_unseen_tells_are_paid_no_heed() -> None:
    for name in NAMES[1:]:
        world = world_of(name)
        situations = world.situations()
        blind = situations.copy()
        blind[:, [world.space.column(tell) for tell in world.dilemma.tells]] = 0
        np.testing.assert_array_equal(world.expert(looks(world, situations)), world.expert(looks(world, blind)))


def test_the_best_constant_is_worse_than_the_expert() -> None:
    for name in NAMES:
        world = world_of(name)
        rows, chances = natural_exactly(world)
        own = evaluate(ExpertPolicy(world), world, rows).utility @ chances
        others = [evaluate(ConstantPolicy(world, action), world, rows).utility @ chances for action in world.actions]
        assert own > max(others) + 0.5


def test_asking_is_better_than_staying_and_leaving_than_asking_where_the_formulas_say() -> None:
    """Ask iff P >= a / (q B); leave over ask iff P >= (C - a) / ((1 - q) B + C), with an ask that costs `a`.

    Leaving is worth P B - (1 - P) C, asking P q B - a.
    """
    q, benefit, cost, ask_cost = 0.6, 10.0, 5.0, 0.5
    likelihoods = np.linspace(0.02, 0.98, 9)
    chosen = set()
    for genuine in likelihoods:
        of = DilemmaSettings(
            cues=(Signal("cry", float(genuine), 0.5, 0.5),), genuine=0.3, false=0.2, seen=False,
            benefits=(benefit,), cost=cost, ask_cost=ask_cost, ask_saves=(q,),
        )  # fmt: skip
        world = DilemmaWorld(of)
        heard = world.space.from_text("dilemma(cry=1)")[None]
        p = 0.3 * genuine / (0.3 * genuine + 0.5 * 0.5)
        ask, leave = p >= ask_cost / (q * benefit), p >= (cost - ask_cost) / ((1 - q) * benefit + cost)
        action = int(world.expert(looks(world, heard))[0])
        assert action == (LEAVE if leave and p * benefit > (1 - p) * cost else ASK if ask else STAY)
        chosen.add(action)
    assert chosen == {STAY, ASK, LEAVE}


def test_a_source_weighs_what_it_draws() -> None:
    source = Independent(RICH.space, {"truth": np.array([0.0, 0.25, 0.75]), "place": np.array([0.5, 0.0, 0.5])})
    rows, chances = source.everything()
    np.testing.assert_array_equal(sorted(chances), [0.125, 0.125, 0.375, 0.375])
    assert source.density(RICH.space.blank(1))[0] == 0.0
    elsewhere = rows[:1].copy()
    elsewhere[0, RICH.space.column("cry")] = 1
    assert source.density(elsewhere)[0] == 0.0, "a field that is left out has its default"
    drawn = source.sample(4000, np.random.default_rng(0))
    assert whole_scenarios_follow(drawn, rows, chances) > LEVEL
