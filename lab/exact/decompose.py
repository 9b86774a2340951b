"""Decomposition of a loss of utility: what the objective forced, and what learning did beyond it.

With U the ideal utility in deployment, pi_0 the aligned policy, pi_1 the trained one, and pi_min(D) that optimum of the
training objective D which is nearest to pi_0:

    U(pi_0) - U(pi_1)  =  forced [U(pi_0) - U(pi_min)]  +  excess [U(pi_min) - U(pi_1)]

*Forced*: a perfect optimiser of D would have lost it, a fault of the specification. *Excess*: D did not ask for it, a
matter of learning and generalisation. Forced is prior shift (what D without its penalty forces) plus penalty. Excess is
*spillover*, what was lost in situations that D never shows, where its nearest optimum is pi_0 itself, plus
*under-optimisation*, what was lost beyond the optimum in those that it shows. (A tabular twin, trained on D for as many
steps, does not split it: as long as it has not converged it differs from a network in both.)
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kerf.lab.dilemma import Mix
from kerf.lab.errors import KerfError
from kerf.lab.exact.decomposition import Decomposition
from kerf.lab.exact.evaluation import Evaluator
from kerf.lab.exact.information_sets import Tree
from kerf.lab.exact.optimum import belief, nearest, reach, solve, trees, utility_of
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.rollout import Policy
from kerf.lab.scenario import Scenarios
from kerf.lab.world import Listed, World

NATURAL = Mix()


@dataclass(frozen=True)
class Design:
    """The training problem of an arm: an objective and a distribution of scenarios."""

    objective: RewardSpec
    mix: Mix

    @property
    def unpenalised(self) -> Design:
        """The same without its penalty, excuses kept."""
        return replace(self, objective=replace(self.objective, penalty=0.0))


@dataclass(frozen=True)
class Trained:
    """A trained policy with its design and its aligned policy.

    Attributes:
        design: Name of the design that it was trained on.
        aligned: Name of the policy that it started from.
        policy: pi_1.
        twin: Its tabular twin, if there is one.
    """

    design: str
    aligned: Hashable
    policy: Policy
    twin: Policy | None = None


@dataclass(frozen=True)
class Deployment:
    """The distribution that policies are evaluated on: situations and their probabilities.

    Attributes:
        world: The world; it must be `Enumerable`.
        situations: `(n, F)`.
        share: `(n,)`, probability of each; None where the world's densities are probabilities
            (`kerf.lab.world.Listed`).
        mix: Determines the hidden fields, given a situation.
    """

    world: World
    situations: Scenarios
    share: NDArray[np.float64] | None = None
    mix: Mix = NATURAL

    @classmethod
    def listed(cls, world: World, mix: Mix = NATURAL) -> Deployment:
        """Every situation of the world that `mix` shows. Raises `KerfError` if the world does not list them."""
        if not isinstance(world, Listed):
            raise KerfError(f"world {world.name} does not list its situations (kerf.lab.world.Listed)")
        situations = world.situations()
        rows, origin = world.completions(situations)
        shown = np.bincount(origin, world.density(rows, mix), len(situations)) > 0.0
        return cls(world, situations[shown], None, mix)

    @classmethod
    def drawn(cls, world: World, scenarios: Scenarios, mix: Mix = NATURAL) -> Deployment:
        """The situations of `scenarios` `(n, F)`, a sample from `mix`, equally likely; hidden fields are exact."""
        return cls(world, scenarios, np.full(len(scenarios), 1.0 / len(scenarios)), mix)


def _counter(in_all: int, reached: Callable[[float], None]) -> Callable[[Tree], None]:
    """Count the situations that are done, out of `in_all`, and tell their share."""
    done = 0

    def advance(tree: Tree) -> None:
        nonlocal done
        done += len(tree.situations)
        reached(min(1.0, done / in_all))

    return advance


def decompose(
    deployment: Deployment,
    designs: Mapping[str, Design],
    aligned: Mapping[Hashable, Policy],
    trained: Mapping[Hashable, Trained],
    reached: Callable[[float], None] = lambda share: None,
) -> dict[Hashable, Decomposition]:
    """The parts of every trained policy's loss.

    Args:
        deployment: Where utility is counted.
        designs: What was trained on, by name.
        aligned: The policies that training started from, by name.
        trained: What to decompose, by name.
        reached: Is called with the share of the work that is done, in [0, 1].

    Returns:
        By the names of `trained`. The parts telescope, so they add up to the whole but for rounding.

    Raises:
        KerfError: if the world offers no enumeration, or is too large.
    """
    totals: dict[tuple[str, Hashable], float] = {}

    def add(kind: str, name: Hashable, amount: float) -> None:
        totals[kind, name] = totals.get((kind, name), 0.0) + amount

    advance = _counter((len(aligned) + len(trained) + len(designs)) * max(1, len(deployment.situations)), reached)
    used = {(item.design, item.aligned) for item in trained.values()}
    ideal = RewardSpec()
    for start, tree in _numbered(trees(deployment.world, deployment.situations)):
        rows = slice(start, start + len(tree.situations))
        weights = belief(tree, deployment.mix, None if deployment.share is None else deployment.share[rows])
        seen = np.flatnonzero(weights > 0.0)
        evaluator = Evaluator(deployment.world, tree.completions[seen])

        def utilities(policy: Policy, evaluator: Evaluator = evaluator, tree: Tree = tree) -> NDArray[np.float64]:
            advance(tree)
            return np.asarray(evaluator.run(policy).utility, np.float64)

        add("ideal", None, solve(tree, ideal, weights).value)
        before = {name: utilities(policy) for name, policy in aligned.items()}
        after = {name: utilities(item.policy) for name, item in trained.items()}
        for name in aligned:
            add("aligned", name, float(before[name] @ weights[seen]))
        for name, item in trained.items():
            add("trained", name, float(after[name] @ weights[seen]))
            if item.twin is not None:
                add("twin", name, float(utilities(item.twin) @ weights[seen]))
        for design_name, design in designs.items():
            believed = belief(tree, design.mix, None if deployment.share is None else np.ones(len(tree.situations)))
            unseen = _unseen(tree, believed, weights)[seen]
            add("unseen", design_name, float(unseen.sum()))
            for name, item in trained.items():
                if item.design == design_name:
                    add("unseen aligned", name, float(before[item.aligned] @ unseen))
                    add("unseen trained", name, float(after[name] @ unseen))
            optimum = solve(tree, design.objective, believed)
            shifted = optimum if not design.objective.penalty else solve(tree, design.unpenalised.objective, believed)
            low, high = reach(optimum, ideal, weights)
            add("low", design_name, float(low.sum()))
            add("high", design_name, float(high.sum()))
            for of_design, name in used:
                if of_design == design_name:
                    near = float(utility_of(deployment.world, nearest(optimum, aligned[name])) @ weights)
                    add("optimal", (design_name, name), near)
                    if shifted is not optimum:
                        near = float(utility_of(deployment.world, nearest(shifted, aligned[name])) @ weights)
                    add("shifted", (design_name, name), near)
            advance(tree)
    return {name: _parts(totals, name, item) for name, item in trained.items()}


def _parts(totals: Mapping[tuple[str, Hashable], float], name: Hashable, item: Trained) -> Decomposition:
    return Decomposition(
        aligned=totals["aligned", item.aligned],
        shifted=totals["shifted", (item.design, item.aligned)],
        optimal=totals["optimal", (item.design, item.aligned)],
        twin=totals.get(("twin", name)),
        trained=totals["trained", name],
        unseen=totals["unseen", item.design],
        unseen_aligned=totals["unseen aligned", name],
        unseen_trained=totals["unseen trained", name],
        low=totals["low", item.design],
        high=totals["high", item.design],
        ideal=totals["ideal", None],
    )


def _unseen(tree: Tree, believed: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """`weights` `(C,)` of the completions of situations that have no probability by `believed` `(C,)`; else 0."""
    shown = np.bincount(tree.origin, believed, len(tree.situations)) > 0.0
    return np.where(shown[tree.origin], 0.0, weights)


def _numbered(grown: Iterable[Tree]) -> Iterable[tuple[int, Tree]]:
    """Each tree with the number of its first situation."""
    start = 0
    for tree in grown:
        yield start, tree
        start += len(tree.situations)
