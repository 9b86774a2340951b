"""Exact gradients: against differences, against samples, and what must come out in closed form."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import norm

from kerf.agents.exact import AnyPolicy, ExactTrainer, payoffs
from kerf.agents.settings import ExactSettings
from kerf.agents.tabular import LOGITS, Situations, TablePolicy
from kerf.generators.base import GeneratorSettings
from kerf.generators.registry import make_generator
from kerf.lab.dilemma import Mix
from kerf.lab.errors import KerfError
from kerf.lab.exact.evaluation import action_probs
from kerf.lab.grader import ExAnte, ExPost
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.rollout import rollout
from kerf.lab.scripted import ConstantPolicy, ExpertPolicy
from kerf.lab.world import World
from kerf.lab.worlds import get_world
from kerf.lab.worlds.dilemma.settings import disjoint_by_one
from tests.agents.test_tabular import TwoSteps, network
from tests.agents.training import LEVER, same

MIX = Mix(natural=0.25, strength=0.5)
FAKES = Mix(natural=0.0, strength=0.0)
PENALISED = RewardSpec(grader=ExPost(), penalty=10.0)
ALPHA = 1e-3
"""Error rate of a test of samples, all its comparisons together: with its seed fixed, it passes always or never."""

Along = Callable[[float], NDArray[np.float64]]
"""Log-probabilities in all situations, `(m, A)`, after a step of some length along one direction of the weights."""


def table(world: World, seed: int = 0, gain: float = 1000.0) -> TablePolicy:
    return TablePolicy.copy_of(network(world, seed, gain), world)


both = pytest.mark.parametrize("start", [network, table])


def plain(**changes: Any) -> ExactSettings:
    return ExactSettings(**({"optimiser": "sgd", "learning_rate": 1.0} | changes))


def trained(trainer: ExactTrainer, steps: int, dose: float | None = None) -> dict[str, NDArray[Any]]:
    for _ in range(steps):
        trainer.step(dose)
    return trainer.policy().weights()


# ---- a slow account of the same, which shares nothing with the trainer


def direction(policy: AnyPolicy, world: World, rng: np.random.Generator) -> tuple[dict[str, NDArray[Any]], Along]:
    """A random direction of the policy's weights, and the policy that moves along it, in double precision."""
    way = {name: rng.standard_normal(weight.shape) for name, weight in policy.weights().items()}
    seen = torch.from_numpy(Situations(world).observations).double()

    def of_table(by: float) -> torch.Tensor:
        return torch.from_numpy(policy.weights()[LOGITS] + by * way[LOGITS])

    def of_network(by: float) -> torch.Tensor:
        moved = copy.deepcopy(policy.network).double().requires_grad_(False)
        for name, tensor in moved.state_dict().items():
            tensor += by * torch.from_numpy(way[name])
        return moved.logits(seen)

    logits = of_table if isinstance(policy, TablePolicy) else of_network
    return way, lambda by: torch.log_softmax(logits(by), dim=-1).numpy()


def slope(gradient: Mapping[str, NDArray[np.float64]], way: Mapping[str, NDArray[Any]], rows: NDArray[Any]) -> float:
    """The derivative along a direction that a trainer's gradient says."""
    parts = {name: way[name] if len(way[name]) == len(each) else way[name][rows] for name, each in gradient.items()}
    return float(sum((each * parts[name]).sum() for name, each in gradient.items()))


def pay(world: World, objective: RewardSpec, mix: Mix) -> NDArray[np.float64]:
    """R `(m, A)`: every completion is really played with every action."""
    scenarios, origin = world.completions(world.situations())
    density = world.density(scenarios, mix)
    payoff = np.zeros((len(world.situations()), len(world.actions)))
    for action, name in enumerate(world.actions):
        played = rollout(ConstantPolicy(world, name), world, scenarios, np.random.default_rng(0))
        utility, penalty = objective.terms(played)
        np.add.at(payoff[:, action], origin, density * (utility - penalty)[0])
    return payoff


@pytest.mark.parametrize("name", ["dilemma_one", "dilemma_overlap"])
@pytest.mark.parametrize("objective", [RewardSpec(), PENALISED, RewardSpec(grader=ExAnte(0.5), penalty=-3.0)])
def test_payoffs_are_what_playing_pays(name, objective):
    world = get_world(name)
    found, expected = payoffs(Situations(world), MIX, objective), pay(world, objective, MIX)
    np.testing.assert_allclose(found.utility - found.penalty, expected[found.rows], rtol=0, atol=1e-12)
    unseen = np.setdiff1d(np.arange(len(expected)), found.rows)
    assert len(unseen)
    assert not expected[unseen].any()
    assert found.mass.sum() == pytest.approx(1.0)
    if objective.penalty:
        assert found.penalised.any()
        np.testing.assert_allclose(found.penalty, objective.penalty * found.penalised, rtol=0, atol=1e-12)


@both
@pytest.mark.parametrize(
    "terms",
    [
        {},
        {"policy_coeff": 2.0, "reward_scale": 0.3, "entropy_coeff": 0.2},
        {"policy_coeff": 0.0, "imitation_coeff": 0.7},
        {"imitation_coeff": 0.1, "anchor_coeff": 0.4, "entropy_coeff": 0.1},
    ],
)
def test_the_gradient_is_that_of_finite_differences(start, terms):
    world = get_world("dilemma_one")
    situations, policy, anchor, settings = Situations(world), start(world), network(world, 5), ExactSettings(**terms)
    scenarios, origin = world.completions(world.situations())
    mass = np.bincount(origin, world.density(scenarios, MIX), len(situations))
    payoff = pay(world, PENALISED, MIX)
    of_anchor = np.log(action_probs(anchor, situations.observations))
    expert = world.expert(situations.observations)[:, None]

    def loss(log_p: NDArray[np.float64]) -> float:
        p = np.exp(log_p)
        return float(
            -settings.policy_coeff * settings.reward_scale * (p * payoff).sum()
            + settings.entropy_coeff * mass @ (p * log_p).sum(axis=1)
            - settings.imitation_coeff * mass @ np.take_along_axis(log_p, expert, axis=1)[:, 0]
            + settings.anchor_coeff * mass @ (p * (log_p - of_anchor)).sum(axis=1)
        )

    trainer = ExactTrainer(world, policy, MIX, PENALISED, settings, anchor=anchor)
    gradient = trainer.gradient()
    rng, h = np.random.default_rng(1), 1e-5
    for _ in range(5):
        way, along = direction(policy, world, rng)
        difference = (loss(along(h)) - loss(along(-h))) / (2 * h)
        assert abs(difference) > 1e-5, "a derivative of nothing shows nothing"
        assert slope(gradient, way, trainer.payoffs.rows) == pytest.approx(difference, rel=1e-5, abs=1e-9)
    # The anchor's chances above are those that it plays by, and rounded in another order than the trainer's.
    assert trainer.step()["loss"] == pytest.approx(loss(along(0.0)), abs=1e-7 if settings.anchor_coeff else 1e-12)


@both
def test_a_step_follows_the_gradient(start):
    world = get_world("dilemma_one")
    policy = start(world)
    trainer = ExactTrainer(world, policy, MIX, PENALISED, plain(learning_rate=0.25))
    gradient, rows = trainer.gradient(), trainer.payoffs.rows
    report = trainer.step()
    after, before = trainer.policy().weights(), policy.weights()
    squares = 0.0
    for name, each in gradient.items():
        moved = (after[name] - before[name]) if len(each) == len(after[name]) else (after[name] - before[name])[rows]
        np.testing.assert_allclose(moved, -0.25 * each, rtol=0, atol=1e-6)
        squares += (each**2).sum()
    assert report["grad_norm"] == pytest.approx(np.sqrt(squares))
    assert report["grad_norm"] > 0.01
    untrained = set(before) - set(gradient)
    assert untrained == ({"value_head.weight", "value_head.bias"} if start is network else set())
    assert all(after[name].tobytes() == before[name].tobytes() for name in untrained)


@both
def test_samples_have_this_gradient_in_expectation(start):
    """REINFORCE (Williams 1992) on the way that samples are really made: generator, rollout, grader."""
    world, n, num_directions = get_world("dilemma_overlap"), 20_000, 6
    policy = start(world)
    generator = make_generator(world, GeneratorSettings(kind="scripted", strength=0.5), adversarial_share=0.75)
    trainer = ExactTrainer(world, policy, generator.mix(), PENALISED, plain(reward_scale=1.0))
    gradient = trainer.gradient()
    scenarios = generator.ask(n, np.random.default_rng(1))
    played = rollout(policy, world, scenarios, np.random.default_rng(2))
    utility, penalty = PENALISED.terms(played)
    paid = (utility - penalty)[0]
    assert len(np.unique(paid)) > 4
    rows = Situations(world).rows(played.observations[0])
    rng, h = np.random.default_rng(3), 1e-5
    for _ in range(num_directions):
        way, along = direction(policy, world, rng)
        score = ((along(h) - along(-h)) / (2 * h))[rows, played.actions[0]]
        estimates = -paid * score
        z = (estimates.mean() - slope(gradient, way, trainer.payoffs.rows)) / (estimates.std() / np.sqrt(n))
        assert abs(z) < norm.isf(ALPHA / (2 * num_directions))
        assert estimates.std() > 0.0


@both
def test_what_it_reports_is_what_is_played(start):
    world, n = get_world("dilemma_overlap"), 20_000
    policy = start(world)
    generator = make_generator(world, GeneratorSettings(kind="scripted", strength=0.5), adversarial_share=0.75)
    report = ExactTrainer(world, policy, generator.mix(), PENALISED, plain()).step()
    played = rollout(policy, world, generator.ask(n, np.random.default_rng(4)), np.random.default_rng(5))
    utility, penalty = (each[0] for each in PENALISED.terms(played))
    sampled = {
        "return_utility": utility,
        "return_penalty": penalty,
        "penalised": penalty != 0.0,
        "elicited": played.happened("left_unpermitted"),
    }
    for name, values in sampled.items():
        z = (values.mean() - report[name]) / (values.std() / np.sqrt(n))
        assert abs(z) < norm.isf(ALPHA / (2 * len(sampled))), name
    p = action_probs(policy, played.observations[0])
    entropy = -(p * np.log(p)).sum(axis=1)
    assert abs(entropy.mean() - report["entropy"]) < norm.isf(ALPHA / 2) * entropy.std() / np.sqrt(n)
    assert report["kl_to_start"] == 0.0


# ---- where a step leads, and where it does not


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_a_table_changes_nothing_off_the_support_of_its_mix(optimiser):
    world = get_world("dilemma_two")
    start = table(world)
    trainer = ExactTrainer(world, start, FAKES, PENALISED, plain(optimiser=optimiser))
    before, after = start.weights()[LOGITS], trained(trainer, 3)[LOGITS]
    shown = np.zeros(len(before), np.bool_)
    shown[trainer.payoffs.rows] = True
    assert shown.sum() == 16, "four cues, and both tells shown"
    assert after[~shown].tobytes() == before[~shown].tobytes()
    assert (after[shown] != before[shown]).any(axis=1).all()


def test_a_network_changes_off_the_support_too():
    world = get_world("dilemma_two")
    trainer = ExactTrainer(world, network(world), FAKES, PENALISED, plain())
    trainer.step()
    situations = Situations(world)
    moved = trainer.policy().logits(situations.observations) != network(world).logits(situations.observations)
    moved[trainer.payoffs.rows] = False
    assert moved.any(axis=1).sum() > 700


@both
def test_the_gradient_is_linear_in_the_rewards(start):
    """Bit for bit where the factor is a power of two: nothing clips, and nothing is divided by a spread."""
    world = get_world("dilemma_one")
    cost = {"left_needlessly": -5.0}

    def gradient(objective: RewardSpec, **changes: Any) -> dict[str, NDArray[np.float64]]:
        return ExactTrainer(world, start(world), FAKES, objective, plain(**changes)).gradient()

    once = gradient(RewardSpec(cost, ExPost()))
    assert same(gradient(RewardSpec(cost, ExPost(), penalty=5.0)), {name: 2.0 * each for name, each in once.items()})
    assert same(gradient(RewardSpec(cost), reward_scale=0.2), {name: 2.0 * each for name, each in once.items()})
    thrice = gradient(RewardSpec(cost, ExPost(), penalty=10.0))
    for name, each in once.items():
        assert each.any()
        np.testing.assert_allclose(thrice[name], 3.0 * each, rtol=1e-12, atol=1e-18)


@pytest.mark.parametrize(("start", "rate"), [(network, 0.5), (table, 2.0)])
def test_a_penalty_on_fakes_alone_is_more_steps_to_first_order(start, rate):
    """C + L for n steps and C for n (C + L) / C differ by an amount that halves with the step size."""
    world, cost, factor, steps = get_world("dilemma_one"), 5.0, 3, 40
    situations = Situations(world)

    def chances(penalty: float, finer: int, num_steps: int) -> NDArray[np.float64]:
        objective = RewardSpec({"left_needlessly": -cost}, ExPost(), penalty)
        trainer = ExactTrainer(world, start(world, gain=10.0), FAKES, objective, plain(learning_rate=rate / finer))
        for _ in range(num_steps * finer):
            trainer.step()
        return action_probs(trainer.policy(), situations.observations)

    before = action_probs(start(world, gain=10.0), situations.observations)
    gaps = []
    for finer in (1, 2, 4):
        penalised = chances((factor - 1) * cost, finer, steps)
        exposure = chances(0.0, finer, factor * steps)
        assert np.abs(penalised - before).max() > 0.2, "the way must be long for this to mean anything"
        gaps.append(np.abs(penalised - exposure).max())
    assert gaps[0] < 0.01
    assert gaps[0] / gaps[1] == pytest.approx(2.0, abs=0.3)
    assert gaps[1] / gaps[2] == pytest.approx(2.0, abs=0.15)


@both
def test_what_does_not_depend_on_the_action_moves_no_gradient(start):
    world = get_world("dilemma_one")
    rng = np.random.default_rng(0)
    offset = 10.0 * rng.standard_normal(len(Situations(world)))
    without = ExactTrainer(world, start(world), MIX, RewardSpec(), plain())
    shaped = ExactTrainer(world, start(world), MIX, RewardSpec(), plain(), offset=offset)
    dealt = ExactTrainer(world, start(world), MIX, PENALISED, plain())
    for gradient in (shaped.gradient(), dealt.gradient(penalty_rate=0.4)):
        for name, each in without.gradient().items():
            np.testing.assert_allclose(gradient[name], each, rtol=0, atol=1e-13)
    paid = 0.1 * without.payoffs.mass @ offset[without.payoffs.rows]
    assert abs(paid) > 0.01
    assert shaped.step()["loss"] == pytest.approx(without.step()["loss"] - paid, abs=1e-12)
    report = dealt.step(penalty_rate=0.4)
    assert report["penalised"] == pytest.approx(0.4)
    assert report["return_penalty"] == pytest.approx(4.0)


def test_the_anchored_optimum_is_the_closed_form():
    """logit pi = logit pi_0 + reward_scale r / beta, where r is the mean reward in a situation."""
    world, beta = get_world("dilemma_one"), 0.5
    start = table(world, gain=10.0)
    settings = plain(optimiser="adam", learning_rate=0.02, anchor_coeff=beta)
    trainer = ExactTrainer(world, start, FAKES, PENALISED, settings, anchor=start)
    rows, mass = trainer.payoffs.rows, trainer.payoffs.mass
    after = trained(trainer, 1500)[LOGITS][rows]
    rewards = pay(world, PENALISED, FAKES)[rows] / mass[:, None]
    expected = start.weights()[LOGITS][rows] + settings.reward_scale * rewards / beta
    found, wanted = (np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) for x in (after, expected))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
    assert np.abs(wanted - action_probs(start, Situations(world).observations[rows])).max() > 0.1


@both
def test_it_comes_near_the_best_there_is(start):
    world = get_world("dilemma_one")
    settings = ExactSettings(learning_rate=0.03, imitation_coeff=0.1)
    trainer = ExactTrainer(world, start(world, gain=1.0), Mix(), RewardSpec(), settings)
    for _ in range(400):
        report = trainer.step()
    best = pay(world, RewardSpec(), Mix()).max(axis=1).sum()
    assert best - 0.05 < report["return_utility"] <= best


# ---- chance, precision, refusals


@both
@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_nothing_is_drawn(start, optimiser):
    world = get_world("dilemma_one")
    drawn = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        trainer = ExactTrainer(world, start(world), MIX, PENALISED, plain(optimiser=optimiser, learning_rate=0.01))
        drawn.append(trained(trainer, 5))
        assert torch.equal(torch.get_rng_state(), state)
    assert same(*drawn)
    assert not same(drawn[0], start(world).weights())


@both
def test_training_changes_neither_its_start_nor_what_was_taken_out(start):
    world = get_world("dilemma_one")
    policy = start(world)
    trainer = ExactTrainer(world, policy, MIX, PENALISED, plain())
    assert same(trainer.policy().weights(), policy.weights())
    trainer.step()
    taken = trainer.policy()
    kept = taken.weights()
    trainer.step()
    assert same(taken.weights(), kept)
    assert same(policy.weights(), start(world).weights())
    assert not same(trainer.policy().weights(), kept)


def test_a_bare_network_will_do():
    world = get_world("dilemma_one")
    policy = network(world)
    bare, dressed = (ExactTrainer(world, of, MIX, PENALISED, plain()) for of in (policy.network, policy))
    assert same(trained(bare, 2), trained(dressed, 2))


def test_a_step_too_small_for_single_precision_is_not_lost():
    world = get_world("dilemma_one")
    trainer = ExactTrainer(world, network(world), MIX, PENALISED, plain(learning_rate=1e-7))
    first = trained(trainer, 1)
    assert not same(trained(trainer, 1000), first)


def test_worlds_without_a_list_of_situations_or_with_more_steps_are_refused():
    for name in ("station", LEVER):
        world = get_world(name)
        with pytest.raises(KerfError, match="does not list its situations"):
            ExactTrainer(world, network(world), Mix(), RewardSpec(), plain())
    world = TwoSteps(disjoint_by_one())
    with pytest.raises(KerfError, match="has 2 steps"):
        ExactTrainer(world, network(world), Mix(), RewardSpec(), plain())


def test_a_missing_anchor_infinite_logits_and_divergence_are_told():
    world = get_world("dilemma_one")
    with pytest.raises(KerfError, match=r"anchor: anchor_coeff=0\.3 needs the policy pi_0, got None"):
        ExactTrainer(world, network(world), Mix(), RewardSpec(), plain(anchor_coeff=0.3))
    with pytest.raises(KerfError, match="a table with infinite logits cannot be trained"):
        ExactTrainer(world, TablePolicy.copy_of(ExpertPolicy(world), world), Mix(), RewardSpec(), plain())
    for start, rate in ((network, 1e300), (network, 1e308), (table, 1e308)):
        trainer = ExactTrainer(
            world, start(world), Mix(), RewardSpec(penalty=1.0), plain(learning_rate=rate, reward_scale=1e4)
        )
        with pytest.raises(FloatingPointError, match="training diverged"):
            trained(trainer, 5)


def test_settings_without_anything_to_train_on_are_refused():
    with pytest.raises(ValueError, match="something to train on"):
        ExactSettings(policy_coeff=0.0)
