"""Remote env runners and learners: the same data as without them, and a killed runner costs nothing but time."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from kerf.agents.algorithm import KerfAlgorithm
from kerf.lab.errors import KerfError
from kerf.lab.grader import ExPost
from kerf.lab.world import natural
from kerf.lab.worlds import get_world
from tests.agents.test_env_runner import assert_same_sample
from tests.agents.training import LEVER, Natural, config, same, settings, train

WORLD = get_world(LEVER)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_ray")]


def runner_pids(algorithm: KerfAlgorithm) -> list[int]:
    return algorithm.env_runner_group.foreach_env_runner(lambda runner: os.getpid(), local_env_runner=False)


@pytest.fixture(scope="module")
def remote(one_ray: None) -> Iterator[KerfAlgorithm]:
    """An algorithm with two env runners, which tests share: the processes take seconds to start."""
    algorithm = config(grader=ExPost(), penalty=1.0, training=settings(num_env_runners=2)).build_algo()
    yield algorithm
    algorithm.stop()


class Killing(Natural):
    """The natural stream; in the iterations of `when`, has env runners killed while their slice is with them."""

    when: dict[int, int]  # iteration -> how many to kill
    algorithm: KerfAlgorithm

    def ask(self, n: int, rng: np.random.Generator) -> Any:
        group = self.algorithm.env_runner_group
        victims = runner_pids(self.algorithm)[: self.when.get(self.told, 0)]
        if victims:
            group.fetch_ready_async_reqs()  # or the group takes no more of them
            group.foreach_env_runner_async(lambda runner: time.sleep(1.0))  # the slices queue up behind this
        for pid in victims:
            threading.Timer(0.3, os.kill, (pid, signal.SIGKILL)).start()
        return super().ask(n, rng)


def test_two_env_runners_give_the_same_data_as_none(remote: KerfAlgorithm) -> None:
    local = config(grader=ExPost(), penalty=1.0).build_algo()
    assert len(set(runner_pids(remote)) - {os.getpid()}) == 2
    scenarios = natural(WORLD, 64, np.random.default_rng(0))
    uniforms = np.random.default_rng(1).random((WORLD.horizon, 64), np.float32)
    assert_same_sample(remote.play(scenarios, uniforms), local.play(scenarios, uniforms))
    left, right = train(remote, 3), train(local, 3)
    for name in left:
        np.testing.assert_allclose(left[name], right[name], atol=1e-4)
    assert_same_sample(remote.play(scenarios, uniforms), remote.play(scenarios, uniforms))


def test_killed_env_runners_are_replaced_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    training = settings(num_env_runners=2)
    calm = config(training=training).build_algo()
    expected = train(calm, 6)
    calm.stop()

    algorithm = config(training=training).build_algo()
    algorithm.source = source = Killing()
    source.algorithm, source.when = algorithm, {1: 1, 3: 2}
    before = runner_pids(algorithm)
    left: list[tuple[int, list[int]]] = []  # which runners answered, as often as that was asked in an iteration
    group = algorithm.env_runner_group
    healthy = group.healthy_env_runner_ids

    def counted() -> list[int]:
        left.append((algorithm.num_iterations, healthy()))
        return left[-1][1]

    monkeypatch.setattr(group, "healthy_env_runner_ids", counted)
    for iteration in range(6):
        result = algorithm.train()
        assert result["num_env_steps_sampled_lifetime"] == (iteration + 1) * 64 * WORLD.horizon
        assert len(source.scores) == 64
    assert same(algorithm.policy().weights(), expected)
    assert all(ids for iteration, ids in left if iteration == 1), "one was left: there was nothing to wait for"
    assert not all(ids for iteration, ids in left if iteration == 3), "none was left, and one was waited for"
    deadline = time.monotonic() + 300.0
    while algorithm.env_runner_group.num_healthy_remote_env_runners() < 2 and time.monotonic() < deadline:
        algorithm.restore_env_runners(algorithm.env_runner_group)
    after = runner_pids(algorithm)
    assert len(after) == 2
    assert not set(after) & set(before)
    algorithm.stop()


def test_an_error_of_the_world_reaches_the_caller_as_it_is(remote: KerfAlgorithm) -> None:
    pids = runner_pids(remote)
    scenarios = natural(WORLD, 64, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"uniforms must have shape \(3, 32\), got \(2, 32\)") as caught:
        remote.play(scenarios, np.zeros((2, 64), np.float32))
    assert "rollout.py" in caught.value.__notes__[0]
    assert runner_pids(remote) == pids


@pytest.mark.parametrize("num_learners", [1, 2])
def test_remote_learners_learn_and_resume(num_learners: int, tmp_path: Any) -> None:
    task = {"grader": ExPost(), "penalty": 1.0}
    training = settings(num_learners=num_learners, advantage_scaling="batch", minibatch_size=48)
    algorithm = config(**task, training=training).build_algo()
    first = train(algorithm, 2)
    path = algorithm.save_to_path(str(tmp_path))
    expected = train(algorithm, 2)
    weights = algorithm.learner_group.foreach_learner(lambda learner: learner.get_state()["rl_module"])
    copies = [result.get()["default_policy"] for result in weights]
    assert len(copies) == num_learners
    assert all(same(copy, copies[0]) for copy in copies)
    if num_learners == 1:
        local = config(**task, training=settings(advantage_scaling="batch", minibatch_size=48)).build_algo()
        assert same(train(local, 4), expected)
    algorithm.restore_from_path(path)
    assert same(algorithm.policy().weights(), first)
    state = algorithm.training_state()
    assert same(train(algorithm, 2), expected)
    algorithm.load_training_state(*state)
    assert same(train(algorithm, 2), expected)
    state[0].popitem()
    with pytest.raises(KerfError, match="training state: expected"):
        algorithm.load_training_state(*state)
    algorithm.stop()


def test_two_learners_take_the_step_of_one() -> None:
    """One minibatch that holds the whole batch: the averaged gradient is the gradient of the batch."""
    task = {"grader": ExPost(), "penalty": 1.0}
    changes = {"advantage_scaling": "batch", "minibatch_size": 4096, "num_epochs": 3}
    local = config(**task, training=settings(**changes)).build_algo()
    remote = config(**task, training=settings(**changes, num_learners=2)).build_algo()
    left, right = train(remote, 2), train(local, 2)
    for name in left:
        np.testing.assert_allclose(left[name], right[name], atol=1e-4)
    remote.stop()


def test_tune_runs_it(tmp_path: Any) -> None:
    from ray import tune

    space = config(grader=ExPost())
    space.penalty = tune.grid_search([0.0, 2.0])
    tuner = tune.Tuner(
        KerfAlgorithm,
        param_space=space,
        run_config=tune.RunConfig(storage_path=str(tmp_path), stop={"training_iteration": 2}, verbose=0),
    )
    results = tuner.fit()
    assert len(results) == 2
    assert not results.errors
    penalties = sorted(result.metrics["env_runners"]["return_penalty"] for result in results)
    assert penalties[0] == 0.0 < penalties[1]
