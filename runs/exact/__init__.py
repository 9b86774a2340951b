"""Exact analysis of a finished study: optima, decomposition of losses, and certificates of each agent."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerf.agents.export import load_policy
from kerf.lab.dilemma import Words
from kerf.lab.errors import KerfError, unknown_name
from kerf.lab.exact.certificate import AdequacyClaim, AdequacyVerdict
from kerf.lab.exact.decompose import Deployment, Trained, decompose
from kerf.lab.exact.decomposition import Decomposition
from kerf.lab.exact.evaluation import Evaluator, refuse_not_enumerable
from kerf.lab.exact.optimum import belief, solve, trees
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.rollout import Policy
from kerf.lab.scenario import Scenarios
from kerf.lab.world import Enumerable, Listed
from kerf.lab.worlds import get_world
from kerf.runs.exact.certify import Certified, certify
from kerf.runs.exact.curves import Curves, curves
from kerf.runs.exact.designs import deployment_of, design_of, twin_of
from kerf.runs.exact.detect import Detection, detect
from kerf.runs.recipe.arms import ResolvedArm
from kerf.runs.recipe.files import load_recipe
from kerf.runs.records.gate_records import finished_seeds
from kerf.runs.records.store import ALIGNED, POLICY, Store, Unit

STEPS = 5
"""Steps of an examination that are told."""

SITUATIONS = 64
"""Default number of situations to draw in a world that cannot list all of them."""

CLOSE, SHARE = 0.05, 0.8
"""An arm is adequate if ideal utility is within `CLOSE` (a share) of its maximum in more than `SHARE` of its seeds."""


@dataclass(frozen=True)
class Examined:
    """Exact results of one cell.

    Attributes:
        arm: Its arm.
        seed: Its seed.
        parts: Decomposition of its loss of ideal utility.
        largest: Maximum J per scenario of the objective that it was trained on.
        reached: J of the trained agent.
    """

    arm: str
    seed: int
    parts: Decomposition
    largest: float
    reached: float

    @property
    def regret(self) -> float:
        """Regret: distance from the maximum of its objective."""
        return self.largest - self.reached

    def row(self) -> dict[str, Any]:
        """All figures by name; NaN where there is no tabular twin."""
        parts = {name: math.nan if value is None else value for name, value in asdict(self.parts).items()}
        names = (
            "whole",
            "prior_shift",
            "penalty",
            "forced",
            "excess",
            "under_optimisation",
            "spillover",
            "twin_excess",
        )
        derived = {name: getattr(self.parts, name) for name in (*names, "twin_excess")}
        derived = {name: math.nan if value is None else value for name, value in derived.items()}
        figures = {"max_j": self.largest, "j": self.reached, "regret": self.regret}
        return {"arm": self.arm, "seed": self.seed} | parts | derived | figures


@dataclass(frozen=True)
class Examination:
    """Exact analysis of a finished study.

    Attributes:
        world: Name of the world.
        words: Its wording.
        listed: Whether all situations were examined, or only a sample.
        num_situations: Number of situations examined.
        cells: Every trained cell, arm by arm, in the recipe's order.
        certified: Every claim about every arm.
        detections: Signal detection of every agent, for forgeries of every strength; empty if there are none.
        curves: Psychometric curves and generalisation gradients of every arm, if the world lists its situations.
        adequate: Whether each arm keeps its ideal utility, by arm.
        unsolved: Arms that train on an adversary's scenarios, for which no optimum is defined.
    """

    world: str
    words: Words
    listed: bool
    num_situations: int
    cells: tuple[Examined, ...]
    certified: tuple[Certified, ...]
    detections: tuple[Detection, ...]
    curves: tuple[Curves, ...]
    adequate: Mapping[str, AdequacyVerdict]
    unsolved: tuple[str, ...] = ()


def examine(
    store: Store,
    situations: int = SITUATIONS,
    only: Collection[str] = (),
    begin: Callable[[str], None] = lambda what: None,
    reached: Callable[[float], None] = lambda share: None,
) -> Examination:
    """Solve the objectives that the arms of a finished study were trained on, and evaluate every policy exactly.

    Args:
        store: Store of a study whose cells are all finished.
        situations: Number to draw where the world cannot list all of them; an eighth of that from each family.
        only: Names of the arms to analyse; empty means all.
        begin: Is called with what each of the `STEPS` does.
        reached: Is called with the share of the present step that is done, in [0, 1].

    Raises:
        KerfError: if the study is not finished, or its world offers no enumeration or is too large.
    """
    store.manifest()
    recipe = load_recipe(str(store.path / "recipe.yaml"))
    world = get_world(recipe.world)
    refuse_not_enumerable(world)
    arms = recipe.resolve()
    for name in only:
        if name not in arms:
            raise unknown_name(f"arm of {store.path}", name, arms)
    seeds = finished_seeds(store, recipe.seed_numbers, recipe.arms)
    policies: dict[tuple[str, int], Policy] = {
        (arm, seed): load_policy(store.path / Unit(arm, seed).name / POLICY, world)
        for arm in (ALIGNED, *arms)
        for seed in seeds
    }
    examined = {name: arm for name, arm in arms.items() if not only or name in only}
    designs = {name: design for name, arm in examined.items() if (design := design_of(recipe, arm)) is not None}
    if not designs:
        raise KerfError(
            f"{store.path}: none of these arms ({', '.join(examined)}) trains on a fixed mix of scenarios, so none has "
            "an optimum"
        )
    trained, deployment = _trained(policies, arms, designs, seeds), deployment_of(world, situations)
    many = f"{len(deployment.situations):,} situations of {world.name}"
    begin(f"losses of {len(trained)} agents and optima of {len(designs)} objectives in {many}")
    parts = decompose(deployment, designs, {seed: policies[ALIGNED, seed] for seed in seeds}, trained, reached)
    begin(f"returns of the agents by their own objectives, in {many}")
    cells = list[Examined]()
    for number, (name, design) in enumerate(designs.items()):
        reached(number / len(designs))
        agents: dict[Hashable, Policy] = {seed: policies[name, seed] for seed in seeds}
        largest, returns = _returns(deployment_of(world, situations, design.mix), design.objective, agents)
        cells += [Examined(name, seed, parts[name, seed], largest, returns[seed]) for seed in seeds]
    judged = {key: policy for key, policy in policies.items() if key[0] in (ALIGNED, *examined)}
    begin(f"certificates of {len(judged)} agents, for {len(world.values) + 1} claims")
    certified = tuple(certify(world, judged, _written_out(deployment), max(1, situations // 8), reached))
    strengths = recipe.battery.strengths if world.dilemma.has_forgeries else ()
    begin(f"signal detection by {len(judged)} agents, at {len(strengths)} strengths")
    detections = tuple(detect(world, judged, _written_out(deployment), strengths, situations, reached))
    begin("psychometric curves")
    return Examination(
        world.name,
        world.dilemma.words,
        isinstance(world, Listed),
        len(deployment.situations),
        tuple(cells),
        certified,
        detections,
        tuple(curves(world, judged, designs)),
        {name: _adequacy([cell.parts for cell in cells if cell.arm == name]) for name in designs},
        tuple(name for name, arm in examined.items() if arm.train and name not in designs),
    )


def _adequacy(parts: Sequence[Decomposition]) -> AdequacyVerdict:
    """Whether nearly all seeds of an arm end near the maximum of ideal utility."""
    claim = AdequacyClaim("ideal utility", parts[0].ideal, CLOSE * abs(parts[0].ideal), SHARE)
    return claim.judge([part.trained for part in parts])


def _trained(
    policies: Mapping[tuple[str, int], Policy],
    arms: Mapping[str, ResolvedArm],
    names: Iterable[str],
    seeds: Sequence[int],
) -> dict[Hashable, Trained]:
    """Agents of the arms `names`, each with its tabular twin if there is one."""
    twins = {name: twin_of(arms, name) for name in names}
    return {
        (name, seed): Trained(name, seed, policies[name, seed], policies[twin, seed] if twin else None)
        for name, twin in twins.items()
        for seed in seeds
    }


def _written_out(deployment: Deployment) -> tuple[Scenarios, NDArray[np.float64]]:
    """All scenarios of a deployment `(n, F)`, and their probabilities `(n,)`."""
    world, share = deployment.world, deployment.share
    assert isinstance(world, Enumerable)
    rows, origin = world.completions(deployment.situations)
    weights = world.density(rows, deployment.mix)
    if share is not None:
        weights = weights * (share / np.bincount(origin, weights, len(share)))[origin]
    seen = weights > 0.0
    return rows[seen], weights[seen]


def _returns(
    deployment: Deployment, objective: RewardSpec, agents: Mapping[Hashable, Policy]
) -> tuple[float, dict[Hashable, float]]:
    """Maximum J in `deployment`, and J of each agent there."""
    largest, start = 0.0, 0
    reached = dict.fromkeys(agents, 0.0)
    for tree in trees(deployment.world, deployment.situations):
        rows = slice(start, start + len(tree.situations))
        start = rows.stop
        weights = belief(tree, deployment.mix, None if deployment.share is None else deployment.share[rows])
        largest += solve(tree, objective, weights).value
        seen = np.flatnonzero(weights > 0.0)
        evaluator = Evaluator(deployment.world, tree.completions[seen])
        for name, agent in agents.items():
            reached[name] += float(evaluator.run(agent, objective=objective).returns @ weights[seen])
    return largest, reached
