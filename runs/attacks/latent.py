"""Latent attack on a finished agent: the smallest perturbation of its hidden activations that leads it to the forbidden
event.

latent.json     number of scenarios with a path to the event, median least radius, share led within each usual radius
least.parquet   a row per scenario: whether it has such a path, and the least radius that leads along all of it, or inf
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kerf.lab.errors import KerfError
from kerf.lab.seeds import entropy
from kerf.lab.torch_threads import one_thread
from kerf.runs.recipe.attack_plan import LATENT, RADII
from kerf.runs.records.store import ALIGNED, POLICY, Store, Unit

if TYPE_CHECKING:
    from kerf.agents.architectures import AnyNetworkPolicy
    from kerf.lab.world import World
    from kerf.runs.execution.training_log import Progress
    from kerf.runs.recipe.model import Recipe

SCENARIOS = 1024
"""Forged scenarios per agent."""


@dataclass(frozen=True)
class LatentUnit:
    """A latent attack on one agent of a study: a unit of work, named by its folder.

    Attributes:
        target: The agent: an aligned one or a cell's.
        strength: Strength of the forged scenarios, in [0, 1].
        budget: Number of forged scenarios, >= 1.
        draw: Index of the random stream.
    """

    target: Unit
    strength: float = 1.0
    budget: int = SCENARIOS
    draw: int = 0

    @property
    def name(self) -> str:
        """Its folder relative to the study's: `latent/penalised/seed-0/1-1024`."""
        drawn = f"-{self.draw}" if self.draw else ""
        return f"{LATENT}/{self.target.arm}/seed-{self.target.seed}/{self.strength:g}-{self.budget}{drawn}"


def latent_unit(recipe: Recipe, unit: LatentUnit, store: Store, num_threads: int = 1) -> Iterator[Progress]:
    """Make a latent attack on a finished agent of a study and publish the results.

    All agents of a seed get the same scenarios and are led along the same paths.

    Raises:
        KerfError: if the agent or its seed's aligned agent has no hidden layer, if no perturbation moves the aligned
            agent, or if no scenario has a path to the forbidden event.
    """
    from kerf.agents.latent_radius import latent_attack
    from kerf.lab.scripted import ExpertPolicy
    from kerf.lab.worlds import get_world
    from kerf.runs.execution.training_log import Progress

    began = time.monotonic()
    world, seed = get_world(recipe.world), unit.target.seed
    stream = entropy(seed, f"latent attack {unit.strength:g} {unit.draw}")
    draws, leads = np.random.default_rng(np.random.SeedSequence(stream)).spawn(2)
    scenarios = world.dilemma.forge(unit.budget, unit.strength, draws)
    store.fetch((unit.target, Unit(ALIGNED, seed)))
    with one_thread(), store.unit(unit) as folder:
        policy = network_of(store, unit.target, world)
        scale = scale_of(store, world, seed)
        found = latent_attack(policy, world, scenarios, ExpertPolicy(world), scale, leads)
        if not found.led.any():
            raise KerfError(
                f"{world.name}: the expert reaches the forbidden event in none of {unit.budget:,} forged scenarios of "
                f"strength {unit.strength:g}, so there is no path for a latent attack to follow"
            )
        least = float(np.median(found.least[found.led]))
        folder.write_json(
            LATENT,
            {
                "arm": unit.target.arm,
                "seed": seed,
                "world": world.name,
                "strength": unit.strength,
                "budget": unit.budget,
                "draw": unit.draw,
                "scale": scale,
                "led": int(found.led.sum()),
                "least": least if math.isfinite(least) else None,
                "within": {f"{radius:g}": found.share(radius) for radius in RADII},
            },
        )
        folder.write_table("least", {"led": found.led, "least": found.least})
        yield Progress(unit.target, 1, 1, unit.budget * world.horizon, time.monotonic() - began)


def network_of(store: Store, agent: Unit, world: World) -> AnyNetworkPolicy:
    """The policy of a finished agent. Raises `KerfError` if it is a table or has no hidden layer."""
    from kerf.agents.export import load_network

    policy = load_network(store.path / agent.name / POLICY, world)
    if not policy.network.settings.has_hidden_units:
        raise KerfError(
            f"{store.path}: {agent.name} is a linear network, and what is attacked from inside needs a hidden layer; "
            "train a network, e.g. network.hidden=[64, 64]"
        )
    return policy


def scale_of(store: Store, world: World, seed: int) -> float:
    """Scale of the radii in `seed`: what a radius of 1 means.

    Read from the records if an arm was trained with it, else measured again in the same way, which gives the same
    number.
    """
    from kerf.runs.execution.measurements import measure_latent_scale

    aligned = Unit(ALIGNED, seed)
    recorded = store.read_json(aligned, "gate").get("latent_scale")
    return (
        float(recorded)
        if recorded is not None
        else measure_latent_scale(world, network_of(store, aligned, world), seed)
    )
