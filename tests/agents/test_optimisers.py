"""Optimisers without torch's compiler: the same bytes, and the compiler is really not imported."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from kerf.agents.optimisers import SGD, Adam


def trained(optimiser: type[torch.optim.Optimizer], **settings: object) -> bytes:
    generator = torch.Generator().manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(7, 5, generator=generator)) for _ in range(3)]
    steps = optimiser(parameters, lr=0.01, **settings)
    for _ in range(4):
        steps.zero_grad()
        sum((parameter**3).sum() for parameter in parameters).backward()
        steps.step()
    return b"".join(parameter.detach().numpy().tobytes() for parameter in parameters)


@pytest.mark.parametrize(
    ("ours", "theirs", "settings"),
    [
        (Adam, torch.optim.Adam, {}),
        (Adam, torch.optim.Adam, {"fused": True}),
        (SGD, torch.optim.SGD, {}),
    ],
)
def test_they_step_as_torchs_do(ours, theirs, settings):
    assert trained(ours, **settings) == trained(theirs, **settings)
    assert trained(Adam) != trained(SGD), "two ways that differ, or the test shows nothing"


EXACT = """
import sys
from kerf.agents.exact import ExactTrainer
from kerf.agents.network import PolicyNetwork
from kerf.agents.settings import ExactSettings, NetworkSettings
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.dilemma import Mix
from kerf.lab.worlds import get_world
import torch

world = get_world("dilemma_two")
network = PolicyNetwork(len(world.observations), len(world.actions), NetworkSettings(hidden=(4,)), torch.Generator())
for optimiser in ("adam", "sgd"):
    ExactTrainer(world, network, Mix(), RewardSpec(), ExactSettings(optimiser=optimiser)).step()
print(*(name for name in ("torch._dynamo", "ray") if name in sys.modules))
"""


def test_training_by_exact_gradients_imports_neither_the_compiler_nor_ray():
    printed = subprocess.run([sys.executable, "-c", EXACT], capture_output=True, text=True, check=True).stdout
    assert printed.split() == []
