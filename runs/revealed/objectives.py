"""Three objectives of a finished study side by side: the ideal one, what each arm was paid for, and what its agents'
choices reveal; with what the feedback was like, and how the policies generalise.

A failure is never classified. What is reported are the three objectives, whether the feedback on the training data was
bad and by which definition, whether utility held in families that training never shows, and the reruns that would tell
the two apart.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerf.agents.export import load_policy
from kerf.lab.battery import Battery, blocks
from kerf.lab.dilemma import Mix, Words
from kerf.lab.errors import KerfError, unknown_name
from kerf.lab.exact.consequences import consequences
from kerf.lab.exact.decision_points import decision_points
from kerf.lab.exact.exact_battery import written_out
from kerf.lab.exact.revealed import Revealed, read_events, reveal
from kerf.lab.rollout import Policy
from kerf.lab.scenario import Scenarios
from kerf.lab.scripted import Careless, ExpertPolicy
from kerf.lab.seeds import entropy
from kerf.lab.world import Enumerable, World
from kerf.lab.worlds import get_world
from kerf.runs.exact.designs import design_of
from kerf.runs.execution.measurements import make_battery
from kerf.runs.recipe.arms import ResolvedArm
from kerf.runs.recipe.files import load_recipe
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.gate_records import finished_seeds
from kerf.runs.records.store import ALIGNED, POLICY, Store, Unit
from kerf.runs.revealed.feedback import Feedback, feedback
from kerf.runs.revealed.generalisation import Utility, utilities

STREAM = "revealed"
"""Name of the random streams of this analysis."""

NATURAL = "natural"
"""The belief of an agent that knows the natural stream, under which all are read. Those of arms that train on another
stream are called by what it holds, as in `belief_name`."""

PER_BLOCK = 8
"""Scenarios of each block of a sampled battery in which decision points are looked for."""

OWN, EXPERT = "own", "expert"
"""What follows a choice: the policy's own doing, or the expert's."""

SLIP = 1e-6
"""Probability of a slip of the expert that goes on for a policy, so that it has an alternative to what is forgone."""


@dataclass(frozen=True)
class Read:
    """What one agent's choices reveal under one belief.

    Attributes:
        arm: Its arm.
        seed: Its seed.
        belief: The stream of scenarios that it is taken to expect: `NATURAL`, or as `belief_name`.
        revealed: What its choices reveal.
    """

    arm: str
    seed: int
    belief: str
    revealed: Revealed


@dataclass(frozen=True)
class Objectives:
    """The objectives of a study, and what is known of how they came about.

    Attributes:
        world: Name of the world.
        words: Its wording.
        events: Events whose weights are read.
        ideal: Event -> ideal weight.
        design: Arm -> event -> weight that training paid, expected penalty included; None for an arm whose payment is
            no weight on events.
        num_points: Decision points.
        num_options: Options there.
        left_out: Share of the battery without one.
        continuation: `OWN` or `EXPERT`.
        read: Every agent under the natural belief and that of its training; the aligned agents, which come first,
            under all of these.
        feedback: Of each arm and seed whose feedback can be judged.
        utilities: Of every agent.
        arms: The arms that were read, by name.
    """

    world: str
    words: Words
    events: tuple[str, ...]
    ideal: Mapping[str, float]
    design: Mapping[str, Mapping[str, float] | None]
    num_points: int
    num_options: int
    left_out: float
    continuation: str
    read: tuple[Read, ...]
    feedback: tuple[Feedback, ...]
    utilities: tuple[Utility, ...]
    arms: Mapping[str, ResolvedArm]

    def of(self, arm: str, belief: str = NATURAL) -> list[Read]:
        """The agents of `arm`, by seed."""
        return [read for read in self.read if read.arm == arm and read.belief == belief]


def read_objectives(
    store: Store,
    only: Collection[str] = (),
    per_block: int = PER_BLOCK,
    continuation: str = OWN,
    say: Callable[[str], None] = lambda line: None,
) -> Objectives:
    """Read the objective of every agent of a finished study.

    Args:
        store: Store of a study whose cells are all finished.
        only: Names of the arms to read; empty means all.
        per_block: Scenarios of each block of a sampled battery; an exact battery is used in full.
        continuation: `OWN` or `EXPERT`.
        say: Callback for progress, one line per call.

    Raises:
        KerfError: if the study is not finished, an arm is unknown, or its world offers no enumeration.
    """
    store.manifest()
    recipe = load_recipe(str(store.path / "recipe.yaml"))
    world = get_world(recipe.world)
    if not isinstance(world, Enumerable):
        raise KerfError(
            f"world {world.name} cannot be enumerated (kerf.lab.world.Enumerable), so what an agent could know when it "
            "chose is not known, and no objective can be read"
        )
    arms = _asked(store, recipe, only)
    seeds = finished_seeds(store, recipe.seed_numbers, recipe.arms)
    policies: dict[tuple[str, int], Policy] = {
        (arm, seed): load_policy(store.path / Unit(arm, seed).name / POLICY, world)
        for arm in (ALIGNED, *arms)
        for seed in seeds
    }
    aligned = {seed: policies[ALIGNED, seed] for seed in seeds}
    say("what the feedback was like")
    found = feedback(recipe, world, arms, aligned)
    say("decision points")
    mixes = {name: design.mix for name, arm in arms.items() if (design := design_of(recipe, arm)) is not None}
    points = decision_points(world, *probed(recipe, world, per_block), [Mix(), *mixes.values()])
    afterwards = Careless(ExpertPolicy(world), SLIP) if continuation == EXPERT else None
    seed_of_play = entropy(recipe.battery.seed, STREAM)
    read: list[Read] = []
    for (arm, seed), policy in policies.items():
        say(f"choices of {arm}, seed {seed}")
        chosen = consequences(policy, points, seed_of_play, afterwards=afterwards)
        expected = mixes if arm == ALIGNED else {name: mix for name, mix in mixes.items() if name == arm}
        beliefs = {NATURAL: Mix()} | {belief_name(mix): mix for mix in expected.values() if mix.natural < 1.0}
        objectives = {"ideal": world.ideal, "design": found.design.get(arm)}
        read += [
            Read(arm, seed, name, reveal(chosen, points.belief(mix), {k: v for k, v in objectives.items() if v}))
            for name, mix in beliefs.items()
        ]
    say("utility in families of training, and in others")
    return Objectives(
        world.name,
        world.dilemma.words,
        read_events(world),
        dict(world.ideal),
        found.design,
        len(points),
        len(points.situation),
        points.left_out,
        continuation,
        tuple(read),
        found.rows,
        tuple(utilities(world, policies, recipe.battery.seed)),
        arms,
    )


def _asked(store: Store, recipe: Recipe, only: Collection[str]) -> dict[str, ResolvedArm]:
    """The arms called `only`, or all."""
    arms = recipe.resolve()
    for name in only:
        if name not in arms:
            raise unknown_name(f"arm of {store.path}", name, arms)
    return {name: arm for name, arm in arms.items() if not only or name in only}


def belief_name(mix: Mix) -> str:
    """The belief of an agent that knows a stream with forgeries: `25% forgeries of strength 1`."""
    return f"{1.0 - mix.natural:.0%} forgeries of strength {mix.strength:g}"


def probed(recipe: Recipe, world: World, per_block: int) -> tuple[Scenarios, NDArray[np.float64]]:
    """Scenarios of the study's battery in which choices are looked for `(n, F)`, and their weights `(n,)`.

    All blocks of the battery weigh the same. Of a sampled battery the first `per_block` scenarios of each are taken, of
    an exact one all, with their probabilities.
    """
    battery = make_battery(recipe)
    if isinstance(battery, Battery):
        starts = dict.fromkeys((probe.rows.start, probe.rows.stop) for probe in battery.probes)
        parts = [battery.scenarios[start : min(stop, start + per_block)] for start, stop in starts]
        return np.concatenate(parts), np.concatenate([np.full(len(part), 1.0 / len(part)) for part in parts])
    made, _ = blocks(world, recipe.battery.strengths)
    written = written_out(world, made)
    return (
        np.concatenate([scenarios for scenarios, _ in written]),
        np.concatenate([probs / probs.sum() for _, probs in written]),
    )
