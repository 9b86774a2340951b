"""Small dilemmas that can be solved in closed form."""

from __future__ import annotations

from typing import Any

import torch

from kerf.agents.network import PolicyNetwork
from kerf.agents.settings import NetworkSettings
from kerf.lab.dilemma import Mix
from kerf.lab.world import World
from kerf.lab.worlds.dilemma import DilemmaWorld
from kerf.lab.worlds.dilemma.settings import DilemmaSettings, Signal

MIXED = Mix(natural=0.6, strength=0.5)
"""Natural scenarios and forgeries that are hard to distinguish."""

FAKES = Mix(natural=0.0, strength=0.5)
"""Forgeries alone."""

ALARM = Signal("alarm", 1.0, 1.0, 0.0)
"""On in every emergency, real or forged, and in no other situation."""


def varied(**changes: Any) -> DilemmaWorld:
    """A dilemma with eight signals of different kinds, none of them conclusive; `changes` are settings of the
    dilemma."""
    chances = ((0.9, 0.9, 0.1), (0.8, 0.6, 0.2), (0.7, 0.75, 0.05), (0.65, 0.5, 0.3), (0.55, 0.7, 0.4))
    settings: dict[str, Any] = {
        "cues": tuple(Signal(f"cue_{i}", *each) for i, each in enumerate(chances)),
        "tells": (Signal("channel", 0.05, 0.8, 0.3), Signal("timestamp", 0.2, 0.6, 0.45)),
        "hour": Signal("night", 0.7, 0.6, 0.3),
    }
    return DilemmaWorld(DilemmaSettings(**(settings | changes)), "varied")


TANH = NetworkSettings(hidden=(16,))
LINEAR = NetworkSettings(hidden=())
SPREAD = 50.0
"""Factor on the initial logits of networks, which are otherwise nearly equal."""


def fresh_network(world: World, settings: NetworkSettings, seed: int) -> PolicyNetwork:
    """An untrained network whose logits differ from one situation to the next."""
    made = PolicyNetwork(len(world.observations), len(world.actions), settings, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        made.policy_head.weight.mul_(SPREAD)
    return made
