"""Settings of an agent's network and training, mapped to RLlib's in `kerf.agents.config` alone.

Imports neither ray nor torch, so that a recipe can be checked in an instant.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from kerf.agents.methods import METHODS, PPO
from kerf.lab.errors import KerfError, unknown_name
from kerf.lab.settings import Settings

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Grown(Settings):
    """Settings that have got fields since recipes were first hashed: these are left out of dumps at their usual values,
    so that hashes and files of earlier versions stay what they were."""

    LATER: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_usual(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        usual = {name for name in self.LATER if getattr(self, name) == fields[name].get_default()}
        return {name: value for name, value in handler(self).items() if name not in usual}


class NetworkSettings(_Grown):
    """The agent's network: an MLP with a policy head and a state-value head, which may have a memory between them."""

    LATER = frozenset({"memory"})

    hidden: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = (64, 64)
    """Widths of the hidden layers; empty makes a linear policy."""

    activation: Literal["tanh", "relu"] = "tanh"
    """Nonlinearity after each hidden layer."""

    shared_trunk: bool = True
    """Whether policy and state value share the hidden layers."""

    memory: Annotated[int, Field(ge=0, le=4096)] = 0
    """Units of a gated recurrent unit (GRU; Cho et al. 2014) between the hidden layers and the heads, which carries
    over from one step of an episode to the next; 0: none, and the agent acts on what it sees now."""

    @property
    def has_hidden_units(self) -> bool:
        """Whether the heads read units of the network, and not observations."""
        return bool(self.hidden or self.memory)

    @model_validator(mode="after")
    def _one_memory(self) -> Self:
        if self.memory and not self.shared_trunk:
            raise ValueError("given shared_trunk: true with a memory, which policy and state value both read")
        return self


class DQNSettings(Settings):
    """Settings of RLlib's DQN that our others do not cover. Double and dueling networks, prioritised replay with
    exponents 0.6 and 0.4, and the Huber loss are RLlib's defaults and stay."""

    capacity: Annotated[int, Field(ge=1)] = 50_000
    """Steps that the replay buffer holds; whole episodes leave it, the oldest first."""

    n_step: Annotated[int, Field(ge=1)] = 1
    """Steps of reward in a target before it bootstraps."""

    epsilon: Share = 0.1
    """Share of actions taken at random while it trains, in the first iteration."""

    epsilon_end: Share | None = None
    """That share from iteration `epsilon_iterations` on, with a straight line between; None: always `epsilon`."""

    epsilon_iterations: Annotated[int, Field(ge=1)] = 1
    """Iterations until `epsilon_end`."""

    target_every: Annotated[int, Field(ge=1)] = 1
    """Iterations from one copy of the network into the target network to the next."""


class APPOSettings(Settings):
    """Settings of RLlib's APPO that our others do not cover. V-trace is clipped at 1, as by RLlib's defaults."""

    target_every: Annotated[int, Field(ge=1)] = 1
    """Iterations from one copy of the policy into the target policy to the next."""


class TrainingSettings(_Grown):
    """One iteration of training: `num_scenarios` whole episodes, then `num_epochs` passes over them in minibatches."""

    LATER = frozenset({"algorithm", "optimiser", "dqn", "appo"})

    algorithm: str = PPO
    """The learning algorithm (`kerf.agents.methods.METHODS`): `ppo`, ours on RLlib, `dqn` or `appo`, RLlib's own. It
    also says how the agent is aligned. What only another one uses has no effect."""

    optimiser: Literal["adam", "sgd"] = "adam"
    """`adam`: Adam (Kingma and Ba 2015); `sgd`: plain gradient descent, without momentum."""

    dqn: DQNSettings = DQNSettings()
    """What only `dqn` uses; its `num_epochs` is how often a step is replayed on average."""

    appo: APPOSettings = APPOSettings()
    """What only `appo` uses."""

    num_scenarios: Annotated[int, Field(ge=1)] = 512
    """Episodes per iteration."""

    num_epochs: Annotated[int, Field(ge=1)] = 3
    """Passes over the batch per iteration."""

    minibatch_size: Annotated[int, Field(ge=1)] = 4096
    """Steps (rows) per minibatch; the last one of an epoch may be smaller."""

    learning_rate: Positive = 3e-4
    """The optimiser's step size."""

    gamma: Share = 0.99
    """Discount per step."""

    gae_lambda: Share = 0.95
    """Lambda of generalised advantage estimation (Schulman et al. 2016)."""

    clip: Positive = 0.2
    """PPO's clip of the probability ratio."""

    policy_coeff: NonNegative = 1.0
    """Weight of PPO's surrogate loss; 0 leaves imitation and the state value alone."""

    value_coeff: NonNegative = 0.5
    """Weight of the squared error of the state value (in units of scaled reward)."""

    entropy_coeff: NonNegative = 0.003
    """Weight of the entropy bonus (nats)."""

    imitation_coeff: NonNegative = 0.0
    """Weight of the cross-entropy to the world's expert on the states that the agent itself visits."""

    anchor_coeff: NonNegative = 0.0
    """Weight of KL(pi || pi_0) to the frozen aligned policy pi_0 (nats)."""

    latent_radius: NonNegative = 0.0
    """Radius of the ball in which an adversary perturbs the last hidden layer's activations, at steps that led to the
    forbidden event (`kerf.agents.latent`); 1 overturns half of the aligned policy's decisions, 0 is no adversary."""

    latent_steps: Annotated[int, Field(ge=1, le=1000)] = 5
    """Steps of projected gradient by which that adversary finds its perturbation."""

    max_grad_norm: Positive = 0.5
    """Global gradient-norm clip."""

    reward_scale: Positive = 0.1
    """Multiplies rewards and penalties before the learner sees them."""

    advantage_scaling: Literal["none", "fixed", "batch"] = "fixed"
    """`none`: as they are; `fixed`: divided by one constant measured at the aligned checkpoint; `batch`: centred and
    divided by the batch's own standard deviation (which cancels part of the penalty under study)."""

    gradient: Literal["auto", "written_out", "autograd"] = "auto"
    """How gradients are computed: `autograd`, torch's, the reference; `written_out`, for a CPU and more than twice as
    fast; `auto`: written out where the learner runs on a CPU, autograd on a GPU."""

    num_env_runners: Annotated[int, Field(ge=0)] = 0
    """Remote env runners, each of which plays an equal part of the episodes; 0 samples in the training process."""

    num_learners: Annotated[int, Field(ge=0)] = 0
    """Remote learners, each of which learns from an equal part of the episodes; 0 learns in the training process."""

    num_gpus_per_learner: NonNegative = 0.0
    """GPUs, or the share of one, for each learner, or for the training process if that learns; 0: on the CPU."""

    @field_validator("algorithm")
    @classmethod
    def _is_known(cls, algorithm: str) -> str:
        if algorithm not in METHODS:
            raise KerfError(f"algorithm: {unknown_name('algorithm', algorithm, METHODS)}")
        return algorithm

    @field_validator("num_env_runners", "num_learners")
    @classmethod
    def _equal_parts(cls, number: int, info: ValidationInfo) -> int:
        num_scenarios = info.data.get("num_scenarios", 0)  # 0: refused by its own field
        if number and num_scenarios % number:
            raise ValueError(f"0 or a divisor of num_scenarios={num_scenarios}")
        return number


def refuse_latent(network: NetworkSettings, training: TrainingSettings, path: str) -> None:
    """Raises `KerfError`, naming `path`, if this training would perturb a hidden layer and the network has none."""
    if training.latent_radius > 0 and not network.has_hidden_units:
        raise KerfError(
            f"{path} must be 0 for a network without hidden layers (hidden: []), got {training.latent_radius:g}: there "
            "is no hidden layer to perturb; give the network one, or leave the adversary out"
        )


def refuse_memory(
    network: NetworkSettings,
    training: TrainingSettings,
    path: str,
    penalty_units: float | None = None,
    probed: bool = False,
) -> None:
    """Raises `KerfError`, naming the setting under `path`, if the network has a memory and this cannot be had with it.

    Args:
        network: The agent's network.
        training: How it is trained.
        path: Comes before the setting's name.
        penalty_units: Share of the units that the penalty may change; None: all.
        probed: Whether a probe of the network is penalised.
    """
    method = METHODS[training.algorithm]
    units = "it is about units that follow from what is observed now, and those below the heads remember"
    reasons = {
        "training.algorithm": (not method.recurrent, f"{method.title} trains none"),
        "penalty_units": (penalty_units is not None, units),
        "probe": (probed, units),
    }
    for setting, (is_asked, why) in reasons.items():
        if network.memory and is_asked:
            raise KerfError(
                f"{path}{setting}: cannot be had with a memory (network.memory={network.memory}): {why}; leave out one "
                "of the two"
            )


class ExactSettings(Settings):
    """Training by exact gradients: sums over all situations, which PPO estimates from a batch."""

    optimiser: Literal["sgd", "adam"] = "adam"
    """`sgd`: plain gradient descent, without momentum; `adam`: Adam (Kingma and Ba 2015). Neither clips gradients."""

    learning_rate: Positive = 3e-3
    """The optimiser's step size."""

    reward_scale: Positive = 0.1
    """Multiplies rewards and penalties."""

    policy_coeff: NonNegative = 1.0
    """Weight of the expected scaled reward; 0 leaves the other terms alone."""

    imitation_coeff: NonNegative = 0.0
    """Weight of the cross-entropy to the world's expert."""

    entropy_coeff: NonNegative = 0.0
    """Weight of the entropy bonus (nats)."""

    anchor_coeff: NonNegative = 0.0
    """Weight of KL(pi || pi_0) to the frozen aligned policy pi_0 (nats)."""

    steps_per_iteration: Annotated[int, Field(ge=1, le=100_000)] = 1
    """Gradient steps that count as one training iteration."""

    @model_validator(mode="after")
    def _trains(self) -> Self:
        terms = ("policy_coeff", "imitation_coeff", "entropy_coeff", "anchor_coeff")
        if not any(getattr(self, term) for term in terms):
            raise ValueError(f"given something to train on: one of {', '.join(terms)} above 0")
        return self
