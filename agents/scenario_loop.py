"""The loop that all learning algorithms share: scenarios are asked for, played, learnt from, and told about."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import ray
from numpy.typing import NDArray
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core import COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.env import env_runner_group
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS

from kerf.agents.architectures import AnyNetworkPolicy, make_policy
from kerf.agents.config import ACTIONS, PENALTY_COUNTS, KerfConfig
from kerf.agents.network import Weights
from kerf.agents.player import SCORE
from kerf.agents.yoking import deal
from kerf.lab.oversight import Draws
from kerf.lab.scenario import Scenarios
from kerf.lab.source import ScenarioSource
from kerf.lab.worlds import get_world

MODULE_PREFIX = "network."
"""What comes before a parameter's name in an RLlib module around a network."""


@runtime_checkable
class Stateful(Protocol):
    """A scenario source that can be checkpointed."""

    def get_state(self) -> Any: ...

    def set_state(self, state: Any) -> None: ...


@runtime_checkable
class _Closing(Protocol):
    """A scenario source with resources outside of this process."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Asked:
    """What one iteration plays.

    Attributes:
        scenarios: `(n, F)`.
        uniforms: `(T, n)` in [0, 1), which select the actions.
        dealt: `(T, n)`, the steps to penalise, whatever is done; None leaves it to the grader.
        draws: Chance of the episodes' oversight; None if that is perfect.
    """

    scenarios: Scenarios
    uniforms: NDArray[np.float32]
    dealt: NDArray[np.bool_] | None
    draws: Draws | None


class ScenarioLoop(Algorithm):
    """An RLlib algorithm whose episodes are scenarios from a source; comes before RLlib's class among the bases.

    Attributes:
        num_iterations: Iterations done.
        penalty_counts: `(T,)` int64, how many episodes of the last iteration were penalised at each step.
    """

    @property
    def lab(self) -> KerfConfig:
        """Our settings."""
        raise NotImplementedError

    def setup(self, config: Any) -> None:
        settings = self.lab.settings
        if ray.is_initialized():
            super().setup(config)
        elif settings.num_env_runners or settings.num_learners:
            raise RuntimeError("remote env runners and learners need Ray: call ray.init(...) first")
        else:
            with without_ray():
                super().setup(config)
        self.world = get_world(self.lab.world)
        assert self.lab.source is not None, "the config checks it"
        self.source: ScenarioSource = copy.deepcopy(self.lab.source)
        self.num_iterations = 0
        self.penalty_counts: NDArray[np.int64] = np.zeros(self.world.horizon, np.int64)

    def _setup_logdir(self) -> None:
        """Only under Tune, for the trial: RLlib would otherwise create an empty folder in the user's home at each
        build."""
        if self._storage:
            super()._setup_logdir()

    def cleanup(self) -> None:
        """Also release the source's resources."""
        if isinstance(self.source, _Closing):
            self.source.close()
        super().cleanup()

    def ask(self) -> Asked:
        """The scenarios of this iteration, and all of its chance."""
        lab, n, k = self.lab, self.lab.settings.num_scenarios, self.num_iterations
        scenarios = self.source.ask(n, np.random.default_rng(lab.seed_sequence(k)))
        self.world.space.validate(scenarios)
        if len(scenarios) != n:
            raise RuntimeError(f"the source gave {len(scenarios)} scenarios, not {n}")
        # A stream of its own: arms whose sources draw differently still use common random numbers to act.
        action_rng = np.random.default_rng(lab.seed_sequence(k, ACTIONS))
        uniforms = action_rng.random((self.world.horizon, n), np.float32)
        return Asked(scenarios, uniforms, self._dealt(n), lab.draws(k, n))

    def _dealt(self, n: int) -> NDArray[np.bool_] | None:
        """The steps that this iteration penalises, if that does not depend on actions (yoked), `(T, n)`; else None.

        Drawn here, for the whole batch, so that it does not depend on the number of slices.
        """
        penalty_counts = self.lab.penalty_counts
        if penalty_counts is None:
            return None
        if self.num_iterations >= len(penalty_counts):
            raise RuntimeError(
                f"the penalty counts are those of {len(penalty_counts)} iterations, and all of these are done"
            )
        rng = np.random.default_rng(self.lab.seed_sequence(self.num_iterations, PENALTY_COUNTS))
        return deal(penalty_counts[self.num_iterations], n, rng)

    def tell(
        self,
        asked: Asked,
        episodes: Mapping[str, NDArray[np.float64]],
        penalty_counts: NDArray[np.int64],
        further: Mapping[str, float],
    ) -> None:
        """Tell the source what came of its scenarios, and report the iteration, with `further` numbers."""
        self.source.tell(asked.scenarios, episodes.get(SCORE, episodes["elicited"]))
        self.num_iterations += 1
        self.penalty_counts = penalty_counts
        report = {name: float(values.mean()) for name, values in episodes.items()}
        self.metrics.log_dict(report | dict(further), key=ENV_RUNNER_RESULTS, window=1)

    # -- weights -------------------------------------------------------------------------------------------------

    def policy(self) -> AnyNetworkPolicy:
        """The present policy, detached: later training does not change it."""
        network = self.env_runner.module.network
        return make_policy(network.num_observations, network.num_actions, self.lab.network, self._weights())

    def load_weights(self, weights: Weights) -> None:
        """Replace the weights on every learner; optimiser, counters and generators are unchanged.

        Raises:
            KerfError: unless names and shapes are exactly those of this network.
        """
        self.env_runner.module.network.load(weights)
        state = {MODULE_PREFIX + name: np.asarray(tensor, np.float32) for name, tensor in weights.items()}
        self.learner_group.set_weights({DEFAULT_MODULE_ID: state})

    def _weights(self) -> Weights:
        state = self.learner_group.get_weights()[DEFAULT_MODULE_ID]
        return {name.removeprefix(MODULE_PREFIX): tensor for name, tensor in state.items()}

    def _show_weights(self) -> None:
        """Give the local env runner the learner's weights, so that RLlib's `get_module()` shows them."""
        self.env_runner.set_state({COMPONENT_RL_MODULE: self.learner_group.get_weights()})

    def stateful_source(self) -> Stateful:
        """The source; raises `TypeError` if its state cannot be saved."""
        if not isinstance(self.source, Stateful):
            raise TypeError(f"{type(self.source).__name__} keeps no state that could be saved: it lacks get_state")
        return self.source


@contextmanager
def without_ray() -> Iterator[None]:
    """Replace Ray's object store for a while, so that RLlib builds and trains in one process without Ray: it puts
    configs and weights there for remote env runners, even if there are none, which is its only use of Ray then."""
    env_runner_group.ray = SimpleNamespace(put=lambda value: value, get=lambda value: value, actor=ray.actor)
    try:
        yield
    finally:
        env_runner_group.ray = ray
