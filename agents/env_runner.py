"""Batched sampling: plays a slice of whole episodes and returns columns for the learner.

A slice (weights, scenarios, uniforms) determines its episodes, so it does not matter which runner plays it, or how
often.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import ray
from numpy.typing import NDArray
from ray.rllib.core import COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.env import INPUT_ENV_SINGLE_SPACES, INPUT_ENV_SPACES
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.utils.checkpoints import Checkpointable

from kerf.agents.kernels import log_probs
from kerf.agents.network import PolicyNetwork, Weights, weights_digest
from kerf.agents.player import FLAGGED, SCORE, Player, actors
from kerf.agents.probe import followed
from kerf.agents.recurrent import RecurrentNetwork
from kerf.lab.oversight import Draws
from kerf.lab.rollout import Trajectories, logits_along
from kerf.lab.scenario import Scenarios
from kerf.lab.world import World
from kerf.lab.worlds import get_world

if TYPE_CHECKING:
    from kerf.agents.config import KerfConfig

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Sample:
    """The sample of a slice of `n` episodes of `T` steps.

    Attributes:
        columns: Time-major arrays `(T, n, ...)`, float32 unless said otherwise: `observations` `(T, n, D)`; `actions`
            int64; `action_logp`, the log-probability of the action taken; `advantage_utility` and `advantage_penalty`,
            whose difference is the advantage; `value_target` (without the penalty, where that
            is confined to some units); `expert_action` int64 (only with an imitation loss);
            `anchor_logits` `(T, n, A)` (only with an anchor); `forbidden` bool, whether the forbidden event happened at
            that step or later (only with a latent adversary); `flagged` bool, whether something is penalised then or
            later (only with a penalty on a probe).
        episodes: Arrays `(n,)` float64: `elicited` (1.0 where the forbidden event happened), `penalised` (1.0 where
            there was a penalty, or bonus), `return_utility` and `return_penalty` (undiscounted sums, before
            `reward_scale` and without shaping); `score`, only if the source's is not `elicited`; `flagged` (1.0 where
            something is penalised, whatever its size), only where such episodes are screened or a probe is penalised;
            `frozen` (1.0 where the agent switched its learning off), only where an event does so.
        penalty_counts: `(T,)` int64, the number of episodes that were penalised at each step.
    """

    columns: Columns
    episodes: Mapping[str, NDArray[np.float64]]
    penalty_counts: NDArray[np.int64]

    def advantages(self) -> NDArray[np.float32]:
        """Advantage of every step, utility minus penalty, unscaled, shape `(T, n)`."""
        advantages: NDArray[np.float32] = self.columns["advantage_utility"] - self.columns["advantage_penalty"]
        return advantages

    @property
    def scores(self) -> NDArray[np.float64]:
        """Scores for the source of scenarios, `(n,)` in [0, 1]."""
        return self.episodes.get(SCORE, self.episodes["elicited"])

    @classmethod
    def joined(cls, parts: Sequence[Sample]) -> Sample:
        """One sample from the slices of a batch, in the order of its episodes."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            {name: np.concatenate([part.columns[name] for part in parts], axis=1) for name in parts[0].columns},
            {name: np.concatenate([part.episodes[name] for part in parts]) for name in parts[0].episodes},
            np.sum([part.penalty_counts for part in parts], axis=0),
        )


def advantages(
    rewards: NDArray[np.float64], state_values: NDArray[np.float32] | None, gamma: float, gae_lambda: float
) -> NDArray[np.float64]:
    """Generalised advantage estimation (Schulman et al. 2016, eq. 16) over whole episodes.

    Args:
        rewards: `(T, n)`.
        state_values: `(T, n)`, or None for zero everywhere: for a second reward, whose values are in the first's.
        gamma: Discount per step.
        gae_lambda: Lambda.

    Returns:
        `(T, n)` float64. The horizon is the true end of an episode: nothing is bootstrapped there.
    """
    deltas = rewards
    if state_values is not None:
        deltas = rewards - state_values
        deltas[:-1] += gamma * state_values[1:]
    estimates = np.empty_like(deltas)
    running = np.zeros(deltas.shape[1])
    for t in range(len(deltas) - 1, -1, -1):
        running = deltas[t] + gamma * gae_lambda * running
        estimates[t] = running
    return estimates


class Sampler:
    """Plays scenarios and computes the columns of their sample. Has no random state.

    Args:
        world: The world to play in.
        config: A validated config: settings, grader, penalty, shaping, design weights, anchor.
    """

    def __init__(self, world: World, config: KerfConfig) -> None:
        self._world = world
        self._config = config
        self._settings = config.settings
        self._player = Player(world, config)
        self._anchor = self._player.reference if self._settings.anchor_coeff > 0 else None

    def sample(
        self,
        network: PolicyNetwork | RecurrentNetwork,
        scenarios: Scenarios,
        uniforms: NDArray[np.float32],
        dealt: NDArray[np.bool_] | None = None,
        draws: Draws | None = None,
    ) -> Sample:
        """Play `scenarios` `(n, F)`.

        Args:
            network: The policy.
            scenarios: `(n, F)`.
            uniforms: `(T, n)` in [0, 1), which select the actions.
            dealt: `(T, n)`, the steps to penalise, whatever is done, or only their number if the config has a
                `yoked_event`; None leaves it to the grader.
            draws: Chance of the episodes' oversight; needed if that is not perfect.
        """
        settings = self._settings
        played = self._player.play(actors(network), scenarios, uniforms, dealt, draws)
        trajectories, state_values = played.trajectories, played.state_values
        scale = settings.reward_scale
        of_utility = advantages(scale * played.paid, state_values, settings.gamma, settings.gae_lambda)
        of_penalty = advantages(scale * played.penalty, None, settings.gamma, settings.gae_lambda)
        columns: dict[str, NDArray[Any]] = {
            "observations": trajectories.observations,
            "actions": trajectories.actions,
            "action_logp": log_probability(trajectories),
            "advantage_utility": of_utility.astype(np.float32),
            "advantage_penalty": of_penalty.astype(np.float32),
            "value_target": (of_utility - of_penalty + state_values).astype(np.float32),
        }
        if self._config.penalty_units is not None:  # the penalty must not reach the trunk by way of the critic
            columns["value_target"] = (of_utility + state_values).astype(np.float32)
        rows = trajectories.observations.reshape(-1, trajectories.observations.shape[-1])
        if settings.imitation_coeff > 0:
            columns["expert_action"] = self._world.expert(rows).reshape(trajectories.actions.shape)
        if self._anchor is not None:
            columns["anchor_logits"] = logits_along(self._anchor, trajectories.observations)
        if settings.latent_radius > 0:
            columns["forbidden"] = followed(trajectories.when(self._world.dilemma.forbidden))
        if self._config.probe is not None:
            columns[FLAGGED] = followed(played.penalised > 0.0)
        return Sample(columns, played.episodes, np.count_nonzero(played.penalty, axis=1))


def log_probability(trajectories: Trajectories) -> NDArray[np.float32]:
    """Log-probability of the actions taken, `(T, n)` float32."""
    taken = np.empty(trajectories.actions.shape, np.float32)
    logits = trajectories.logits.reshape(-1, trajectories.logits.shape[-1])
    log_probs(logits, trajectories.actions.ravel(), taken.ravel())
    return taken


class KerfEnvRunner(EnvRunner, Checkpointable):
    """RLlib env runner around `Sampler`: a local object or a remote actor. Its only state: the weights last used."""

    def __init__(self, *, config: KerfConfig, **kwargs: Any) -> None:
        super().__init__(config=config, **kwargs)
        self._world = get_world(self.config.world)
        self._sampler = Sampler(self._world, self.config)
        self.make_module()

    def make_module(self) -> None:
        self.module = self.config.get_rl_module_spec(spaces=self.get_spaces(), inference_only=True).build()

    def get_spaces(self) -> dict[str, tuple[gym.Space[Any], gym.Space[Any]]]:
        spaces = world_spaces(self._world)
        return dict.fromkeys((INPUT_ENV_SPACES, INPUT_ENV_SINGLE_SPACES, DEFAULT_MODULE_ID), spaces)

    def assert_healthy(self) -> None:
        assert self.module is not None

    def sample(
        self,
        *,
        weights: Weights,
        digest: str,
        scenarios: Scenarios,
        uniforms: NDArray[np.float32],
        dealt: NDArray[np.bool_] | None = None,
        draws: Draws | None = None,
        **kwargs: Any,
    ) -> Sample:
        """`Sampler.sample` with `weights`, whose `weights_digest` is `digest`.

        Raises:
            RuntimeError: if the digest of the weights in use is another.
        """
        self.module.network.load(weights)
        used = weights_digest(self.module.network.weights())
        if used != digest:
            raise RuntimeError(f"env runner {self.worker_index} would act with weights {used[:12]}, not {digest[:12]}")
        return self._sampler.sample(self.module.network, scenarios, uniforms, dealt, draws)

    def sample_slice(
        self, *, slice_index: int, scenarios: Scenarios, uniforms: NDArray[np.float32], **kwargs: Any
    ) -> tuple[int, Sample | Exception]:
        """`sample`, for remote use: returns an exception, since RLlib ends an actor that raises and drops the
        reason."""
        try:
            # Copies, because arrays from Ray are read-only, for which numba would compile the kernels again.
            return slice_index, self.sample(
                scenarios=np.array(scenarios, order="C"), uniforms=np.array(uniforms, order="C"), **kwargs
            )
        except Exception as error:
            error.add_note(f"in env runner {self.worker_index}:\n{traceback.format_exc()}")
            return slice_index, error

    def get_metrics(self) -> Any:
        return self.metrics.reduce()

    def get_state(self, components: Any = None, *, not_components: Any = None, **kwargs: Any) -> dict[str, Any]:
        if self._check_component(COMPONENT_RL_MODULE, components, not_components):
            return {COMPONENT_RL_MODULE: self.module.get_state()}
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        if COMPONENT_RL_MODULE in state:
            weights = state[COMPONENT_RL_MODULE]
            if isinstance(weights, ray.ObjectRef):
                weights = ray.get(weights)
            self.module.set_state(weights.get(DEFAULT_MODULE_ID, weights))

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (), {"config": self.config}

    def get_checkpointable_components(self) -> list[tuple[str, Checkpointable]]:
        return []


def world_spaces(world: World) -> tuple[gym.spaces.Box, gym.spaces.Discrete[Any]]:
    """Observation and action space of one agent in `world`."""
    return (
        gym.spaces.Box(-np.inf, np.inf, (len(world.observations),), np.float32),
        gym.spaces.Discrete(len(world.actions)),
    )
