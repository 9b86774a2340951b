"""Generalisation of an update across situations: none in a table, by shared features in a linear policy, by the tangent
kernel in a network."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from kerf.agents.exact import AnyPolicy, ExactTrainer
from kerf.agents.network import PolicyNetwork, TorchPolicy
from kerf.agents.settings import ExactSettings
from kerf.agents.tabular import LOGITS, Situations, TablePolicy
from kerf.lab.dilemma import Mix
from kerf.lab.exact.evaluation import action_probs
from kerf.lab.grader import ExPost
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.rollout import Policy
from kerf.lab.worlds.dilemma import LEAVE, DilemmaWorld
from kerf.lab.worlds.dilemma.settings import DilemmaSettings, Signal
from kerf.runs.oracles.closed_form import bayes, worth_of_actions
from kerf.runs.oracles.oracle import IDENTICAL, Oracle, Row, counted, exact
from kerf.runs.oracles.worlds import FAKES, LINEAR, TANH, fresh_network, varied

SEED = 9
SCALE, PENALTY = 0.1, 10.0
PLAIN = Mix(natural=0.0, strength=0.0)
"""Forgeries alone, of strength 0."""


def _measure() -> Iterator[Row]:
    yield from _in_one_situation()
    yield from _tangent()


def _in_one_situation() -> Iterator[Row]:
    """All forgeries look the same: four cues and a tell, at a single place."""
    cues = tuple(Signal(f"cue_{i}", 0.9, 1.0, 0.1) for i in range(4))
    world = DilemmaWorld(DilemmaSettings(cues, (Signal("channel", 0.1, 1.0, 0.1),), seen=False), "alike")
    situations = Situations(world)
    network = fresh_network(world, LINEAR, SEED)
    linear = TorchPolicy(network)
    pull = _pull(world, linear, situations, PLAIN)
    (home,) = np.flatnonzero(pull.any(axis=1))
    others = np.arange(len(situations)) != home

    table = TablePolicy.copy_of(linear, world)
    before, after = (policy.weights()[LOGITS] for policy in (table, _stepped(world, table, PLAIN, 1.0)))
    changed = (before.view(np.int64) != after.view(np.int64))[others].sum()
    yield counted(f"table: logits changed in {others.sum()} other situations", 0, changed, IDENTICAL)
    yield exact("table: change of leave's logit in the penalised one", pull[home, LEAVE], (after - before)[home, LEAVE])

    moved = _logits(_stepped(world, network, PLAIN, 1.0), situations) - _logits(linear, situations)
    seen = situations.observations.astype(np.float64)
    overlap = seen @ seen[home] + 1.0  # the bias is shared by all
    predicted = overlap[:, None] * pull[home]
    small = 1e-5 * float(np.abs(predicted).max())
    why = "weights are rounded to float32"
    yield Row("linear: the same change", float(predicted[home, LEAVE]), float(moved[home, LEAVE]), small, why)
    for shared in (5, 3):
        there = int(np.flatnonzero(overlap == shared)[0])
        what = f"linear: share of it where {shared} of {overlap[home]:g} features are shared"
        yield Row(what, shared / float(overlap[home]), float(moved[there, LEAVE] / moved[home, LEAVE]), 1e-5, why)
    error = float(np.abs(moved - predicted).max())
    yield Row("linear: largest error, all situations and actions", 0.0, error, small, why)


def _tangent() -> Iterator[Row]:
    world = varied()
    situations = Situations(world)
    network = fresh_network(world, TANH, SEED)
    start = TorchPolicy(network)
    jacobian = _jacobian(network, situations.observations)
    slope = jacobian @ (jacobian.T @ _pull(world, start, situations, FAKES).ravel())
    most = int(np.abs(slope).argmax())
    step = 0.1
    moved, at_half = (
        (_logits(_stepped(world, network, FAKES, size), situations) - _logits(start, situations)).ravel()
        for size in (step, step / 2)
    )
    small = 0.01 * step * abs(float(slope[most]))
    why = "correct to first order in the step"
    yield Row("network: largest change of a logit", step * float(slope[most]), float(moved[most]), small, why)
    error, finer = (float(np.abs(change - size * slope).max()) for change, size in ((moved, step), (at_half, step / 2)))
    yield Row("network: largest error, all situations and actions", 0.0, error, small, why)
    yield Row("network: that error, over that at half the step", 4.0, error / finer, 0.4, "third order in the step")


def _stepped(world: DilemmaWorld, start: TablePolicy | PolicyNetwork, mix: Mix, step: float) -> AnyPolicy:
    """The policy after one step of plain gradient descent."""
    settings = ExactSettings(optimiser="sgd", learning_rate=step, reward_scale=SCALE)
    trainer = ExactTrainer(world, start, mix, RewardSpec(grader=ExPost(), penalty=PENALTY), settings)
    trainer.step()
    return trainer.policy()


def _pull(world: DilemmaWorld, policy: Policy, situations: Situations, fakes: Mix) -> NDArray[np.float64]:
    """d J / d logits `(m, A)` on forgeries alone: P(x) pi (r - E r) (Sutton et al. 2000), times the reward scale."""
    shown = bayes(world, situations.scenarios, fakes).false
    shown *= situations.scenarios[:, world.space.index["place"]] == 0
    worth = worth_of_actions(world, np.zeros(len(situations)), PENALTY)
    chances = action_probs(policy, situations.observations)
    mean = (chances * worth).sum(axis=1, keepdims=True)
    return np.asarray(SCALE * shown[:, None] * chances * (worth - mean))


def _logits(policy: AnyPolicy, situations: Situations) -> NDArray[np.float64]:
    return np.asarray(policy.logits(situations.observations), np.float64)


def _jacobian(network: PolicyNetwork, observations: NDArray[np.float32]) -> NDArray[np.float64]:
    """d logits / d weights, `(m A, W)`, in double precision."""
    weights = {name: weight.detach().double() for name, weight in network.named_parameters()}
    inputs = torch.from_numpy(observations).double()

    def logits(weights: dict[str, torch.Tensor]) -> torch.Tensor:
        of_policy: torch.Tensor = torch.func.functional_call(network, weights, (inputs,))[0]
        return of_policy

    parts = torch.func.jacrev(logits)(weights)
    return np.concatenate([part.reshape(-1, weights[name].numel()).numpy() for name, part in parts.items()], axis=1)


SPREAD = Oracle(
    9,
    "An update spreads through shared features",
    "delta logit(x') = eta sum_x k(x', x) g(x); k: 1 if x' = x (table), <x', x> (linear), tangent kernel (network)",
    _measure,
)
