"""Effective steps: they are the parts of the step that the weights make, and measuring them changes nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.linalg import norm
from numpy.typing import NDArray

from kerf.agents import algorithm as algorithm_module
from kerf.agents.effective_steps import (
    ALL,
    CRITIC,
    FIGURES,
    PENALTY,
    PENALTY_ADVANTAGE,
    UTILITY,
    clip_scale,
    effective_steps,
    step_norms,
)
from kerf.agents.gradient import Autograd, Gradient, WrittenOut
from kerf.agents.network import PolicyNetwork
from kerf.agents.optimisers import Adam
from kerf.agents.settings import NetworkSettings, TrainingSettings
from kerf.lab.grader import ExPost
from tests.agents.test_gradient import NETWORKS, NUM_ROWS, columns, network
from tests.agents.training import Forged, config, same, settings, trained

PLAIN = {"entropy_coeff": 0.0}
TERMS: dict[str, dict[str, float]] = {
    "plain": PLAIN,
    "clipped": PLAIN | {"max_grad_norm": 1e-3},
    "all terms": {"imitation_coeff": 0.3, "anchor_coeff": 0.7, "entropy_coeff": 0.02},
}


def batch(training: TrainingSettings, made: PolicyNetwork) -> dict[str, torch.Tensor]:
    """That of an iteration's first minibatch, whose policy is the one that acted; some rows are penalised."""
    batch = columns(training)
    with torch.no_grad():
        logits = made(batch["observations"])[0]
    batch["action_logp"] = torch.log_softmax(logits, dim=-1).gather(-1, batch["actions"][:, None]).squeeze(-1)
    rng = torch.Generator().manual_seed(9)
    penalised = torch.rand(NUM_ROWS, generator=rng) < 0.2
    batch[PENALTY_ADVANTAGE] = torch.where(penalised, 3.0 * torch.rand(NUM_ROWS, generator=rng), 0.0)
    return batch


def ways(made: PolicyNetwork, training: TrainingSettings) -> dict[str, Gradient]:
    return {"autograd": Autograd(made, made, training), "written out": WrittenOut(made, training)}


def weights(made: PolicyNetwork) -> NDArray[np.float64]:
    return torch.cat([parameter.detach().reshape(-1) for parameter in made.parameters()]).double().numpy()


def step(
    made: PolicyNetwork, gradient: Gradient, training: TrainingSettings, optimizer: Adam
) -> dict[str, NDArray[np.float64]]:
    """Make a step on the first half of a batch; its effective steps."""
    seen, rows = batch(training, made), torch.arange(NUM_ROWS // 2)
    parts = gradient.parts(seen, rows)
    terms = gradient(seen, rows)
    optimizer.step()
    scale = clip_scale(float(terms["grad_norm"]), training.max_grad_norm)
    assert float(terms["grad_clip_share"]) == (scale < 1.0)
    return effective_steps(optimizer, {owner: owner.grad for owner in made.parameters()}, scale, parts)


@pytest.mark.parametrize("terms", TERMS.values(), ids=TERMS)
@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
def test_both_ways_to_the_gradient_give_the_same_steps(layers: NetworkSettings, terms: dict[str, float]) -> None:
    """torch's finds the utility's part by itself, the other one by subtraction, unless there are other terms."""
    training = TrainingSettings(**terms)
    found = []
    for way in ("autograd", "written out"):
        made = network(layers)
        gradient = ways(made, training)[way]
        optimizer = Adam(made.parameters(), lr=training.learning_rate)
        # At its first step Adam moves each weight by lr, however small its gradient is, and so magnifies rounding.
        step(made, gradient, training, optimizer)
        found.append(step(made, gradient, training, optimizer))
    assert set(found[0]) == set(found[1]) == {PENALTY, UTILITY, CRITIC, ALL}
    for part, expected in found[0].items():
        error = norm(found[1][part] - expected) / norm(expected)
        assert error < 1e-3, (part, error)


@pytest.mark.parametrize("way", ["autograd", "written out"])
@pytest.mark.parametrize("max_grad_norm", [1e-3, 1e6])
def test_the_parts_add_up_to_the_step_that_the_weights_make(way: str, max_grad_norm: float) -> None:
    training = TrainingSettings(entropy_coeff=0.0, max_grad_norm=max_grad_norm)
    made = network(NETWORKS["shared"])
    optimizer = Adam(made.parameters(), lr=1e-3)
    gradient = ways(made, training)[way]

    before = weights(made)
    steps = step(made, gradient, training, optimizer)
    together = steps[PENALTY] + steps[UTILITY] + steps[CRITIC]
    assert norm(together - steps[ALL]) / norm(steps[ALL]) < 1e-3
    moved = weights(made) - before  # Adam begins without a running mean: the gradient's step is all that there is
    assert norm(moved - steps[ALL]) / norm(moved) < 1e-3

    # Later a step is made of what the running mean kept and of 1 - beta1 of the new gradient's effective step.
    def parts_of(kind: str) -> NDArray[np.float64]:
        return torch.cat([optimizer.state[owner][kind].reshape(-1) for owner in made.parameters()]).double().numpy()

    before, kept = weights(made), parts_of("exp_avg").copy()
    steps = step(made, gradient, training, optimizer)
    beta1, beta2 = 0.9, 0.999
    preconditioner = 1e-3 / (np.sqrt(parts_of("exp_avg_sq") / (1 - beta2**2)) + 1e-8)
    expected = ((1 - beta1) * steps[ALL] - preconditioner * beta1 * kept) / (1 - beta1**2)
    moved = weights(made) - before
    assert norm(moved - expected) / norm(moved) < 1e-3


def test_separate_trunks_keep_the_critic_out_of_the_policy() -> None:
    training = TrainingSettings(**PLAIN)
    made = network(NETWORKS["separate"])
    parts = Autograd(made, made, training).parts(batch(training, made), torch.arange(NUM_ROWS))
    policy = [*made.policy_trunk.parameters(), *made.policy_head.parameters()]
    for owner in made.parameters():
        is_policy = any(owner is each for each in policy)
        assert bool(parts[CRITIC][owner].any()) != is_policy
        assert bool(parts[PENALTY][owner].any()) == is_policy


def test_norms_have_the_names_that_are_reported() -> None:
    steps = {part: np.array([3.0, 4.0]) for part in (PENALTY, UTILITY, CRITIC, ALL)}
    assert step_norms(steps) == dict.fromkeys(FIGURES, 5.0)


@pytest.mark.parametrize("scaling", ["none", "fixed", "batch"])
@pytest.mark.parametrize("way", ["autograd", "written_out"])
def test_without_a_penalty_its_step_is_exactly_0(way: str, scaling: str) -> None:
    training = settings(gradient=way, advantage_scaling=scaling)
    for penalty in (0.0, 2.0):
        learnt = reported(1, source=Forged(), training=training, grader=ExPost(), penalty=penalty)[0]
        assert (learnt["step_penalty"] == 0.0) == (penalty == 0.0)
        assert all(learnt[name] > 0.0 for name in FIGURES if name != "step_penalty")


def test_steps_are_of_every_fifth_iteration() -> None:
    told = reported(7, source=Forged(), grader=ExPost(), penalty=2.0)
    for name in FIGURES:
        assert [math.isfinite(learnt[name]) for learnt in told] == [index in (0, 5) for index in range(7)]
    imitating = reported(1, training=settings(policy_coeff=0.0, imitation_coeff=1.0))[0]
    assert not set(FIGURES) & set(imitating)


@pytest.mark.parametrize("way", ["autograd", "written_out"])
@pytest.mark.parametrize(("longest", "share"), [(1e9, 0.0), (1e-9, 1.0)])
def test_the_share_of_minibatches_whose_gradient_was_clipped(longest: float, share: float, way: str) -> None:
    learnt = reported(2, training=settings(max_grad_norm=longest, gradient=way))
    assert [each["grad_clip_share"] for each in learnt] == [share, share]


@pytest.mark.parametrize("scaling", ["fixed", "batch"])
@pytest.mark.parametrize("way", ["autograd", "written_out"])
def test_measuring_changes_no_weight(way: str, scaling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    training = settings(gradient=way, advantage_scaling=scaling)
    found = []
    for every in (1, 2):
        monkeypatch.setattr(algorithm_module, "EVERY", every)
        found.append(trained(4, source=Forged(), training=training, grader=ExPost(), penalty=2.0))
    assert same(*found)


def reported(num_iterations: int, **changes: object) -> list[dict[str, float]]:
    """What the learner reports of each iteration."""
    made = config(**changes).build_algo()
    told = [made.train()["learners"]["default_policy"] for _ in range(num_iterations)]
    made.stop()
    return [{name: float(np.asarray(value)) for name, value in each.items()} for each in told]
