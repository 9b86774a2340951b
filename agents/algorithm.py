"""The algorithm: RLlib's PPO with a batched env runner, scenarios from a source, and a penalty column.

`KerfConfig` is the one place that maps our settings to RLlib's; `KerfAlgorithm` is the loop
ask -> play -> learn -> tell.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import ray
from numpy.typing import NDArray
from ray.rllib.algorithms.ppo import PPO, PPOConfig
from ray.rllib.core import COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    ENV_RUNNER_SAMPLING_TIMER,
    LEARNER_RESULTS,
    LEARNER_UPDATE_TIMER,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    TIMERS,
)

from agents.env_runner import KerfEnvRunner, Sample, world_spaces
from agents.learner import KerfLearner
from agents.network import KerfModule, TorchPolicy, Weights, weights_digest
from agents.settings import NetworkSettings, TrainingSettings
from lab.errors import KerfError, unknown_name
from lab.grader import Grader
from lab.scenario import Scenarios
from lab.source import ScenarioSource
from lab.worlds import get_world

# Spawn keys of the private streams. Iteration k uses the key (k,), so longer keys never meet it.
_STREAMS: Mapping[str, tuple[int, ...]] = {"weights": (0, 1), "shuffles": (0, 2)}
_MAX_ATTEMPTS = 3  # a slice that cost three env runners their lives is the cause, not the victim
_MODULE_PREFIX = "network."


@runtime_checkable
class _Stateful(Protocol):
    """A scenario source that can be checkpointed."""

    def get_state(self) -> Any: ...

    def set_state(self, state: Any) -> None: ...


class KerfConfig(PPOConfig):
    """What is trained, where, on which scenarios and under which feedback; RLlib's own settings follow from it.

    Set it with `kerf(...)`, then `build_algo()`. Resources (`learners(num_gpus_per_learner=1)`, `env_runners(
    num_cpus_per_env_runner=...)`, ...) stay RLlib's. RLlib's global `seed` stays None: nothing here uses global
    generators.
    """

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or KerfAlgorithm)
        self.world: str = ""
        self.network = NetworkSettings()
        self.settings = TrainingSettings()
        self.source: ScenarioSource | None = None
        self.grader: Grader | None = None
        self.penalty = 0.0
        # Not the sign itself: RLlib takes a setting of -1 for "deprecated" and drops it when a config is copied.
        self.penalty_turned = False
        self.design: Mapping[str, float] | None = None
        self.anchor: Weights | None = None
        self.advantage_scale: float | None = None
        self.entropy: int | Sequence[int] = 0

    def kerf(
        self,
        *,
        world: str,
        source: ScenarioSource,
        seed: int | Sequence[int],
        network: NetworkSettings | None = None,
        training: TrainingSettings | None = None,
        grader: Grader | None = None,
        penalty: float = 0.0,
        penalty_sign: Literal[1, -1] = 1,
        design: Mapping[str, float] | None = None,
        anchor: Weights | None = None,
        advantage_scale: float | None = None,
    ) -> KerfConfig:
        """Set everything of ours at once.

        Args:
            world: Name of a world (`lab.worlds.get_world`).
            source: Where scenarios come from. The algorithm works on a copy of its own.
            seed: Entropy of a `SeedSequence`; the only origin of chance (initial weights, scenarios, actions, shuffles).
            network: Defaults to `NetworkSettings()`.
            training: Defaults to `TrainingSettings()`.
            grader: Where to penalise; None grades nothing.
            penalty: L >= 0, subtracted at each penalised step, in units of utility.
            penalty_sign: -1 rewards what is else penalised (positive control).
            design: Event weights of the design reward; None means the world's ideal ones.
            anchor: Weights of the frozen policy pi_0 (same network), needed iff `anchor_coeff > 0`.
            advantage_scale: What advantages are divided by, needed iff `advantage_scaling` is `frozen`; usually
                `Sample.advantages().std()` of the aligned checkpoint (so: after `reward_scale`).

        Returns:
            This config.

        Raises:
            KerfError: for another sign. Everything else is checked by `validate`, before anything is built.
        """
        self.world, self.source, self.entropy = world, source, seed
        self.network = network or NetworkSettings()
        self.settings = training or TrainingSettings()
        if penalty_sign not in (1, -1):
            raise KerfError(f"penalty_sign must be 1 or -1, got {penalty_sign}")
        self.grader, self.penalty, self.penalty_turned = grader, penalty, penalty_sign == -1
        self.design, self.anchor, self.advantage_scale = design, anchor, advantage_scale
        return self

    @property
    def signed_penalty(self) -> float:
        """What is subtracted at a penalised step: L, or -L if the penalty is turned round."""
        return -self.penalty if self.penalty_turned else self.penalty

    def seed_sequence(self, *key: int) -> np.random.SeedSequence:
        """The seed sequence under a spawn key."""
        return np.random.SeedSequence(self.entropy, spawn_key=key)

    def torch_seed(self, stream: str) -> int:
        """Seed of a private `torch.Generator`: `weights` or `shuffles`."""
        return int(self.seed_sequence(*_STREAMS[stream]).generate_state(1, np.uint64)[0])

    def validate(self) -> None:
        """Check our settings and derive RLlib's. Raises `KerfError` (ours) or `ValueError` (RLlib's)."""
        self._check()
        self._derive()
        super().validate()

    def _check(self) -> None:
        if not self.world:
            raise KerfError("world: expected the name of a world, got none; call KerfConfig().kerf(world=...)")
        if self.source is None:
            raise KerfError("source: expected a scenario source, got None; call KerfConfig().kerf(source=...)")
        if not (math.isfinite(self.penalty) and self.penalty >= 0):
            raise KerfError(f"penalty must be finite and >= 0, got {self.penalty}; penalty_sign=-1 turns it round")
        if self.penalty > 0 and self.grader is None:
            raise KerfError(f"grader: a penalty of {self.penalty} needs a grader that says where, got None")
        events = get_world(self.world).events
        for event in self.design or ():
            if event not in events:
                raise unknown_name(f"event of {self.world} (design)", event, events)
        settings = self.settings
        if settings.anchor_coeff > 0 and self.anchor is None:
            raise KerfError(f"anchor: anchor_coeff={settings.anchor_coeff} needs the weights of pi_0, got None")
        scale = self.advantage_scale
        if settings.advantage_scaling == "frozen" and not (scale and math.isfinite(scale) and scale > 0):
            raise KerfError(f"advantage_scale must be finite and > 0 with advantage_scaling=frozen, got {scale}")
        for name in ("num_env_runners", "num_learners"):
            if settings.num_scenarios % max(1, getattr(settings, name)):
                raise KerfError(
                    f"num_scenarios={settings.num_scenarios} must be a multiple of {name}={getattr(settings, name)}"
                )

    def _derive(self) -> None:
        """Our settings in RLlib's words."""
        world, settings = get_world(self.world), self.settings
        observation_space, action_space = world_spaces(world)
        num_rows = settings.num_scenarios * world.horizon // max(1, settings.num_learners)
        self.environment(observation_space=observation_space, action_space=action_space)
        self.env_runners(
            env_runner_cls=KerfEnvRunner,
            num_env_runners=settings.num_env_runners,
            sample_timeout_s=600.0,
            # Runners keep nothing between slices: there is nothing to merge, and a new one is as good as the old.
            merge_env_runner_states=False,
            broadcast_env_runner_states=False,
        )
        self.learners(
            num_learners=settings.num_learners,
            learner_class=KerfLearner,
            add_default_connectors_to_learner_pipeline=False,
        )
        self.training(
            lr=settings.learning_rate,
            gamma=settings.gamma,
            lambda_=settings.gae_lambda,
            clip_param=settings.clip,
            vf_loss_coeff=settings.value_coeff,
            entropy_coeff=settings.entropy_coeff,
            use_kl_loss=False,
            grad_clip=settings.max_grad_norm,
            num_epochs=settings.num_epochs,
            # RLlib refuses minibatches larger than the batch; ours may be, and then are the batch.
            minibatch_size=min(settings.minibatch_size, num_rows),
            train_batch_size_per_learner=num_rows,
        )
        self.framework(torch_ddp_kwargs={"find_unused_parameters": True})  # a head whose losses are all off
        model_config = {"network": self.network.model_dump(), "weights_seed": self.torch_seed("weights")}
        self.rl_module(rl_module_spec=RLModuleSpec(module_class=KerfModule, model_config=model_config))
        self.fault_tolerance(
            restart_failed_env_runners=True,
            delay_between_env_runner_restarts_s=0.0,
            env_runner_health_probe_timeout_s=0.2,
            env_runner_restore_timeout_s=120.0,
        )


class KerfAlgorithm(PPO):
    """PPO on whole batches of scenarios. `train()` is one iteration: ask, play, learn, tell.

    Iteration k draws everything from `SeedSequence(seed, spawn_key=(k,))`, first the scenarios, then the numbers that pick
    the actions. Ray must have been initialised: RLlib puts its config into the object store even when nothing is remote.

    The result of `train()` holds, as plain floats, `env_runners/{elicited, return_utility, return_penalty,
    advantage_std, num_env_steps_sampled_lifetime}` and `learners/default_policy/{loss, policy_loss, value_loss, entropy,
    kl, clip_fraction, grad_norm, imitation_loss, anchor_kl}` (means over the iteration; terms that are off are absent).
    """

    @classmethod
    def get_default_config(cls) -> KerfConfig:
        return KerfConfig()

    def setup(self, config: Any) -> None:
        if not ray.is_initialized():
            raise RuntimeError("RLlib needs Ray even with nothing remote: call ray.init(...) first")
        super().setup(config)
        self.world = get_world(self.config.world)
        self.source: ScenarioSource = copy.deepcopy(self.config.source)
        self.num_iterations = 0

    # -- the loop ------------------------------------------------------------------------------------------------

    def training_step(self) -> None:
        settings = self.config.settings
        rng = np.random.default_rng(self.config.seed_sequence(self.num_iterations))
        scenarios = self.source.ask(settings.num_scenarios, rng)
        self.world.space.validate(scenarios)
        if len(scenarios) != settings.num_scenarios:
            raise RuntimeError(f"the source gave {len(scenarios)} scenarios, not {settings.num_scenarios}")
        uniforms = rng.random((self.world.horizon, len(scenarios)), np.float32)
        with self.metrics.log_time((TIMERS, ENV_RUNNER_SAMPLING_TIMER)):
            sample = self.play(scenarios, uniforms)
        with self.metrics.log_time((TIMERS, LEARNER_UPDATE_TIMER)):
            self.metrics.aggregate(self._learn(sample), key=LEARNER_RESULTS)
        self._show_weights()
        self.source.tell(scenarios, sample.episodes["elicited"])
        self.num_iterations += 1
        report = {name: float(values.mean()) for name, values in sample.episodes.items()}
        report["advantage_std"] = float(sample.advantages().std())
        self.metrics.log_dict(report, key=ENV_RUNNER_RESULTS, window=1)
        self.metrics.log_value(
            (ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME), uniforms.size, reduce="lifetime_sum"
        )

    def play(self, scenarios: Scenarios, uniforms: NDArray[np.float32]) -> Sample:
        """Play `scenarios` `(n, F)` with the present weights and the action numbers `uniforms` `(T, n)`; train nothing.

        The batch is cut into one slice per env runner. A slice whose runner died is played again by another, so the
        sample is always whole.
        """
        weights = self._weights()
        request = {"weights": weights, "digest": weights_digest(weights)}
        num_runners = self.config.settings.num_env_runners
        if num_runners == 0:
            return self.env_runner.sample(**request, scenarios=scenarios, uniforms=uniforms)
        request["weights"] = ray.put(weights)
        parts = np.array_split(np.arange(len(scenarios)), num_runners)
        return self._play_remotely(
            [request | {"scenarios": scenarios[rows], "uniforms": uniforms[:, rows]} for rows in parts]
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
            raise RuntimeError(f"{len(requests) - len(done)} slices were lost with their env runners {_MAX_ATTEMPTS} times")
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
        """One learner update, each learner on an equal share of the episodes."""
        num_learners = self.config.settings.num_learners
        if num_learners == 0:
            return self.learner_group.update(batch=_batch(sample.columns))
        num_episodes = len(sample.episodes["elicited"])
        shares = np.array_split(np.arange(num_episodes), num_learners)
        batches = [_batch({name: column[:, rows] for name, column in sample.columns.items()}) for rows in shares]
        return self.learner_group.update(batches=batches)

    # -- weights -------------------------------------------------------------------------------------------------

    def policy(self) -> TorchPolicy:
        """The present policy, detached: later training does not change it."""
        network = self.env_runner.module.network
        return TorchPolicy.from_weights(
            network.num_observations, network.num_actions, self.config.network, self._weights()
        )

    def load_weights(self, weights: Weights) -> None:
        """Replace the weights on every learner; optimiser, counters and generators stay as they are.

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


def _batch(columns: Mapping[str, NDArray[Any]]) -> MultiAgentBatch:
    """Columns `(T, n, ...)` as RLlib's batch of `T n` rows."""
    rows = {name: column.reshape(-1, *column.shape[2:]) for name, column in columns.items()}
    return MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(rows)}, env_steps=len(rows["actions"]))
