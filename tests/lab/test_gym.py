"""Gymnasium environments: the same world one episode at a time or in a batch, checked by gymnasium itself."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from kerf.lab.errors import KerfError
from kerf.lab.gym import WorldEnv, WorldVectorEnv, environment_id, register_environments
from kerf.lab.reward import ideal_utility, reward
from kerf.lab.rollout import rollout
from kerf.lab.scripted import ExpertPolicy
from kerf.lab.world import event_weights, natural
from kerf.lab.worlds import get_world, known_worlds

STATION = get_world("station")
LEVER = "tests.toy_world:Lever"
ID = "kerf/Station-v0"
ROOT = Path(__file__).parents[2]


def batch(num_envs: int, **kwargs: Any) -> WorldVectorEnv:
    envs = gymnasium.make_vec(ID, num_envs=num_envs, vectorization_mode="vector_entry_point", **kwargs)
    assert isinstance(envs, WorldVectorEnv)
    return envs


def test_every_known_world_is_registered_once() -> None:
    for name in known_worlds():
        assert environment_id(name) in gymnasium.registry
    assert environment_id("two_words") == "kerf/TwoWords-v0"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        register_environments()


def test_naming_the_module_is_enough_and_compiles_nothing() -> None:
    code = (
        "import gymnasium, kerf.lab.gym, sys; "
        "assert 'numba' not in sys.modules and 'torch' not in sys.modules, 'too heavy'; "
        "print(gymnasium.make('kerf.lab.gym:kerf/Station-v0').spec.id)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == ID


@pytest.mark.parametrize("render_mode", ["rgb_array", "ansi"])
def test_gymnasium_finds_nothing_to_warn_of(render_mode: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(ID, render_mode=render_mode).unwrapped)


def test_gymnasium_checks_each_step_of_whole_episodes() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make(ID)
        env.action_space.seed(0)
        for episode in range(5):
            env.reset(seed=episode)
            ends = [env.step(env.action_space.sample())[2:4] for _ in range(STATION.horizon)]
            assert ends == [(False, False)] * (STATION.horizon - 1) + [(True, False)]


@pytest.mark.parametrize("world", ["station", LEVER])
def test_both_faces_play_what_rollout_plays(world: str) -> None:
    rules = get_world(world)
    n = 20
    scenarios = natural(rules, n, np.random.default_rng(0))
    played = rollout(ExpertPolicy(rules), rules, scenarios, np.random.default_rng(1))
    actions = np.where(np.random.default_rng(2).random(played.actions.shape) < 0.8, played.actions, 0)
    weights = {event: float(k) - 1.5 for k, event in enumerate(rules.events)}
    envs = WorldVectorEnv(world, n, weights=weights)
    seen, info = envs.reset(options={"scenario": scenarios})
    np.testing.assert_array_equal(info["scenario"], scenarios)
    observations, rewards, terminated, infos = [seen], [], [], []
    for action in actions:
        seen, paid, ended, cut, info = envs.step(action)
        observations.append(seen)
        rewards.append(paid)
        terminated.append(ended)
        infos.append(info)
        assert not cut.any()

    total = np.zeros(n)
    for i in range(n):
        env = WorldEnv(world, weights=weights)
        first, info = env.reset(options={"scenario": rules.space.to_text(scenarios[i])})
        np.testing.assert_array_equal(info["scenario"], scenarios[i])
        assert first.tobytes() == observations[0][i].tobytes()
        for t in range(rules.horizon):
            one, paid, ended, cut, info = env.step(actions[t, i])
            assert one.tobytes() == observations[t + 1][i].tobytes()
            assert (paid, ended, cut) == (rewards[t][i], terminated[t][i], False)
            assert info.keys() == infos[t].keys()
            assert info["events"] == infos[t]["events"][i]
            total[i] += sum(weights[event] for event in info["events"])
        assert info["episode_events"] == infos[-1]["episode_events"][i]
        assert info["ideal_utility"] == infos[-1]["ideal_utility"][i]
    np.testing.assert_allclose(np.sum(rewards, axis=0), total, atol=1e-9)
    assert np.abs(total).max() > 0
    assert np.stack(terminated).sum(axis=0).tolist() == [1] * n


def test_the_reward_is_the_ideal_utility_unless_weights_are_given() -> None:
    scenarios = natural(STATION, 30, np.random.default_rng(3))
    expert = ExpertPolicy(STATION)
    played = rollout(expert, STATION, scenarios, np.random.default_rng(0))
    envs = batch(30)
    envs.reset(options={"scenario": scenarios})
    paid = np.array([envs.step(actions)[1] for actions in played.actions])
    expected = reward(played.events, event_weights(STATION, STATION.ideal))
    np.testing.assert_array_equal(paid, expected)
    only_asking = batch(30, weights={"asked": 2.0})
    only_asking.reset(options={"scenario": scenarios})
    steps = [only_asking.step(actions) for actions in played.actions]
    np.testing.assert_array_equal([step[1] for step in steps], 2.0 * played.when("asked"))
    np.testing.assert_allclose(steps[-1][4]["ideal_utility"], ideal_utility(played), atol=1e-9)
    for i, events in enumerate(steps[-1][4]["episode_events"]):
        assert events == tuple(event for event in STATION.events if played.happened(event)[i])


def test_the_native_batch_resets_in_the_step_after_the_end() -> None:
    envs = batch(64)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    envs.action_space.seed(0)
    observations, info = envs.reset(seed=5)
    time = STATION.observations.index("time")
    first = info["scenario"]
    for episode in range(3):
        assert (observations[:, time] == 0).all()
        for t in range(STATION.horizon):
            observations, _, terminated, truncated, info = envs.step(envs.action_space.sample())
            assert (terminated == (t == STATION.horizon - 1)).all(), (episode, t)
            assert not truncated.any()
        observations, rewards, terminated, truncated, info = envs.step(envs.action_space.sample())
        assert not np.any([rewards, terminated, truncated])
        assert (info["scenario"] != first).any()
        STATION.space.validate(info["scenario"])
        first = info["scenario"]


@pytest.mark.parametrize("make", [lambda: gymnasium.make(ID), lambda: batch(3)], ids=["one", "batch"])
def test_the_seed_decides_the_scenarios(make: Any) -> None:
    def drawn(seed: int) -> list[bytes]:
        env = make()
        return [env.reset(seed=seed)[1]["scenario"].tobytes(), env.reset()[1]["scenario"].tobytes()]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert drawn(1)[0] != drawn(1)[1]


def test_observations_handed_out_are_not_written_to_again() -> None:
    envs = batch(4)
    first, _ = envs.reset(seed=0)
    kept = first.copy()
    envs.step(np.zeros(4, np.int64))
    np.testing.assert_array_equal(first, kept)


def test_renders_follow_the_episode() -> None:
    text = "station(start=11, door=4, place=17, cry=1, thump=1, truth=false)"
    env = WorldEnv("station", render_mode="ansi")
    env.reset(options={"scenario": text})
    before = env.render()
    env.step(np.int64(STATION.actions.index("east")))
    after = env.render()
    assert "step 0/24" in before
    assert "step 1/24" in after
    assert "#.@" in after
    envs = WorldVectorEnv("station", 2, render_mode="rgb_array")
    envs.reset(options={"scenario": [text, "station(start=12)"]})
    frames = envs.render()
    assert frames is not None
    assert len(frames) == 2
    assert frames[0].dtype == np.uint8
    assert (frames[0] != frames[1]).any()
    assert batch(2).render() is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scenrio": "station()"}, "unknown reset option 'scenrio'; did you mean 'scenario'"),
        ({"scenario": "station(dor=1)"}, "did you mean 'door'"),
        ({"scenario": "station(door=9)"}, "field door: expected"),
        ({"scenario": STATION.space.blank(2)}, "expected 1 scenario or 3, got 2"),
        ({"scenario": STATION.space.blank(3)[:, :5]}, "expected int16 scenarios of shape"),
        ({"scenario": STATION.space.blank(3) * 1.0}, "got float64"),
        ({"scenario": STATION.space.blank(3).astype(np.int64) + 2**16}, "must fit 16 bits"),
        ({"scenario": STATION.space.blank(3) - np.int16(1)}, r"row 0: window must be in \[0, 5\], got -1"),
        ({"scenario": []}, "expected int16 scenarios"),
        ({"scenario": 3}, "expected int16 scenarios"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(KerfError, match=message):
        batch(3).reset(options=options)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(KerfError, match="did you mean 'station'"):
        WorldEnv("staton")
    with pytest.raises(KerfError, match="unknown event of station 'rescue'; did you mean 'rescued'"):
        WorldEnv("station", weights={"rescue": 1.0})
    with pytest.raises(KerfError, match="unknown render mode 'rgb'"):
        WorldEnv("station", render_mode="rgb")
    with pytest.raises(KerfError, match="num_envs must be >= 1, got 0"):
        WorldVectorEnv("station", 0)


def test_steps_out_of_turn_are_refused() -> None:
    env = WorldEnv("station")
    with pytest.raises(ResetNeeded):
        env.step(np.int64(0))
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"expected 1 actions in \[0, 9\], got \[10\]"):
        env.step(np.int64(10))
    for _ in range(STATION.horizon):
        env.step(np.int64(0))
    with pytest.raises(ResetNeeded):
        env.step(np.int64(0))
    envs = batch(3)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="expected 3 actions"):
        envs.step(np.zeros(2, np.int64))
