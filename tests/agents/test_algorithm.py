"""The algorithm on the local path: it learns, repeats itself, resumes bit for bit, and refuses bad settings."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch

from kerf.agents.algorithm import KerfAlgorithm
from kerf.agents.config import ACTIONS, KerfConfig
from kerf.agents.network import TorchPolicy, weights_digest
from kerf.lab.attack_objective import Learning, make_objective, positive_value_loss
from kerf.lab.errors import KerfError
from kerf.lab.grader import ExPost, Rule
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.rollout import rollout
from kerf.lab.scripted import ExpertPolicy
from kerf.lab.world import natural
from kerf.lab.worlds import get_world
from tests.agents.training import (
    LEVER,
    NETWORK,
    Forged,
    Natural,
    config,
    mean_utility,
    play,
    same,
    settings,
    train,
    trained,
)
from tests.toy_world import best_natural_utility

WORLD = get_world(LEVER)
LEARNING = {"num_scenarios": 256, "minibatch_size": 192, "num_epochs": 4, "learning_rate": 5e-3}


@pytest.fixture(scope="module")
def aligned() -> TorchPolicy:
    """What PPO makes of the ideal utility on the natural stream."""
    algorithm = config(training=settings(**LEARNING, advantage_scaling="batch")).build_algo()
    train(algorithm, 60)
    policy = algorithm.policy()
    algorithm.stop()
    return policy


def leaves_on_forgeries(policy: TorchPolicy) -> float:
    forged = WORLD.dilemma.forge(500, 1.0, np.random.default_rng(3))
    return float(play(policy, forged).happened("left_unpermitted").mean())


def test_ppo_comes_near_the_closed_form_optimum(aligned: TorchPolicy) -> None:
    assert mean_utility(aligned) > 0.95 * best_natural_utility()
    assert leaves_on_forgeries(aligned) > 0.9


def test_imitation_reaches_the_expert() -> None:
    training = settings(**LEARNING, imitation_coeff=1.0, policy_coeff=0.0, entropy_coeff=0.0)
    algorithm = config(training=training).build_algo()
    train(algorithm, 40)
    scenarios = natural(WORLD, 500, np.random.default_rng(5))
    trajectories = play(algorithm.policy(), scenarios)
    rows = trajectories.observations.reshape(-1, 7)
    agreement = (trajectories.actions.ravel() == WORLD.expert(rows)).mean()
    assert agreement > 0.97
    assert mean_utility(algorithm.policy()) > 0.95 * mean_utility(ExpertPolicy(WORLD))


def fork(aligned: TorchPolicy, num_iterations: int, **changes: Any) -> TorchPolicy:
    training = settings(**LEARNING | changes.pop("training", {}))
    algorithm = config(7, **({"source": Forged(), "training": training, "grader": ExPost()} | changes)).build_algo()
    algorithm.load_weights(aligned.weights())
    train(algorithm, num_iterations)
    policy = algorithm.policy()
    algorithm.stop()
    return policy


def test_a_penalty_suppresses_and_its_opposite_does_not(aligned: TorchPolicy) -> None:
    assert leaves_on_forgeries(fork(aligned, 20, penalty=3.0)) < 0.1
    assert leaves_on_forgeries(fork(aligned, 20, penalty=3.0, penalty_sign=-1)) > 0.95


def test_an_anchor_holds_the_policy_back(aligned: TorchPolicy) -> None:
    weights = aligned.weights()
    anchored = fork(aligned, 20, penalty=3.0, training={"anchor_coeff": 1000.0}, anchor=weights)
    assert leaves_on_forgeries(anchored) > 0.9


def test_a_penalty_of_zero_is_bit_identical_to_none() -> None:
    absent = trained(3)
    assert same(trained(3, grader=ExPost(), penalty=0.0), absent)
    assert same(trained(3, grader=Rule(), penalty=0.0, penalty_sign=-1), absent)
    assert not same(trained(3, grader=ExPost(), penalty=0.5), absent)


def test_same_seed_same_bytes_other_seed_other_bytes() -> None:
    assert same(trained(3), trained(3))
    assert not same(trained(3), trained(3, seed=2))
    assert same(trained(2, seed=(5, 6)), trained(2, seed=(5, 6)))


def test_global_generators_do_not_matter() -> None:
    def disturbed(seed: int) -> Any:
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002  # the global generator is the point
        torch.manual_seed(seed)
        algorithm = config(training=settings(advantage_scaling="batch")).build_algo()
        random.seed(seed + 1)
        np.random.seed(seed + 1)  # noqa: NPY002
        torch.manual_seed(seed + 1)
        return train(algorithm, 3)

    assert same(disturbed(11), disturbed(99))


def test_the_scenario_stream_does_not_depend_on_the_policy() -> None:
    class Recording(Natural):
        asked: list[bytes] = []  # noqa: RUF012  # outlives the copies that the algorithm makes

        def ask(self, n: int, rng: np.random.Generator) -> Any:
            scenarios = super().ask(n, rng)
            self.asked.append(scenarios.tobytes())
            return scenarios

    trained(3, source=Recording())
    trained(3, source=Recording(), grader=ExPost(), penalty=3.0, network=NETWORK.model_copy(update={"hidden": (4,)}))
    first, second = Recording.asked[:3], Recording.asked[3:]
    assert first == second
    assert len(set(first)) == 3


@pytest.mark.usefixtures("one_ray")  # which RLlib would start itself to read a checkpoint
@pytest.mark.parametrize("how", ["restore_from_path", "from_checkpoint"])
def test_a_resumed_run_continues_bit_for_bit(tmp_path: Path, how: str) -> None:
    changes = {"grader": ExPost(), "penalty": 1.0, "training": settings(advantage_scaling="batch")}
    algorithm = config(**changes).build_algo()
    train(algorithm, 3)
    algorithm.save_to_path(str(tmp_path))
    saved = algorithm.policy().weights()
    expected = train(algorithm, 3)

    if how == "restore_from_path":
        resumed = config(**changes).build_algo()
        resumed.restore_from_path(str(tmp_path))
    else:
        resumed = KerfAlgorithm.from_checkpoint(str(tmp_path))
    assert same(resumed.policy().weights(), saved)
    assert resumed.source.told == 3
    assert same(train(resumed, 3), expected)
    assert resumed.source.told == algorithm.source.told == 6
    np.testing.assert_array_equal(resumed.source.scores, algorithm.source.scores)
    assert resumed.train()["num_env_steps_sampled_lifetime"] == algorithm.train()["num_env_steps_sampled_lifetime"]


def test_a_plain_state_continues_bit_for_bit_in_an_algorithm_that_has_trained_otherwise() -> None:
    changes = {"grader": ExPost(), "penalty": 1.0, "training": settings(advantage_scaling="batch")}
    algorithm = config(**changes).build_algo()
    at_first, (arrays, plain) = algorithm.training_state(), (train(algorithm, 3), algorithm.training_state())[1]
    assert {name.partition("/")[0] for name in at_first[0]} == {"weights", "shuffles"}
    assert {name.partition("/")[0] for name in arrays} == {"weights", "exp_avg", "exp_avg_sq", "step", "shuffles"}
    expected = train(algorithm, 3)
    other = config(**changes).build_algo()
    train(other, 1)
    other.load_training_state(arrays, plain)
    assert same(train(other, 3), expected)
    assert other.source.told == algorithm.source.told == 6
    other.load_training_state(*at_first)
    assert same(train(other, 6), expected)
    del arrays["exp_avg/policy_head.bias"]
    with pytest.raises(KerfError, match="training state: expected"):
        other.load_training_state(arrays, plain)


@pytest.mark.usefixtures("one_ray")
def test_going_back_in_a_live_algorithm_is_exact(tmp_path: Path) -> None:
    algorithm = config().build_algo()
    train(algorithm, 2)
    path = algorithm.save_to_path(str(tmp_path))
    state = algorithm.get_state()
    expected = train(algorithm, 2)
    algorithm.restore_from_path(path)
    assert same(train(algorithm, 2), expected)
    algorithm.set_state(state)
    assert same(train(algorithm, 2), expected)


def test_load_weights_forks_exactly_and_policy_is_detached() -> None:
    parent = config().build_algo()
    train(parent, 2)
    policy = parent.policy()
    before = policy.weights()
    child = config(seed=8).build_algo()
    child.load_weights(before)
    assert same(child.policy().weights(), before)
    observations = np.random.default_rng(0).standard_normal((20, 7)).astype(np.float32)
    assert child.policy().logits(observations).tobytes() == policy.logits(observations).tobytes()
    train(parent, 1)
    train(child, 1)
    assert same(policy.weights(), before)
    assert not same(child.policy().weights(), before)
    with pytest.raises(KerfError, match="must have shape"):
        child.load_weights(config(network=NETWORK.model_copy(update={"hidden": (3,)})).build_algo().policy().weights())


def test_play_is_the_one_rollout_and_trains_nothing() -> None:
    algorithm = config().build_algo()
    scenarios = natural(WORLD, 30, np.random.default_rng(0))
    uniforms = np.random.default_rng(1).random((3, 30), np.float32)
    before = algorithm.policy()
    sample = algorithm.play(scenarios, uniforms)
    trajectories = rollout(before, WORLD, scenarios, uniforms)
    np.testing.assert_array_equal(sample.columns["actions"], trajectories.actions)
    assert same(algorithm.policy().weights(), before.weights())


def test_runners_refuse_weights_that_were_not_meant() -> None:
    algorithm = config().build_algo()
    weights = algorithm.policy().weights()
    request = {"scenarios": natural(WORLD, 4, np.random.default_rng(0)), "uniforms": np.zeros((3, 4), np.float32)}
    algorithm.env_runner.sample(weights=weights, digest=weights_digest(weights), **request)
    with pytest.raises(RuntimeError, match="would act with weights"):
        algorithm.env_runner.sample(weights=weights, digest="0" * 64, **request)


def test_results_are_plain_floats_and_add_up() -> None:
    training = settings(imitation_coeff=0.5, anchor_coeff=0.5)
    anchor = config(seed=3).build_algo().policy().weights()
    algorithm = config(source=Forged(), training=training, anchor=anchor, grader=ExPost(), penalty=2.0).build_algo()
    result = algorithm.train()
    result = algorithm.train()
    played, learnt = result["env_runners"], result["learners"]["default_policy"]
    assert result["num_env_steps_sampled_lifetime"] == 2 * 64 * 3
    assert played["return_penalty"] == pytest.approx(2.0 * played["elicited"])
    assert played["elicited"] == pytest.approx(algorithm.source.scores.mean())
    names = ["entropy", "value_loss", "kl", "policy_loss", "imitation_loss", "anchor_kl", "grad_norm", "clip_fraction"]
    assert all(isinstance(learnt[name], float) and np.isfinite(learnt[name]) for name in names)
    total = (
        learnt["policy_loss"]
        + training.value_coeff * learnt["value_loss"]
        - training.entropy_coeff * learnt["entropy"]
        + training.imitation_coeff * learnt["imitation_loss"]
        + training.anchor_coeff * learnt["anchor_kl"]
    )
    assert learnt["loss"] == pytest.approx(total, abs=1e-5)


def test_losses_that_are_off_are_absent() -> None:
    algorithm = config(training=settings(policy_coeff=0.0, imitation_coeff=1.0)).build_algo()
    learnt = algorithm.train()["learners"]["default_policy"]
    assert "imitation_loss" in learnt
    assert not {"policy_loss", "anchor_kl", "clip_fraction"} & set(learnt)


def test_a_diverged_update_is_an_error() -> None:
    algorithm = config(advantage_scale=1e-38, training=settings(max_grad_norm=1e38, clip=1e30)).build_algo()
    with pytest.raises(FloatingPointError, match="training diverged"):
        train(algorithm, 20)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"penalty": -1.0}, r"penalty must be finite and >= 0, got -1\.0"),
        ({"penalty": float("nan")}, "penalty must be finite"),
        ({"penalty": 1.0}, "grader: a penalty of 1.0 needs a grader"),
        ({"penalty_sign": 0}, "penalty_sign must be 1 or -1, got 0"),
        ({"source": None}, "source: expected a scenario source"),
        ({"design": {"rescud": 1.0}}, "did you mean 'rescued'"),
        ({"advantage_scale": None}, "advantage_scale must be finite and > 0"),
        ({"advantage_scale": 0.0}, "advantage_scale must be finite and > 0"),
        ({"latent_scale": None, "training": settings(latent_radius=0.5)}, "latent_scale must be finite and > 0 with"),
        ({"latent_scale": 0.0, "training": settings(latent_radius=0.5)}, "latent_scale must be finite and > 0 with"),
        ({"training": settings(anchor_coeff=1.0)}, "anchor: anchor_coeff=1.0 needs the weights"),
        ({"world": "statoin"}, "did you mean 'station'"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_built(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(KerfError, match=message):
        config(**changes).build_algo()


def test_a_source_that_breaks_its_word_is_refused() -> None:
    class Short(Natural):
        def ask(self, n: int, rng: np.random.Generator) -> Any:
            return super().ask(n - 1, rng)

    class Invalid(Natural):
        def ask(self, n: int, rng: np.random.Generator) -> Any:
            return super().ask(n, rng) + np.int16(9)

    with pytest.raises(RuntimeError, match="the source gave 63 scenarios, not 64"):
        config(source=Short()).build_algo().train()
    with pytest.raises(KerfError, match="lever, row 0: truth must be in"):
        config(source=Invalid()).build_algo().train()


def test_a_config_without_a_task_is_refused() -> None:
    with pytest.raises(KerfError, match="world: expected the name of a world"):
        KerfConfig().build_algo()


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Ray that does not run, and that nobody may ask for anything."""

    def asked(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("Ray was asked for something")

    for name in ("init", "put", "get", "wait", "remote", "get_actor", "get_runtime_context"):
        monkeypatch.setattr(ray, name, asked)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)


def test_where_nothing_is_remote_nothing_asks_for_ray(no_ray: None) -> None:
    training = settings(anchor_coeff=0.5, advantage_scaling="batch")
    changes = {"grader": ExPost(), "penalty": 1.0, "training": training}
    anchor = config(seed=3).build_algo().policy().weights()
    here = trained(2, anchor=anchor, **changes)
    assert not same(here, trained(1, anchor=anchor, **changes))


def test_without_ray_it_trains_as_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"grader": ExPost(), "penalty": 1.0}
    with_ray = trained(2, **changes)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    assert same(trained(2, **changes), with_ray)


@pytest.mark.parametrize("where", ["num_env_runners", "num_learners"])
def test_ray_is_not_started_implicitly(no_ray: None, where: str) -> None:
    with pytest.raises(RuntimeError, match=r"need Ray: call ray\.init"):
        config(training=settings(**{where: 1})).build_algo()


@pytest.mark.parametrize("objective", ["elicit", "regret", "disagreement"])
def test_the_source_is_told_what_the_objective_makes_of_each_episode(objective):
    """The episodes of the first iteration are played again by the weights that played them."""
    world = get_world(LEVER)
    other = config(seed=2).build_algo()
    anchor = other.policy()
    other.stop()
    algorithm = config(objective=objective, anchor=anchor.weights()).build_algo()
    before = algorithm.policy()
    rng, action_rng = (np.random.default_rng(algorithm.config.seed_sequence(*key)) for key in ((0,), (0, ACTIONS)))
    scenarios = Natural().ask(64, rng)
    played = rollout(before, world, scenarios, action_rng.random((world.horizon, 64), np.float32))
    result = algorithm.train()
    expected = make_objective(objective)(played, anchor)
    np.testing.assert_allclose(algorithm.source.scores, expected, atol=1e-6)
    assert 0.0 < expected.mean() < 1.0, "all alike would show nothing"
    assert ("score" in result["env_runners"]) == (objective != "elicit")
    algorithm.stop()


@pytest.mark.parametrize("reward_scale", [0.1, 2.0])
def test_the_source_may_be_told_how_far_the_critic_was_surprised(reward_scale):
    """In units of utility, whatever the scale of what the learner sees, and with penalties taken off."""
    world, training = get_world(LEVER), settings(reward_scale=reward_scale, gamma=0.9, gae_lambda=0.8)
    graded = {"grader": ExPost(), "penalty": 0.5}
    algorithm = config(objective="positive_value_loss", training=training, **graded).build_algo()
    before = algorithm.policy()
    rng, action_rng = (np.random.default_rng(algorithm.config.seed_sequence(*key)) for key in ((0,), (0, ACTIONS)))
    scenarios = Natural().ask(64, rng)
    played = rollout(before, world, scenarios, action_rng.random((world.horizon, 64), np.float32))
    utility, penalty = RewardSpec(**graded).terms(played)
    _, state_values = before.outputs(played.observations.reshape(-1, 7))
    foreseen = state_values.reshape(penalty.shape) / reward_scale
    learning = Learning(utility - penalty, foreseen, discount=0.9, decay=0.8)
    expected = positive_value_loss(played, learning=learning)
    algorithm.train()
    np.testing.assert_allclose(algorithm.source.scores, expected, atol=1e-6)
    assert penalty.any(), "nothing penalised would show nothing"
    assert len(np.unique(expected.round(6))) > 10
    algorithm.stop()


def test_scores_by_the_critic_change_nothing_of_the_training_itself():
    assert same(trained(2, objective="positive_value_loss"), trained(2))


def test_a_misspelt_objective_is_refused():
    with pytest.raises(KerfError, match="unknown objective 'regrett'; did you mean 'regret'"):
        config(objective="regrett")
