"""RLlib algorithm: PPO with a batched env runner, scenarios from a source, and a penalty column.

One iteration is ask -> play -> learn -> tell.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray.rllib.algorithms.ppo import PPO
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    ENV_RUNNER_SAMPLING_TIMER,
    LEARNER_RESULTS,
    LEARNER_UPDATE_TIMER,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    TIMERS,
)

from kerf.agents.config import KerfConfig
from kerf.agents.effective_steps import EVERY
from kerf.agents.env_runner import Sample
from kerf.agents.network import weights_digest
from kerf.agents.player import FLAGGED, FROZEN
from kerf.agents.scenario_loop import ScenarioLoop, Stateful
from kerf.lab.oversight import Draws
from kerf.lab.scenario import Scenarios

_MAX_ATTEMPTS = 3  # a slice on which three env runners died is the likely cause


def build(config: KerfConfig) -> KerfAlgorithm:
    """Build PPO from its config (`kerf.agents.building`)."""
    algorithm: KerfAlgorithm = config.build_algo()
    return algorithm


class KerfAlgorithm(ScenarioLoop, PPO):
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
    """

    @classmethod
    def get_default_config(cls) -> KerfConfig:
        return KerfConfig()

    @property
    def lab(self) -> KerfConfig:
        config: KerfConfig = self.config
        return config

    # -- the loop ------------------------------------------------------------------------------------------------

    def training_step(self) -> None:
        asked = self.ask()
        with self.metrics.log_time((TIMERS, ENV_RUNNER_SAMPLING_TIMER)):
            sample = self.play(asked.scenarios, asked.uniforms, asked.dealt, asked.draws)
        with self.metrics.log_time((TIMERS, LEARNER_UPDATE_TIMER)):
            self.metrics.aggregate(self._learn(sample), key=LEARNER_RESULTS)
        self._show_weights()
        self.tell(asked, sample.episodes, sample.penalty_counts, {"advantage_std": float(sample.advantages().std())})
        self.metrics.log_value(
            (ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME), asked.uniforms.size, reduce="lifetime_sum"
        )

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

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def get_state(self, components: Any = None, *, not_components: Any = None, **kwargs: Any) -> dict[str, Any]:
        state = super().get_state(components, not_components=not_components, **kwargs)
        state["num_iterations"] = self.num_iterations
        if isinstance(self.source, Stateful):
            state["source"] = self.source.get_state()
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self.num_iterations = state.get("num_iterations", self.num_iterations)
        if "source" in state and isinstance(self.source, Stateful):
            self.source.set_state(state["source"])

    def training_state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """The complete state of training, without a pickle: arrays by name, and plain JSON values.

        Valid between two iterations, when no scenario waits for its score. The learners of a group agree in it.
        """
        source = self.stateful_source()
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
        self.stateful_source().set_state(plain["source"])
        self.num_iterations = int(plain["num_iterations"])
        self._show_weights()

    def _of_each_learner(self, ask: Callable[[Any], Any]) -> list[Any]:
        """The results of `ask` on every learner; raises the exception of one that failed."""
        answers = [answer.get() for answer in self.learner_group.foreach_learner(ask)]
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers


def _batch(columns: Mapping[str, NDArray[Any]]) -> MultiAgentBatch:
    """Columns `(T, n, ...)` as RLlib's batch of `T n` rows."""
    rows = {name: column.reshape(-1, *column.shape[2:]) for name, column in columns.items()}
    return MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(rows)}, env_steps=len(rows["actions"]))
