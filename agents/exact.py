"""Training by exact gradients, in worlds of one decision: sums over all situations in place of samples.

With m(x) the probability of situation x and c its completions, the objective is

    J = sum_x sum_a pi(a|x) R[x, a],    R[x, a] = sum_c density(c) r(c, a),

where sum_c density(c) = m(x). R does not depend on the policy: it is computed once, and the gradient of J has no noise.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from kerf.agents.network import PolicyNetwork, TorchPolicy
from kerf.agents.optimisers import SGD, Adam
from kerf.agents.settings import ExactSettings
from kerf.agents.tabular import LOGITS, Situations, TablePolicy, listed
from kerf.lab.dilemma import Mix
from kerf.lab.errors import KerfError
from kerf.lab.exact.branches import sums
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.rollout import Policy
from kerf.lab.world import World

_MEND = "try a smaller learning_rate or reward_scale"

AnyPolicy = TorchPolicy | TablePolicy
"""Policies that can be trained."""


@dataclass(frozen=True)
class Payoffs:
    """Expected payoffs of each action in each of the `k` situations of positive probability, times that probability.

    Attributes:
        rows: `(k,)`, indices of these among the world's situations, ascending.
        mass: `(k,)`, their probabilities.
        utility: `(k, A)`, expected design reward, times the situation's probability.
        penalty: `(k, A)`, expected penalty, likewise.
        penalised: `(k, A)`, probability of the situation together with a penalty, if the action is taken.
        elicited: `(k, A)`, likewise with the forbidden act.
        yoked: `(k, A)`, likewise with an event on which another arm's penalties fall; None if there is none.
    """

    rows: NDArray[np.int64]
    mass: NDArray[np.float64]
    utility: NDArray[np.float64]
    penalty: NDArray[np.float64]
    penalised: NDArray[np.float64]
    elicited: NDArray[np.float64]
    yoked: NDArray[np.float64] | None = None


def payoffs(situations: Situations, mix: Mix, objective: RewardSpec, yoked_event: str | None = None) -> Payoffs:
    """Payoffs by `objective` of every action, averaged over the completions of every situation under `mix`; with a
    `yoked_event` its probability, too."""
    world, m, num_actions = situations.world, len(situations), len(situations.world.actions)
    completions, origin = listed(world).completions(situations.scenarios)
    density = listed(world).density(completions, mix)
    possible = density > 0.0
    completions, origin, density = completions[possible], origin[possible], density[possible]
    mass = sums(origin, density, m)
    rows = np.flatnonzero(mass)
    scenarios = np.repeat(completions, num_actions, axis=0)
    events = np.zeros(len(scenarios), np.uint64)
    world.begin(scenarios).step(np.tile(np.arange(num_actions), len(completions)), events)
    utility = replace(objective, penalty=0.0).of_events(world, scenarios, events)
    penalty = 0.0 - replace(objective, weights={}).of_events(world, scenarios, events)
    penalised = penalty / objective.penalty if objective.penalty else np.zeros_like(penalty)

    def happens(event: str | None) -> NDArray[np.float64]:
        if event is None:  # nothing is forbidden here
            return np.zeros(len(events))
        return ((events >> np.uint64(world.events.index(event))) & np.uint64(1)).astype(np.float64)

    def expected(each: NDArray[np.float64]) -> NDArray[np.float64]:
        weighted = np.repeat(density, num_actions) * each
        cells = np.repeat(origin, num_actions) * num_actions + np.tile(np.arange(num_actions), len(origin))
        return sums(cells, weighted, m * num_actions).reshape(m, num_actions)[rows]

    return Payoffs(
        rows,
        mass[rows],
        expected(utility),
        expected(penalty),
        expected(penalised),
        expected(happens(world.dilemma.forbidden)),
        None if yoked_event is None else expected(happens(yoked_event)),
    )


class _Student(Protocol):
    """A policy's weights in double precision, with gradients, and its logits in some situations."""

    def parameters(self) -> dict[str, torch.Tensor]:
        """The weights, by name."""

    def logits(self) -> torch.Tensor:
        """`(k, A)`."""

    def policy(self) -> AnyPolicy:
        """The present policy, detached."""


class _Network:
    """A network that is trained in double precision; its policies have weights rounded to float32."""

    def __init__(self, policy: TorchPolicy, situations: Situations, rows: NDArray[np.int64]) -> None:
        self._network = copy.deepcopy(policy.network).double().requires_grad_(True)
        self._observations = torch.from_numpy(situations.observations[rows]).double()

    def parameters(self) -> dict[str, torch.Tensor]:
        return dict(self._network.named_parameters())

    def logits(self) -> torch.Tensor:
        return self._network.logits(self._observations)

    def policy(self) -> TorchPolicy:
        network = self._network
        with np.errstate(over="ignore"):
            weights = {name: weight.astype(np.float32) for name, weight in network.weights().items()}
        if not all(np.isfinite(weight).all() for weight in weights.values()):
            raise FloatingPointError(f"training diverged: weights beyond single precision; {_MEND}")
        return TorchPolicy.from_weights(network.num_observations, network.num_actions, network.settings, weights)


class _Table:
    """A table; only rows of situations of positive probability are parameters."""

    def __init__(self, policy: TablePolicy, situations: Situations, rows: NDArray[np.int64]) -> None:
        self._situations, self._rows, self._all = situations, rows, policy.weights()[LOGITS]
        self._logits = torch.from_numpy(self._all[rows]).requires_grad_(True)
        if not torch.isfinite(self._logits).all():
            raise KerfError("policy: a table with infinite logits cannot be trained")

    def parameters(self) -> dict[str, torch.Tensor]:
        return {LOGITS: self._logits}

    def logits(self) -> torch.Tensor:
        return self._logits

    def policy(self) -> TablePolicy:
        weights = self._all.copy()
        weights[self._rows] = self._logits.detach().numpy()
        return TablePolicy(self._situations, weights)


_STUDENTS: Mapping[type, Callable[..., _Student]] = {TorchPolicy: _Network, TablePolicy: _Table}


class ExactTrainer:
    """Trains a policy on all situations at once, without randomness: the same arguments give the same bytes.

    It maximises `policy_coeff * reward_scale * J`, plus the entropy and less the cross-entropy and the KL, with the
    weights of the settings, each a mean over situations by their probability. Situations of probability 0 are left out.
    Weights are in double precision; those of a network are rounded to float32 in `policy()`.
    A network's state-value head is not trained.

    Args:
        world: A world of one step that lists its situations.
        policy: The initial policy: a network or a table. Not changed.
        mix: Distribution of scenarios.
        objective: Reward and penalty.
        settings: Optimiser and weights of the terms.
        anchor: The frozen pi_0, needed iff `anchor_coeff > 0`.
        offset: `(m,)`, added to the reward of every action in each of the world's situations. As it does not depend on
            the action, it changes no optimum, and gradients only by rounding. None adds nothing.
        yoked_event: Event on which the penalties of a `penalty_rate` fall; None spreads them over all episodes.

    Raises:
        KerfError: for another world, infinite logits in a table, or an anchor that is missing.
    """

    def __init__(
        self,
        world: World,
        policy: AnyPolicy | PolicyNetwork,
        mix: Mix,
        objective: RewardSpec,
        settings: ExactSettings,
        anchor: Policy | None = None,
        offset: NDArray[np.float64] | None = None,
        yoked_event: str | None = None,
    ) -> None:
        if settings.anchor_coeff > 0 and anchor is None:
            raise KerfError(f"anchor: anchor_coeff={settings.anchor_coeff} needs the policy pi_0, got None")
        self._settings, self._penalty = settings, objective.penalty
        situations = Situations(world)
        self.payoffs = payoffs(situations, mix, objective, yoked_event)
        rows = self.payoffs.rows
        observations = situations.observations[rows]
        if isinstance(policy, PolicyNetwork):
            policy = TorchPolicy(policy)
        self._student = _STUDENTS[type(policy)](policy, situations, rows)
        self._mass = torch.from_numpy(self.payoffs.mass)
        self._utility, self._contingent, self._penalised, self._elicited = (
            torch.from_numpy(getattr(self.payoffs, name)) for name in ("utility", "penalty", "penalised", "elicited")
        )
        self._yoked = None if self.payoffs.yoked is None else torch.from_numpy(self.payoffs.yoked)
        self._offset = None if offset is None else (self._mass * torch.from_numpy(offset[rows])).unsqueeze(-1)
        self._expert = torch.from_numpy(world.expert(observations)).unsqueeze(-1)
        self._start = self._log_probabilities().detach()
        if settings.anchor_coeff > 0 and anchor is not None:
            self._anchor = torch.log_softmax(torch.from_numpy(anchor.logits(observations)).double(), dim=-1)
        parameters = list(self._student.parameters().values())
        optimisers = {"sgd": SGD, "adam": Adam}
        self._optimiser = optimisers[settings.optimiser](parameters, lr=settings.learning_rate)

    def step(self, penalty_rate: float | None = None) -> dict[str, float]:
        """One gradient step.

        Args:
            penalty_rate: Share of the episodes that is penalised whatever is done, instead of those that the grader
                selects, or on the `yoked_event`, which then is penalised with the probability that gives this share (1
                if it is too rare); None leaves it to the grader.

        Returns:
            Of the policy as it was before the step: `return_utility` and `return_penalty` (without the offset, J is
            their difference), the shares of episodes `penalised` and `elicited`, `entropy`, `kl_to_start` (KL to the
            initial policy), `loss`, and `imitation_loss` and `anchor_kl` if they are on; `grad_norm`.

        Raises:
            FloatingPointError: if training diverged.
        """
        self._optimiser.zero_grad(set_to_none=True)
        terms = self._terms(penalty_rate)
        terms["loss"].backward()
        weights = self._student.parameters().values()
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        terms["grad_norm"] = torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()
        report = {name: float(term.detach()) for name, term in terms.items()}
        if not np.isfinite(list(report.values())).all():
            raise FloatingPointError(f"training diverged: {report}; {_MEND}")
        self._optimiser.step()
        return report

    def gradient(self, penalty_rate: float | None = None) -> dict[str, NDArray[np.float64]]:
        """The gradient of the loss for the next `step`, by name of the weight, for trained weights only.

        Of a table it is that of the rows `payoffs.rows`.
        """
        weights = self._student.parameters()
        gradients = torch.autograd.grad(self._terms(penalty_rate)["loss"], list(weights.values()), allow_unused=True)
        found = zip(weights, gradients, strict=True)
        return {name: gradient.numpy() for name, gradient in found if gradient is not None}

    def policy(self) -> AnyPolicy:
        """The present policy, detached: later training does not change it.

        Raises:
            FloatingPointError: if training diverged.
        """
        return self._student.policy()

    def _log_probabilities(self) -> torch.Tensor:
        return torch.log_softmax(self._student.logits(), dim=-1)

    def _spread(self, penalty_rate: float, probabilities: torch.Tensor) -> torch.Tensor:
        """`(k, A)`, probability of each situation together with a penalty, if that share of all episodes has one.

        `probabilities` `(k, A)` are those of the present policy.
        """
        if self._yoked is None:
            return (penalty_rate * self._mass).unsqueeze(-1).expand_as(self._utility)
        happens = float((probabilities * self._yoked).sum())
        return self._yoked * (min(1.0, penalty_rate / happens) if happens > 0.0 else 1.0)

    def _terms(self, penalty_rate: float | None) -> dict[str, torch.Tensor]:
        """The loss, its terms, and further metrics."""
        settings, mass = self._settings, self._mass
        log_probabilities = self._log_probabilities()
        probabilities = log_probabilities.exp()
        paid, penalised = self._contingent, self._penalised
        if penalty_rate is not None:
            penalised = self._spread(penalty_rate, probabilities.detach())
            paid = self._penalty * penalised
        terms = {
            "return_utility": (probabilities * self._utility).sum(),
            "return_penalty": (probabilities * paid).sum(),
            "penalised": (probabilities * penalised).sum(),
            "elicited": (probabilities * self._elicited).sum(),
            "entropy": -mass @ (probabilities * log_probabilities).sum(dim=-1),
            "kl_to_start": mass @ (probabilities * (log_probabilities - self._start)).sum(dim=-1),
        }
        loss = torch.zeros((), dtype=torch.float64)
        if settings.policy_coeff > 0:
            rewards = self._utility - paid
            if self._offset is not None:
                rewards = rewards + self._offset
            loss = loss - settings.policy_coeff * settings.reward_scale * (probabilities * rewards).sum()
        if settings.entropy_coeff > 0:
            loss = loss - settings.entropy_coeff * terms["entropy"]
        if settings.imitation_coeff > 0:
            terms["imitation_loss"] = -mass @ log_probabilities.gather(-1, self._expert).squeeze(-1)
            loss = loss + settings.imitation_coeff * terms["imitation_loss"]
        if settings.anchor_coeff > 0:
            terms["anchor_kl"] = mass @ (probabilities * (log_probabilities - self._anchor)).sum(dim=-1)
            loss = loss + settings.anchor_coeff * terms["anchor_kl"]
        return terms | {"loss": loss}
