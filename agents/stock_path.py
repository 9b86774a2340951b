"""The stock path: RLlib's own algorithms, on episodes that are played and graded here.

An algorithm on this path keeps RLlib's training step or learner. Ours is the env runner: it plays the scenarios that
the algorithm was given, as one batch, in this process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from ray.rllib.core import COMPONENT_RL_MODULE, DEFAULT_AGENT_ID, DEFAULT_MODULE_ID
from ray.rllib.env import INPUT_ENV_SINGLE_SPACES, INPUT_ENV_SPACES
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.utils.checkpoints import Checkpointable
from ray.rllib.utils.metrics import (
    NUM_AGENT_STEPS_SAMPLED_LIFETIME,
    NUM_ENV_STEPS_SAMPLED,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
)

from kerf.agents.config import DEMONSTRATED, KerfConfig
from kerf.agents.env_runner import world_spaces
from kerf.agents.learner import ADAM
from kerf.agents.player import Actor, Played, Player
from kerf.agents.scenario_loop import Asked
from kerf.lab.errors import KerfError
from kerf.lab.worlds import get_world

C = TypeVar("C")

_TARGET = "_target_network."
"""What comes before a parameter's name in the target network of an algorithm's module."""


def is_target(name: str) -> bool:
    """Whether a tensor of a module, by its name, is one of its target network."""
    return name.startswith(_TARGET)


def configured(stock: C, lab: KerfConfig, runner: type, learner: type) -> C:
    """RLlib's config `stock`, with what all algorithms on this path set: spaces, one local env runner and learner.

    Raises:
        KerfError: for settings of ours that are invalid, or that ask for remote env runners or learners.
    """
    lab.check()
    settings, world = lab.settings, get_world(lab.world)
    for name in ("num_env_runners", "num_learners"):
        if getattr(settings, name):
            raise KerfError(f"{name} must be 0 with {settings.algorithm}, which trains in one process")
    observation_space, action_space = world_spaces(world)
    config: Any = stock
    config.lab, config.horizon = lab, world.horizon
    config.debugging(log_sys_usage=False)
    config.environment(observation_space=observation_space, action_space=action_space)
    config.env_runners(
        env_runner_cls=runner,
        num_env_runners=0,
        num_envs_per_env_runner=settings.num_scenarios,
        rollout_fragment_length=world.horizon,
        merge_env_runner_states=False,
        broadcast_env_runner_states=False,
    )
    config.learners(num_learners=0, learner_class=learner)
    config.reporting(min_sample_timesteps_per_iteration=0, min_time_s_per_iteration=None)
    return stock


class EpisodeRunner(EnvRunner, Checkpointable):
    """RLlib env runner that plays one batch of scenarios at each `sample()`.

    Attributes:
        played: What it played last.
        iteration: The iteration that it plays, counted from 0.
    """

    def __init__(self, *, config: Any, **kwargs: Any) -> None:
        super().__init__(config=config, **kwargs)
        self.lab: KerfConfig = config.lab
        self.world = get_world(self.lab.world)
        self.spaces = world_spaces(self.world)
        self._player = Player(self.world, self.lab)
        self._asked: Asked | None = None
        self.played: Played | None = None
        self.iteration = 0
        self.make_module()

    def actor(self, rows: slice) -> Actor:
        """The policy that plays the episodes `rows`."""
        raise NotImplementedError

    def packed(self, played: Played) -> Any:
        """The episodes as the algorithm takes them."""
        raise NotImplementedError

    def begin(self, asked: Asked, iteration: int) -> None:
        """Give it the scenarios of an iteration."""
        self._asked, self.iteration = asked, iteration

    def sample(self, **kwargs: Any) -> Any:
        asked = self._asked
        assert asked is not None, "begin() comes first"
        self.played = self._player.play(self.actor, asked.scenarios, asked.uniforms, asked.dealt, asked.draws)
        self.count(asked.uniforms.size)
        return self.packed(self.played)

    def count(self, steps: int) -> None:
        """Count steps for RLlib, which goes on sampling while there are none."""
        self.metrics.log_value(NUM_ENV_STEPS_SAMPLED, steps, reduce="sum")
        for key in (NUM_ENV_STEPS_SAMPLED_LIFETIME, (NUM_AGENT_STEPS_SAMPLED_LIFETIME, DEFAULT_AGENT_ID)):
            self.metrics.log_value(key, steps, reduce="lifetime_sum")

    def demonstrated(self) -> NDArray[np.bool_]:
        """Which episodes of this iteration the expert plays, `(n,)`."""
        settings = self.lab.settings
        total = settings.imitation_coeff + settings.policy_coeff
        share = settings.imitation_coeff / total if total else 0.0
        rng = np.random.default_rng(self.lab.seed_sequence(self.iteration, DEMONSTRATED))
        return rng.random(settings.num_scenarios) < share

    def make_module(self) -> None:
        self.module = self.config.get_rl_module_spec(spaces=self.get_spaces(), inference_only=True).build()

    def get_spaces(self) -> dict[str, Any]:
        return dict.fromkeys((INPUT_ENV_SPACES, INPUT_ENV_SINGLE_SPACES, DEFAULT_MODULE_ID), self.spaces)

    def assert_healthy(self) -> None:
        assert self.module is not None

    def get_metrics(self) -> Any:
        return self.metrics.reduce()

    def get_state(self, components: Any = None, *, not_components: Any = None, **kwargs: Any) -> dict[str, Any]:
        if self._check_component(COMPONENT_RL_MODULE, components, not_components):
            return {COMPONENT_RL_MODULE: self.module.get_state()}
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        if COMPONENT_RL_MODULE in state:
            weights = state[COMPONENT_RL_MODULE]
            self.module.set_state(weights.get(DEFAULT_MODULE_ID, weights))

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (), {"config": self.config}

    def get_checkpointable_components(self) -> list[tuple[str, Checkpointable]]:
        return []


def network_state(learner: Any) -> dict[str, NDArray[Any]]:
    """All tensors of a local learner's module, target network included, by name (`weights/<tensor>`), and its
    optimiser's moments."""
    module = learner.module[DEFAULT_MODULE_ID]
    state = {f"weights/{name}": tensor.cpu().numpy().copy() for name, tensor in module.state_dict().items()}
    ((_, optimizer),) = learner.get_optimizers_for_module(DEFAULT_MODULE_ID)
    for name, parameter in module.named_parameters():
        moments = optimizer.state.get(parameter, {})
        state |= {f"{kind}/{name}": moments[kind].cpu().numpy().copy() for kind in ADAM if kind in moments}
    return state


def load_network_state(learner: Any, state: Mapping[str, NDArray[Any]]) -> None:
    """Restore a `network_state`.

    Raises:
        KerfError: for the state of another network.
    """
    module = learner.module[DEFAULT_MODULE_ID]
    found = {name.removeprefix("weights/") for name in state if name.startswith("weights/")}
    own = module.state_dict()
    if found != set(own) or any(state[f"weights/{name}"].shape != tuple(own[name].shape) for name in found):
        raise KerfError(f"training state: expected the tensors {sorted(own)}, got {sorted(found)}; of another network?")
    module.load_state_dict({name: torch.from_numpy(np.array(state[f"weights/{name}"])) for name in own})
    ((_, optimizer),) = learner.get_optimizers_for_module(DEFAULT_MODULE_ID)
    optimizer.state.clear()
    for name, parameter in module.named_parameters():
        moments = {kind: state[f"{kind}/{name}"] for kind in ADAM if f"{kind}/{name}" in state}
        if moments:
            optimizer.state[parameter] = {kind: torch.from_numpy(np.array(moment)) for kind, moment in moments.items()}
