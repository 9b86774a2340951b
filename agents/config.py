"""`KerfConfig`: settings of training, and the only place that maps them to RLlib's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from kerf.agents.env_runner import KerfEnvRunner, world_spaces
from kerf.agents.learner import KerfLearner
from kerf.agents.methods import METHODS, PPO
from kerf.agents.module import KerfModule
from kerf.agents.network import Weights
from kerf.agents.plasticity import WHOLE, Plasticity
from kerf.agents.probe import ProbePenalty
from kerf.agents.settings import NetworkSettings, TrainingSettings, refuse_latent, refuse_memory
from kerf.agents.shaping import Potential, random_potential
from kerf.lab.attack_objective import make_objective
from kerf.lab.errors import KerfError, unknown_name
from kerf.lab.grader import Grader
from kerf.lab.oversight import PERFECT, Draws, Oversight
from kerf.lab.source import ScenarioSource
from kerf.lab.worlds import get_world

# Spawn keys of the private streams. Iteration k uses the key (k,), from which longer keys differ.
_STREAMS: Mapping[str, tuple[int, ...]] = {"weights": (0, 1), "shuffles": (0, 2)}
ACTIONS = 3
"""Iteration k draws its scenarios under the spawn key (k,), and the numbers that select actions under (k, ACTIONS)."""
PENALTY_COUNTS = 4
"""Under (k, PENALTY_COUNTS), iteration k draws which episodes are penalised in yoked training."""
_POTENTIAL = (0, 5)
DEMONSTRATED = 7
"""Under (k, DEMONSTRATED), iteration k draws which episodes the expert plays, where its play is learnt from."""
REPLAYED = 8
"""Under (k, REPLAYED), iteration k draws what it replays, or in which order it learns."""
OVERSIGHT = 6
"""Under (k, OVERSIGHT), iteration k draws which episodes are overseen, and where the grader is mistaken."""


ALWAYS: tuple[int, float] = (1, math.inf)
"""All iterations, as the first and the last of them."""


def ppo_settings(settings: TrainingSettings, num_rows: int) -> dict[str, Any]:
    """Arguments of RLlib's `PPOConfig.training` from our settings, for a batch of `num_rows`."""
    return {
        "lr": settings.learning_rate,
        "gamma": settings.gamma,
        "lambda_": settings.gae_lambda,
        "clip_param": settings.clip,
        "vf_loss_coeff": settings.value_coeff,
        "entropy_coeff": settings.entropy_coeff,
        "use_kl_loss": False,
        "grad_clip": settings.max_grad_norm,
        "num_epochs": settings.num_epochs,
        # RLlib refuses minibatches larger than the batch; in our settings they are cut to it.
        "minibatch_size": min(settings.minibatch_size, num_rows),
        "train_batch_size_per_learner": num_rows,
    }


class KerfConfig(PPOConfig):
    """World, network, scenarios and feedback of training; RLlib's own settings are derived from them.

    Set it with `kerf(...)`, then `build_algo()`. Resources (`learners(num_gpus_per_learner=1)`, `env_runners(
    num_cpus_per_env_runner=...)`, ...) stay RLlib's. RLlib's global `seed` stays None: nothing here uses global
    generators.
    """

    def __init__(self, algo_class: type | None = None) -> None:
        from kerf.agents.algorithm import KerfAlgorithm  # here: it needs this module to define its default config

        super().__init__(algo_class=algo_class or KerfAlgorithm)
        # RLlib would monitor the machine's load in a thread, which takes up to 0.7 s to stop.
        self.debugging(log_sys_usage=False)
        self.world: str = ""
        self.network = NetworkSettings()
        self.settings = TrainingSettings()
        self.source: ScenarioSource | None = None
        self.grader: Grader | None = None
        self.penalty = 0.0
        # Not the sign itself: to RLlib a setting of -1 means "deprecated", and is dropped when a config is copied.
        self.penalty_turned = False
        self.penalty_counts: Sequence[Sequence[int]] | None = None
        self.yoked_event: str | None = None
        self.oversight = PERFECT
        self.penalty_iterations: tuple[int, float] = ALWAYS
        self.screened = False
        self.frozen_by: str | None = None
        self.plasticity = WHOLE
        self.penalty_units: float | None = None
        self.probe: ProbePenalty | None = None
        self.shaping = 0.0
        self.design: Mapping[str, float] | None = None
        self.anchor: Weights | None = None
        self.advantage_scale: float | None = None
        self.objective = "elicit"
        self.latent_scale: float | None = None
        self.seed_entropy: int | Sequence[int] = 0
        self.num_threads = 1

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
        penalty_counts: Sequence[Sequence[int]] | None = None,
        yoked_event: str | None = None,
        oversight: Oversight = PERFECT,
        penalty_iterations: tuple[int, float] = ALWAYS,
        screened: bool = False,
        frozen_by: str | None = None,
        plasticity: Plasticity = WHOLE,
        penalty_units: float | None = None,
        probe: ProbePenalty | None = None,
        shaping: float = 0.0,
        design: Mapping[str, float] | None = None,
        anchor: Weights | None = None,
        advantage_scale: float | None = None,
        objective: str = "elicit",
        latent_scale: float | None = None,
        num_threads: int = 1,
    ) -> KerfConfig:
        """Set all of our settings.

        Args:
            world: Name of a world (`kerf.lab.worlds.get_world`).
            source: Source of scenarios. The algorithm uses a copy.
            seed: Entropy of a `SeedSequence`, the only source of randomness: weights, scenarios, actions, shuffles.
            network: Defaults to `NetworkSettings()`.
            training: Defaults to `TrainingSettings()`.
            grader: Decides which steps to penalise; None penalises none.
            penalty: L >= 0, subtracted at each penalised step, in units of utility.
            penalty_sign: -1 rewards acts that would otherwise be penalised (positive control).
            penalty_counts: `(K, T)`: number of episodes penalised at iteration k and step t, whatever they do, instead
                of those that the grader selects; training is limited to K iterations. None leaves it to the grader.
            yoked_event: Event on which these penalties fall, as many an iteration, or all if it happens in fewer
                episodes; None deals them by lot.
            oversight: How often the grader is asked and mistaken, and whether the agent sees it.
            penalty_iterations: The first and the last iteration, counted from 1, in which anything is penalised.
            screened: Leaves episodes in which something is penalised out of the learner's batch.
            frozen_by: Event by which the agent switches its learning off: episodes in which it happens are left out of
                the learner's batch. None: there is none.
            plasticity: Schedule of the learning rate.
            penalty_units: Share of the units of the last hidden layer to which the penalty's gradient is confined
                (`kerf.agents.routing`); None lets it change everything.
            probe: Penalty on a probe of the network (`kerf.agents.probe`), beside that on the act; None: there is none.
            shaping: Standard deviation of a random potential by which the design reward is shaped, in units of
                utility (`kerf.agents.shaping`); 0 for none.
            design: Event weights of the design reward; None means the world's ideal ones.
            anchor: Weights of the frozen policy pi_0 (same network), needed iff `anchor_coeff > 0`.
            advantage_scale: Divisor of advantages, needed iff `advantage_scaling` is `fixed`; usually
                `Sample.advantages().std()` of the aligned checkpoint (so: after `reward_scale`).
            objective: The source's score of each episode (`kerf.lab.attack_objective.TRAINING_OBJECTIVES`); the
                reference policy, where one is needed, is `anchor`.
            latent_scale: Unit of `latent_radius`, a root mean square over the units of the last hidden layer, needed
                iff `latent_radius > 0`; usually `kerf.agents.latent_radius.latent_scale` of the aligned
                checkpoint.
            num_threads: Threads for playing and learning in this process; more than two do not help. Results do not
                depend on it, bit for bit.

        Returns:
            This config.

        Raises:
            KerfError: for an invalid or missing argument, with its name.
        """
        self.world, self.source, self.seed_entropy = world, source, seed
        self.network = network or NetworkSettings()
        self.settings = training or TrainingSettings()
        if penalty_sign not in (1, -1):
            raise KerfError(f"penalty_sign must be 1 or -1, got {penalty_sign}")
        self.grader, self.penalty, self.penalty_turned = grader, penalty, penalty_sign == -1
        self.penalty_counts, self.yoked_event, self.shaping = penalty_counts, yoked_event, shaping
        self.oversight, self.penalty_iterations, self.screened = oversight, penalty_iterations, screened
        self.penalty_units, self.probe = penalty_units, probe
        self.frozen_by, self.plasticity = frozen_by, plasticity
        self.design, self.anchor, self.advantage_scale = design, anchor, advantage_scale
        self.objective = objective
        self.latent_scale = latent_scale
        self.num_threads = num_threads
        self.check()
        return self

    @property
    def signed_penalty(self) -> float:
        """The penalty at a penalised step: L, or -L if its sign is reversed."""
        return -self.penalty if self.penalty_turned else self.penalty

    def potential(self) -> Potential | None:
        """The potential that shapes the design reward, the same in every process; None for no shaping."""
        if self.shaping == 0.0:
            return None
        rng = np.random.default_rng(self.seed_sequence(*_POTENTIAL))
        return random_potential(get_world(self.world), self.shaping, rng)

    def seed_sequence(self, *key: int) -> np.random.SeedSequence:
        """The seed sequence under a spawn key."""
        return np.random.SeedSequence(self.seed_entropy, spawn_key=key)

    def draws(self, iteration: int, n: int) -> Draws | None:
        """The chance in the oversight of the `n` episodes of `iteration`, counted from 0; None if there is none."""
        if self.oversight == PERFECT and self.penalty_iterations == ALWAYS:
            return None
        first, last = self.penalty_iterations
        rng = np.random.default_rng(self.seed_sequence(iteration, OVERSIGHT))
        return self.oversight.draw(n, rng, in_force=first <= iteration + 1 <= last)

    def torch_seed(self, stream: str) -> int:
        """Seed of a private `torch.Generator`: `weights` or `shuffles`."""
        return int(self.seed_sequence(*_STREAMS[stream]).generate_state(1, np.uint64)[0])

    def validate(self) -> None:
        """Check our settings and derive RLlib's. Raises `KerfError` (ours) or `ValueError` (RLlib's)."""
        if self.settings.algorithm != PPO:
            raise KerfError(
                f"algorithm: RLlib's settings here are PPO's, got {self.settings.algorithm!r}; use "
                "kerf.agents.building.build(config), which builds any of them"
            )
        self.check()
        self._derive()
        super().validate()

    def check(self) -> None:
        """Check our settings; raises `KerfError`."""
        if not self.world:
            raise KerfError("world: expected the name of a world, got none; call KerfConfig().kerf(world=...)")
        if self.source is None:
            raise KerfError("source: expected a scenario source, got None; call KerfConfig().kerf(source=...)")
        if not (math.isfinite(self.penalty) and self.penalty >= 0):
            raise KerfError(f"penalty must be finite and >= 0, got {self.penalty}; penalty_sign=-1 reverses it")
        if self.num_threads < 1:
            raise KerfError(f"num_threads must be >= 1, got {self.num_threads}")
        if self.penalty > 0 and self.grader is None and self.penalty_counts is None:
            raise KerfError(f"grader: a penalty of {self.penalty} needs a grader that says where, got None")
        if not (math.isfinite(self.shaping) and self.shaping >= 0):
            raise KerfError(f"shaping must be finite and >= 0, got {self.shaping}")
        horizon, num_scenarios = get_world(self.world).horizon, self.settings.num_scenarios
        for k, row in enumerate(self.penalty_counts or ()):
            if len(row) != horizon or not all(0 <= count <= num_scenarios for count in row):
                raise KerfError(
                    f"penalty_counts: expected {horizon} counts from 0 to {num_scenarios} an iteration, "
                    f"got {list(row)} in iteration {k}"
                )
        make_objective(self.objective)
        events = get_world(self.world).events
        if self.yoked_event is not None:
            if self.yoked_event not in events:
                raise unknown_name(f"event of {self.world} (yoked_event)", self.yoked_event, events)
            if self.penalty_counts is None:
                raise KerfError(f"yoked_event: {self.yoked_event!r} needs the penalty_counts of another arm, got None")
            if self.settings.num_env_runners > 0:
                raise KerfError(
                    "yoked_event: as many penalties as another arm had need all episodes to be known, "
                    f"so num_env_runners must be 0, got {self.settings.num_env_runners}"
                )
        self._check_oversight()
        for event in self.design or ():
            if event not in events:
                raise unknown_name(f"event of {self.world} (design)", event, events)
        settings = self.settings
        refuse_latent(self.network, settings, "latent_radius")
        refuse_memory(self.network, settings, "", self.penalty_units, self.probe is not None)
        if settings.anchor_coeff > 0 and self.anchor is None:
            raise KerfError(f"anchor: anchor_coeff={settings.anchor_coeff} needs the weights of pi_0, got None")
        scale = self.advantage_scale
        fixed = settings.advantage_scaling == "fixed" and METHODS[settings.algorithm].scaled
        if fixed and not (scale and math.isfinite(scale) and scale > 0):
            raise KerfError(f"advantage_scale must be finite and > 0 with advantage_scaling=fixed, got {scale}")
        scale = self.latent_scale
        if settings.latent_radius > 0 and not (scale and math.isfinite(scale) and scale > 0):
            raise KerfError(
                f"latent_scale must be finite and > 0 with latent_radius={settings.latent_radius:g}, got {scale}"
            )

    def _check_oversight(self) -> None:
        try:
            self.oversight.check(get_world(self.world))
        except KerfError as error:
            raise KerfError(f"oversight.cue: {error}") from error
        first, last = self.penalty_iterations
        if not 1 <= first <= last:
            raise KerfError(
                f"penalty_iterations: expected a first iteration >= 1 and a later last, got {first}, {last}"
            )
        if self.penalty_counts is not None and (self.oversight != PERFECT or self.penalty_iterations != ALWAYS):
            raise KerfError("oversight: penalties are those of another arm (penalty_counts), so nothing is overseen")
        if self.penalty_units is not None and not (0 <= self.penalty_units <= 1 and self.network.hidden):
            raise KerfError(
                f"penalty_units: expected a share in [0, 1] of the units of a hidden layer, got {self.penalty_units} "
                f"for a network with the hidden layers {list(self.network.hidden)}"
            )
        if self.probe is not None and self.settings.num_learners > 0:
            raise KerfError(
                "probe: its gradient is that of one learner, so num_learners must be 0, "
                f"got {self.settings.num_learners}"
            )
        events = get_world(self.world).events
        if self.frozen_by is not None and self.frozen_by not in events:
            raise unknown_name(f"event of {self.world} (frozen_by)", self.frozen_by, events)
        if (self.screened or self.frozen_by) and self.settings.num_learners > 0:
            raise KerfError(
                f"{'screened' if self.screened else 'frozen_by'}: episodes are left out of a batch that learners share "
                f"equally, so num_learners must be 0, got {self.settings.num_learners}"
            )

    def _derive(self) -> None:
        """Set RLlib's settings from ours."""
        world, settings = get_world(self.world), self.settings
        observation_space, action_space = world_spaces(world)
        num_rows = settings.num_scenarios * world.horizon // max(1, settings.num_learners)
        self.environment(observation_space=observation_space, action_space=action_space)
        self.env_runners(
            env_runner_cls=KerfEnvRunner,
            num_env_runners=settings.num_env_runners,
            sample_timeout_s=600.0,
            # Runners keep no state between slices: there is nothing to merge or to restore.
            merge_env_runner_states=False,
            broadcast_env_runner_states=False,
        )
        self.learners(
            num_learners=settings.num_learners,
            num_gpus_per_learner=settings.num_gpus_per_learner,
            learner_class=KerfLearner,
            add_default_connectors_to_learner_pipeline=False,
        )
        self.training(**ppo_settings(settings, num_rows))
        self.framework(torch_ddp_kwargs={"find_unused_parameters": True})  # for a head without any active loss
        model_config = {"network": self.network.model_dump(), "weights_seed": self.torch_seed("weights")}
        self.rl_module(rl_module_spec=RLModuleSpec(module_class=KerfModule, model_config=model_config))
        self.fault_tolerance(
            restart_failed_env_runners=True,
            delay_between_env_runner_restarts_s=0.0,
            env_runner_health_probe_timeout_s=0.2,
            env_runner_restore_timeout_s=120.0,
        )
