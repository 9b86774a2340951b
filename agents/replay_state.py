"""State of RLlib's prioritised replay buffer as arrays and plain values, for checkpoints without a pickle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.replay_buffers.prioritized_episode_buffer import PrioritizedEpisodeReplayBuffer

_PREFIX = "replay/"
_TREES = ("_sum_segment", "_min_segment")
_PLAIN = ("_num_episodes_evicted", "_num_timesteps", "_num_timesteps_added", "sampled_timesteps", "_max_idx")


def replay_state(buffer: PrioritizedEpisodeReplayBuffer) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays by name, all beginning with `replay/`, and plain values. All episodes have equally many steps."""
    episodes, state = list(buffer.episodes), buffer.get_state()
    arrays: dict[str, NDArray[Any]] = {
        "observations": np.array([episode.get_observations() for episode in episodes], np.float32),
        "actions": np.array([episode.get_actions() for episode in episodes], np.int64),
        "rewards": np.array([episode.get_rewards() for episode in episodes], np.float64),
        "indices": np.array(state["_indices"], np.int64),
        "free_nodes": np.array(state["_free_nodes"], np.int64),
        "node_to_sample": np.array(state["_tree_idx_to_sample_idx"], np.int64),
        "max_priority": np.array(state["_max_priority"], np.float64),
    }
    arrays |= {tree: np.array(state[tree], np.float64) for tree in _TREES}
    plain: dict[str, Any] = {name: int(state[name]) for name in _PLAIN}
    plain["episodes"] = [[str(name), int(index)] for name, index in state["episode_id_to_index"]]
    return {_PREFIX + name: array for name, array in arrays.items()}, plain


def load_replay(
    buffer: PrioritizedEpisodeReplayBuffer,
    arrays: Mapping[str, NDArray[Any]],
    plain: Mapping[str, Any],
    observation_space: gym.Space[Any],
    action_space: gym.Space[Any],
) -> None:
    """Restore a `replay_state` in a fresh buffer of the same capacity."""
    kept = {name.removeprefix(_PREFIX): array for name, array in arrays.items() if name.startswith(_PREFIX)}
    columns = zip(plain["episodes"], kept["observations"], kept["actions"], kept["rewards"], strict=True)
    episodes = [
        SingleAgentEpisode(
            id_=name,
            observations=list(observations),
            actions=list(actions),
            rewards=list(rewards),
            infos=[{}] * len(observations),
            terminated=True,
            observation_space=observation_space,
            action_space=action_space,
            len_lookback_buffer=0,
        ).to_numpy()
        for (name, _), observations, actions, rewards in columns
    ]
    state: dict[str, Any] = {name: plain[name] for name in _PLAIN}
    state |= {tree: kept[tree].tolist() for tree in _TREES}
    buffer.set_state(
        state
        | {
            "episodes": [],
            "episode_id_to_index": plain["episodes"],
            "_indices": [tuple(row) for row in kept["indices"].tolist()],
            "_free_nodes": kept["free_nodes"].tolist(),
            "_max_priority": float(kept["max_priority"]),
            "_tree_idx_to_sample_idx": kept["node_to_sample"].tolist(),
            "_last_sampled_indices": [],
        }
    )
    buffer.episodes.extend(episodes)
