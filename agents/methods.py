"""Learning algorithms by name: which module builds one, and what it lacks.

Imports neither ray nor torch, so that a recipe can be checked in an instant. An algorithm's module has a function
`build(config)`, which returns a `kerf.agents.building.Learning` for a `kerf.agents.config.KerfConfig`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

PPO, DQN, APPO = "ppo", "dqn", "appo"


@dataclass(frozen=True)
class Method:
    """A learning algorithm.

    Attributes:
        title: What it is called in texts.
        module: Its module.
        aligned_by: The algorithm by which its agents are aligned. It has the same network in the same meaning.
        lacks: What an arm may ask for and this algorithm cannot do: names of settings of a resolved arm, or of its
            training (`training.anchor_coeff`).
        scaled: Whether it scales advantages, so that their scale is measured on the aligned agent.
        recurrent: Whether it can train a network with a memory.
    """

    title: str
    module: str
    aligned_by: str
    lacks: tuple[str, ...] = ()
    scaled: bool = False
    recurrent: bool = False


_TERMS = (
    "training.anchor_coeff", "training.latent_radius", "training.num_env_runners", "training.num_learners",
    "training.num_gpus_per_learner", "probe", "penalty_units", "screened", "frozen_by", "plasticity",
)  # fmt: skip
"""Terms of our own PPO's loss, and its ways of sharing work."""

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        PPO: Method("PPO", "kerf.agents.algorithm", PPO, scaled=True, recurrent=True),
        DQN: Method("DQN", "kerf.agents.dqn", DQN, lacks=_TERMS),
        APPO: Method("APPO", "kerf.agents.appo", PPO, lacks=_TERMS),
    }
)
"""The algorithms, by name."""
