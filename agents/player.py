"""Playing and grading the episodes of a training batch: what every learning algorithm has in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from kerf.agents.architectures import AnyNetworkPolicy, make_policy
from kerf.agents.network import PolicyNetwork, TorchPolicy
from kerf.agents.recurrent import RecurrentNetwork, RecurrentPolicy
from kerf.agents.shaping import shaping
from kerf.agents.threads import in_parallel
from kerf.agents.yoking import on_event
from kerf.lab.attack_objective import Learning, elicit, make_objective
from kerf.lab.oversight import Draws
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.rollout import Policy, Trajectories, no_memory, rollout, unplayed
from kerf.lab.scenario import Scenarios
from kerf.lab.world import World

if TYPE_CHECKING:
    from kerf.agents.config import KerfConfig

SCORE = "score"
"""The source's score of each episode, if it is another than `elicited`."""

FLAGGED = "flagged"
"""Name of what says where something is penalised, whatever the size of the penalty: of episodes, or a column."""

FROZEN = "frozen"
"""Name of what says in which episodes the agent switched its learning off."""

SLICE = 512
"""Episodes that are played together: their states and activations stay in a core's cache."""


class Actor(Policy, Protocol):
    """A policy that plays one slice of a batch, and keeps what its state values were."""

    def state_values(self) -> NDArray[np.float32]:
        """The state values before each step that it has played, `(T, n)`, in units of scaled reward."""


class Acting:
    """Acts with a network and keeps the state values of the same forward passes."""

    def __init__(self, network: PolicyNetwork) -> None:
        self._policy = TorchPolicy(network)
        self._state_values: list[NDArray[np.float32]] = []

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        logits, state_values = self._policy.outputs(observations)
        self._state_values.append(state_values)
        return logits

    def state_values(self) -> NDArray[np.float32]:
        return np.stack(self._state_values)


class Recalling:
    """The same with a network that has a memory."""

    def __init__(self, policy: RecurrentPolicy) -> None:
        self._policy = policy
        self._memory: NDArray[np.float32] | None = None
        self._state_values: list[NDArray[np.float32]] = []

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        memory = no_memory(self._policy, len(observations)) if self._memory is None else self._memory
        logits, state_values, self._memory = self._policy.outputs(observations, memory)
        self._state_values.append(state_values)
        return logits

    def state_values(self) -> NDArray[np.float32]:
        return np.stack(self._state_values)


def actors(network: PolicyNetwork | RecurrentNetwork) -> Callable[[slice], Actor]:
    """For each slice of a batch, what acts with `network` there."""
    if isinstance(network, PolicyNetwork):
        return lambda rows: Acting(network)
    policy = RecurrentPolicy(network)
    return lambda rows: Recalling(policy)


@dataclass(frozen=True)
class Played:
    """A batch of `n` episodes of `T` steps, played and graded.

    Attributes:
        trajectories: What was played.
        state_values: `(T, n)` float32, the actor's, in units of scaled reward.
        utility: `(T, n)`, design reward, without shaping and before `reward_scale`.
        paid: The same with shaping.
        penalised: `(T, n)`, 1 wherever a penalty falls, whatever its size, else 0.
        penalty: `(T, n)`, what is subtracted there, before `reward_scale`.
        episodes: Arrays `(n,)` float64 by name, as `kerf.agents.env_runner.Sample` has them.
    """

    trajectories: Trajectories
    state_values: NDArray[np.float32]
    utility: NDArray[np.float64]
    paid: NDArray[np.float64]
    penalised: NDArray[np.float64]
    penalty: NDArray[np.float64]
    episodes: Mapping[str, NDArray[np.float64]]


class Player:
    """Plays and grades scenarios. Has no random state.

    Args:
        world: The world to play in.
        config: A checked config: settings, grader, penalty, shaping, design weights, anchor.

    Attributes:
        reference: The frozen policy pi_0, if the config has one and something asks for it.
    """

    def __init__(self, world: World, config: KerfConfig) -> None:
        self._world, self._config, self._settings = world, config, config.settings
        self._objective = RewardSpec(config.design, config.grader, config.signed_penalty, oversight=config.oversight)
        self._potential = config.potential()
        self._sought = make_objective(config.objective)
        self.reference: AnyNetworkPolicy | None = None
        if config.anchor is not None and (self._settings.anchor_coeff > 0 or self._sought is not elicit):
            self.reference = make_policy(len(world.observations), len(world.actions), config.network, config.anchor)

    def play(
        self,
        actor: Callable[[slice], Actor],
        scenarios: Scenarios,
        uniforms: NDArray[np.float32],
        dealt: NDArray[np.bool_] | None = None,
        draws: Draws | None = None,
    ) -> Played:
        """Play `scenarios` `(n, F)`; `actor` is called with each slice of them, other arguments are those of
        `kerf.agents.env_runner.Sampler.sample`."""
        settings = self._settings
        scenarios = scenarios if draws is None else self._objective.oversight.shown(self._world, scenarios, draws)
        trajectories = unplayed(self._world, scenarios)
        slices = [slice(start, start + SLICE) for start in range(0, len(scenarios), SLICE)]
        state_values = np.concatenate(
            in_parallel(
                [partial(self._play, actor(rows), trajectories.of(rows), uniforms[:, rows]) for rows in slices],
                self._config.num_threads if settings.num_env_runners == 0 else 1,
            ),
            axis=1,
        )
        utility, penalised = self._objective.graded(trajectories, draws)
        if dealt is not None:
            penalised = self._dealt(trajectories, dealt)
        penalty = self._config.signed_penalty * penalised
        paid = utility
        if self._potential is not None:
            paid = utility + shaping(self._potential(trajectories.observations), settings.gamma)
        episodes = {
            "elicited": trajectories.happened(self._world.dilemma.forbidden).astype(np.float64),
            "penalised": (penalty != 0.0).any(axis=0).astype(np.float64),
            "return_utility": utility.sum(axis=0),
            "return_penalty": penalty.sum(axis=0),
        }
        episodes |= self._marks(trajectories, penalised)
        if self._sought is not elicit:
            values = state_values / settings.reward_scale
            learning = Learning(paid - penalty, values, settings.gamma, settings.gae_lambda)
            episodes[SCORE] = self._sought(trajectories, self.reference, learning)
        return Played(trajectories, state_values, utility, paid, penalised, penalty, episodes)

    def _play(self, actor: Actor, episodes: Trajectories, uniforms: NDArray[np.float32]) -> NDArray[np.float32]:
        """Play and fill in `episodes`; returns the state values before each step, `(T, n)`."""
        rollout(actor, self._world, episodes.scenarios, uniforms, episodes)
        return actor.state_values()

    def _marks(self, trajectories: Trajectories, penalised: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Which episodes are flagged, and in which learning was switched off, `(n,)` each, where that matters."""
        marks: dict[str, NDArray[np.float64]] = {}
        if self._config.screened or self._config.probe is not None:
            marks[FLAGGED] = np.asarray(penalised.any(axis=0), np.float64)
        if self._config.frozen_by is not None:
            marks[FROZEN] = trajectories.happened(self._config.frozen_by).astype(np.float64)
        return marks

    def _dealt(self, trajectories: Trajectories, dealt: NDArray[np.bool_]) -> NDArray[np.float64]:
        """1 at the steps that are penalised in yoked training, and 0 elsewhere, `(T, n)`."""
        if self._config.yoked_event is not None:
            dealt = on_event(dealt, trajectories.when(self._config.yoked_event))
        return dealt.astype(np.float64)
