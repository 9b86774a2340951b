"""RLlib algorithm: PPO with a batched env runner, scenarios from a source, and a penalty column.

One iteration is ask -> play -> learn -> tell.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import ray
from numpy.typing import NDArray
from ray.rllib.algorithms.ppo import PPO
from ray.rllib.core import COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.env import env_runner_group
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    ENV_RUNNER_SAMPLING_TIMER,
    LEARNER_RESULTS,
    LEARNER_UPDATE_TIMER,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    TIMERS,
)

from kerf.agents.config import ACTIONS, PENALTY_COUNTS, KerfConfig
from kerf.agents.effective_steps import EVERY
from kerf.agents.env_runner import FLAGGED, FROZEN, Sample
from kerf.agents.network import TorchPolicy, Weights, weights_digest
from kerf.agents.yoking import deal
from kerf.lab.oversight import Draws
from kerf.lab.scenario import Scenarios
from kerf.lab.source import ScenarioSource
from kerf.lab.worlds import get_world

_MAX_ATTEMPTS = 3  # a slice on which three env runners died is the likely cause
_MODULE_PREFIX = "network."


@runtime_checkable
class _Stateful(Protocol):
    """A scenario source that can be checkpointed."""

    def get_state(self) -> Any: ...

    def set_state(self, state: Any) -> None: ...


@runtime_checkable
class _Closing(Protocol):
    """A scenario source with resources outside of this process."""

    def close(self) -> None: ...


class KerfAlgorithm(PPO):
    """PPO on whole batches of scenarios. `train()` is one iteration: ask, play, learn, tell.

    Iteration k draws its scenarios from `SeedSequence(seed, spawn_key=(k,))`, and the numbers that select the actions
    from a stream of their own (`kerf.agents.config.ACTIONS`). Ray must have been initialised if env runners or learners
    are remote; otherwise nothing here needs it. A checkpoint (`save_to_path`, `from_checkpoint`) is a pickle: for
    resuming one's own runs only.

    The result of `train()` holds, as plain floats, `env_runners/{elicited, penalised, return_utility, return_penalty,
    advantage_std, num_env_steps_sampled_lifetime}`, `env_runners/score` if the objective is not `elicit`,
    `env_runners/flagged` if flagged episodes are screened, `env_runners/frozen` if an event switches learning off, and,
    unless all episodes are left out,
    `learners/default_policy/{loss, policy_loss, value_loss, entropy, kl, clip_fraction, grad_norm, grad_clip_share,
    imitation_loss, anchor_kl, latent_share, latent_gain, latent_norm}` (means over the iteration, `latent_gain` and
    `latent_norm` over the rows that were attacked; terms that are off are absent). With a surrogate loss there are also
    `step_{penalty, utility, critic, all}`, of the first minibatch of the first, sixth, ... iteration
    (`kerf.agents.effective_steps`); in all others they are NaN.

    Attributes:
        penalty_counts: `(T,)` int64, how many episodes of the last iteration were penalised at each step.
    """

    @classmethod
    def get_default_config(cls) -> KerfConfig:
        return KerfConfig()

    def setup(self, config: Any) -> None:
        if ray.is_initialized():
            super().setup(config)
        elif self.config.num_env_runners or self.config.num_learners:
            raise RuntimeError("remote env runners and learners need Ray: call ray.init(...) first")
        else:
            with _nothing_put():
                super().setup(config)
        self.world = get_world(self.config.world)
        self.source: ScenarioSource = copy.deepcopy(self.config.source)
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

    # -- the loop ------------------------------------------------------------------------------------------------

    def training_step(self) -> None:
        settings = self.config.settings
        rng = np.random.default_rng(self.config.seed_sequence(self.num_iterations))
        scenarios = self.source.ask(settings.num_scenarios, rng)
        self.world.space.validate(scenarios)
        if len(scenarios) != settings.num_scenarios:
            raise RuntimeError(f"the source gave {len(scenarios)} scenarios, not {settings.num_scenarios}")
        # A stream of its own: arms whose sources draw differently still use common random numbers to act.
        action_rng = np.random.default_rng(self.config.seed_sequence(self.num_iterations, ACTIONS))
        uniforms = action_rng.random((self.world.horizon, len(scenarios)), np.float32)
        with self.metrics.log_time((TIMERS, ENV_RUNNER_SAMPLING_TIMER)):
            draws = self.config.draws(self.num_iterations, len(scenarios))
            sample = self.play(scenarios, uniforms, self._dealt(len(scenarios)), draws)
        with self.metrics.log_time((TIMERS, LEARNER_UPDATE_TIMER)):
            self.metrics.aggregate(self._learn(sample), key=LEARNER_RESULTS)
        self._show_weights()
        self.source.tell(scenarios, sample.scores)
        self.num_iterations += 1
        self.penalty_counts = sample.penalty_counts
        report = {name: float(values.mean()) for name, values in sample.episodes.items()}
        report["advantage_std"] = float(sample.advantages().std())
        self.metrics.log_dict(report, key=ENV_RUNNER_RESULTS, window=1)
        self.metrics.log_value(
            (ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME), uniforms.size, reduce="lifetime_sum"
        )

    def _dealt(self, n: int) -> NDArray[np.bool_] | None:
        """The steps that this iteration penalises, if that does not depend on actions (yoked), `(T, n)`; else None.

        Drawn here, for the whole batch, so that it does not depend on the number of slices.
        """
        penalty_counts = self.config.penalty_counts
        if penalty_counts is None:
            return None
        if self.num_iterations >= len(penalty_counts):
            raise RuntimeError(
                f"the penalty counts are those of {len(penalty_counts)} iterations, and all of these are done"
            )
        rng = np.random.default_rng(self.config.seed_sequence(self.num_iterations, PENALTY_COUNTS))
        return deal(penalty_counts[self.num_iterations], n, rng)

    def play(
        self,
        scenarios: Scenarios,
        uniforms: NDArray[np.float32],
        dealt: NDArray[np.bool_] | None = None,
        draws: Draws | None = None,
    ) -> Sample:
        """Play `scenarios` `(n, F)` with the present weights, without training.

        The batch is cut into one slice per env runner. A slice whose runner died is played again by another, so the
        sample is always complete.

        Args:
            scenarios: `(n, F)`.
            uniforms: `(T, n)` in [0, 1), which select the actions.
            dealt: `(T, n)`, the steps to penalise, whatever is done; None leaves it to the grader.
            draws: Chance of the episodes' oversight; needed if that is not perfect.
        """
        weights = self._weights()
        request = {"weights": weights, "digest": weights_digest(weights)}
        num_runners = self.config.settings.num_env_runners
        if num_runners == 0:
            return self.env_runner.sample(**request, scenarios=scenarios, uniforms=uniforms, dealt=dealt, draws=draws)
        request["weights"] = ray.put(weights)
        parts = np.array_split(np.arange(len(scenarios)), num_runners)
        return self._play_remotely(
            [
                request
                | {
                    "scenarios": scenarios[rows],
                    "uniforms": uniforms[:, rows],
                    "dealt": None if dealt is None else dealt[:, rows],
                    "draws": None if draws is None else draws.of(rows),
                }
                for rows in parts
            ]
        )

    def _play_remotely(self, requests: Sequence[Mapping[str, Any]]) -> Sample:
        done: dict[int, Sample] = {}
        for _ in range(_MAX_ATTEMPTS):
            missing = [index for index in range(len(requests)) if index not in done]
            if not missing:
                break
            healthy = self._healthy_runners()
            answers = self.env_runner_group.foreach_env_runner(
                ["sample_slice"] * len(missing),
                kwargs=[{"slice_index": index, **requests[index]} for index in missing],
                remote_worker_ids=[healthy[i % len(healthy)] for i in range(len(missing))],
                local_env_runner=False,
                timeout_seconds=self.config.sample_timeout_s,
            )
            for index, answer in answers:
                if isinstance(answer, Exception):
                    raise answer
                done[index] = answer
        if len(done) < len(requests):
            raise RuntimeError(
                f"{len(requests) - len(done)} slices were lost with their env runners {_MAX_ATTEMPTS} times"
            )
        return Sample.joined([done[index] for index in range(len(requests))])

    def _healthy_runners(self) -> list[int]:
        """Ids of the env runners that answer; waits for a restart if there is none."""
        deadline = time.monotonic() + self.config.env_runner_restore_timeout_s
        while not (healthy := self.env_runner_group.healthy_env_runner_ids()):
            if time.monotonic() > deadline:
                raise RuntimeError(f"no env runner came back within {self.config.env_runner_restore_timeout_s} s")
            self.restore_env_runners(self.env_runner_group)
        return healthy

    def _learn(self, sample: Sample) -> list[Any]:
        """One learner update, each learner on an equal share of the episodes; none if all of them are left out."""
        settings = self.config.settings
        num_learners = settings.num_learners
        how = {
            "split": settings.policy_coeff > 0 and self.num_iterations % EVERY == 0,
            "plasticity": self.config.plasticity.at(self.num_iterations + 1),
        }
        left_out = [FLAGGED] * self.config.screened + [FROZEN] * (self.config.frozen_by is not None)
        if left_out:
            kept = np.all([sample.episodes[name] == 0.0 for name in left_out], axis=0)
            if not kept.any():
                return []
            batch = _batch({name: column[:, kept] for name, column in sample.columns.items()})
            return self.learner_group.update(batch=batch, **how)
        if num_learners == 0:
            return self.learner_group.update(batch=_batch(sample.columns), **how)
        num_episodes = len(sample.episodes["elicited"])
        shares = np.array_split(np.arange(num_episodes), num_learners)
        batches = [_batch({name: column[:, rows] for name, column in sample.columns.items()}) for rows in shares]
        return self.learner_group.update(batches=batches, **how)

    # -- weights -------------------------------------------------------------------------------------------------

    def policy(self) -> TorchPolicy:
        """The present policy, detached: later training does not change it."""
        network = self.env_runner.module.network
        return TorchPolicy.from_weights(
            network.num_observations, network.num_actions, self.config.network, self._weights()
        )

    def load_weights(self, weights: Weights) -> None:
        """Replace the weights on every learner; optimiser, counters and generators are unchanged.

        Raises:
            KerfError: unless names and shapes are exactly those of this network.
        """
        self.env_runner.module.network.load(weights)
        state = {_MODULE_PREFIX + name: np.asarray(tensor, np.float32) for name, tensor in weights.items()}
        self.learner_group.set_weights({DEFAULT_MODULE_ID: state})

    def _weights(self) -> Weights:
        state = self.learner_group.get_weights()[DEFAULT_MODULE_ID]
        return {name.removeprefix(_MODULE_PREFIX): tensor for name, tensor in state.items()}

    def _show_weights(self) -> None:
        """Give the local env runner the learner's weights, so that RLlib's `get_module()` shows them."""
        self.env_runner.set_state({COMPONENT_RL_MODULE: self.learner_group.get_weights()})

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def get_state(self, components: Any = None, *, not_components: Any = None, **kwargs: Any) -> dict[str, Any]:
        state = super().get_state(components, not_components=not_components, **kwargs)
        state["num_iterations"] = self.num_iterations
        if isinstance(self.source, _Stateful):
            state["source"] = self.source.get_state()
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self.num_iterations = state.get("num_iterations", self.num_iterations)
        if "source" in state and isinstance(self.source, _Stateful):
            self.source.set_state(state["source"])

    def training_state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """The complete state of training, without a pickle: arrays by name, and plain JSON values.

        Valid between two iterations, when no scenario waits for its score. The learners of a group agree in it.
        """
        source = self._stateful_source()
        arrays = self._of_each_learner(lambda learner: learner.training_state())[0]
        return arrays, {"num_iterations": self.num_iterations, "source": source.get_state()}

    def load_training_state(self, arrays: Mapping[str, NDArray[Any]], plain: Mapping[str, Any]) -> None:
        """Resume from a `training_state` of an algorithm of the same config.

        Raises:
            KerfError: if it is that of another network.
            ValueError: if the source's state is that of another generator.
        """
        state = dict(arrays)
        self._of_each_learner(lambda learner: learner.load_training_state(state))
        self._stateful_source().set_state(plain["source"])
        self.num_iterations = int(plain["num_iterations"])
        self._show_weights()

    def _stateful_source(self) -> _Stateful:
        if not isinstance(self.source, _Stateful):
            raise TypeError(f"{type(self.source).__name__} keeps no state that could be saved: it lacks get_state")
        return self.source

    def _of_each_learner(self, ask: Callable[[Any], Any]) -> list[Any]:
        """The results of `ask` on every learner; raises the exception of one that failed."""
        answers = [answer.get() for answer in self.learner_group.foreach_learner(ask)]
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers


@contextmanager
def _nothing_put() -> Iterator[None]:
    """Replace Ray's object store while RLlib builds, so that it builds without Ray: it would put the config there for
    remote env runners even if there are none, which is its only use of Ray then."""
    env_runner_group.ray = SimpleNamespace(put=lambda value: None)
    try:
        yield
    finally:
        env_runner_group.ray = ray


def _batch(columns: Mapping[str, NDArray[Any]]) -> MultiAgentBatch:
    """Columns `(T, n, ...)` as RLlib's batch of `T n` rows."""
    rows = {name: column.reshape(-1, *column.shape[2:]) for name, column in columns.items()}
    return MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(rows)}, env_steps=len(rows["actions"]))
