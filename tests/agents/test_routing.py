"""Routing: what the penalty's gradient may change, against torch's and by finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from kerf.agents.effective_steps import (
    PENALTY,
    PENALTY_ADVANTAGE,
    part_columns,
    part_settings,
)
from kerf.agents.gradient import Autograd, WrittenOut, losses
from kerf.agents.network import PolicyNetwork
from kerf.agents.routing import UTILITY_ADVANTAGE, Route, without_penalty
from kerf.agents.settings import NetworkSettings, TrainingSettings
from kerf.lab.errors import KerfError
from kerf.lab.grader import ExPost
from tests.agents.test_gradient import NETWORKS, NUM_ROWS, columns, gradients, network
from tests.agents.training import Forged, config, same, settings, trained

TRAINING = TrainingSettings(max_grad_norm=1e6, entropy_coeff=0.02)
ROWS = torch.arange(NUM_ROWS)
SHAPES = ("shared", "separate", "relu", "deep")


def batch() -> dict[str, torch.Tensor]:
    """One in three steps has a penalty."""
    made = columns(TRAINING)
    of_penalty = torch.randn(NUM_ROWS, generator=torch.Generator().manual_seed(9)).abs()
    of_penalty = torch.where(torch.arange(NUM_ROWS) % 3 == 0, of_penalty, 0.0)
    return made | {PENALTY_ADVANTAGE: of_penalty, UTILITY_ADVANTAGE: made["advantage"] + of_penalty}


def double(made: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: column.double() if column.is_floating_point() else column for name, column in made.items()}


def gradient(made: PolicyNetwork, route: Route | None, columns: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    Autograd(made.__call__, made, TRAINING, route=route)(columns, ROWS)
    return gradients(made)


@pytest.mark.parametrize("shape", [NETWORKS[name] for name in SHAPES], ids=SHAPES)
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_written_out_gradient_is_routed_as_torchs(shape: NetworkSettings, share: float) -> None:
    written, exact = network(shape), network(shape).double()
    got = WrittenOut(written, TRAINING, route=Route(written, share))(batch(), ROWS)
    wanted = gradient(exact, Route(exact, share), double(batch()))
    largest = max(np.abs(part).max() for part in wanted.values())
    for name, part in gradients(written).items():
        assert np.abs(part - wanted[name]).max() <= 1e-5 * largest, name
    norm = np.sqrt(sum(np.square(part).sum() for part in wanted.values()))
    assert float(got["grad_norm"]) == pytest.approx(norm, rel=1e-4)


def test_outside_of_its_units_the_penalty_changes_nothing() -> None:
    made, columns = network(NETWORKS["shared"]).double(), double(batch())
    routed = gradient(made, Route(made, 0.25), columns)
    utility = gradient(made, None, without_penalty(columns))
    moved = {name: np.flatnonzero(np.abs(routed[name] - utility[name]).ravel() > 1e-12) for name in routed}
    assert {name for name, where in moved.items() if len(where)} == {
        "policy_trunk.2.weight", "policy_trunk.2.bias", "policy_head.weight",
    }  # fmt: skip
    assert moved["policy_trunk.2.bias"].tolist() == [0, 1, 2, 3]
    assert set(moved["policy_trunk.2.weight"] // 24) == {0, 1, 2, 3}
    assert set(moved["policy_head.weight"] % 16) == {0, 1, 2, 3}


def test_inside_its_gradient_is_that_of_the_penaltys_surrogate_by_finite_differences() -> None:
    made, columns = network(NETWORKS["shared"]).double(), double(batch())
    routed, utility = (
        gradient(made, Route(made, 0.25), columns)["policy_trunk.2.bias"],
        gradient(made, None, without_penalty(columns))["policy_trunk.2.bias"],
    )
    bias, step = made.policy_trunk[2].bias, 1e-6

    def surrogate() -> float:
        penalty = part_columns(columns, PENALTY)
        with torch.no_grad():
            return float(losses(*made(columns["observations"]), penalty, part_settings(TRAINING)[PENALTY])[0])

    for unit in range(4):
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                bias[unit] += sign * step
                ends.append(surrogate())
                bias[unit] -= sign * step
        slope = (ends[0] - ends[1]) / (2 * step)
        assert abs(slope) > 1e-4
        assert (routed - utility)[unit] == pytest.approx(slope, rel=1e-4, abs=1e-7)


PENALISED: dict[str, Any] = {"source": Forged(), "grader": ExPost(), "penalty": 10.0}


@pytest.mark.parametrize(("way", "scaling"), [("written_out", "fixed"), ("autograd", "fixed"), ("written_out", "none")])
def test_a_penalty_that_may_change_nothing_is_none_byte_for_byte(way: str, scaling: str) -> None:
    training = {"training": settings(gradient=way, advantage_scaling=scaling)}
    exposure = trained(2, **PENALISED | {"penalty": 0.0}, **training)
    assert same(trained(2, **PENALISED, **training, penalty_units=0.0), exposure)
    some = trained(2, **PENALISED, **training, penalty_units=0.5)
    assert not same(some, exposure)
    assert not same(some, trained(2, **PENALISED, **training))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(KerfError, match=r"penalty_units: expected a share in \[0, 1\] .* got 1.5"):
        config(penalty_units=1.5)
    with pytest.raises(KerfError, match=r"penalty_units: expected a share .* with the hidden layers \[\]"):
        config(penalty_units=0.5, network=NetworkSettings(hidden=()))
    with pytest.raises(KerfError, match=r"the network has no hidden layer"):
        Route(network(NETWORKS["linear"]), 0.5)
