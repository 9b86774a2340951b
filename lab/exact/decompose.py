"""Decomposition of a loss of utility: what the objective forced, and what learning did beyond it.

With U the ideal utility in deployment, pi_0 the aligned policy, pi_1 the trained one, and pi_min(D) that optimum of the
training objective D which is nearest to pi_0:

    U(pi_0) - U(pi_1)  =  forced [U(pi_0) - U(pi_min)]  +  excess [U(pi_min) - U(pi_1)]

*Forced*: a perfect optimiser of D loses it, too: a fault of the specification. *Excess*: D does not require it: an
effect of learning and generalisation. Forced is prior shift (what D without its penalty forces) plus penalty. With a
tabular twin, trained on D for as many steps, excess is under-optimisation (what the twin has lost beyond the optimum;
less than nothing, if it has not come that far) plus spillover (what the network has lost beyond the twin).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kerf.lab.errors import KerfError
from kerf.lab.exact.evaluation import Evaluator
from kerf.lab.exact.information_sets import Tree
from kerf.lab.exact.optimum import belief, nearest, reach, solve, trees, utility_of
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.rollout import Policy
from kerf.lab.scenario import Scenarios
from kerf.lab.world import Listed, Mix, World

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
class Decomposition:
    """Ideal utility in deployment of each policy of the decomposition, in units of utility.

    Attributes:
        aligned: U(pi_0).
        shifted: U(pi_min) of the objective without its penalty.
        optimal: U(pi_min).
        twin: U of the tabular twin; None without one.
        trained: U(pi_1).
        low: Least U of all optima of D.
        high: Most.
        ideal: max U.
    """

    aligned: float
    shifted: float
    optimal: float
    twin: float | None
    trained: float
    low: float
    high: float
    ideal: float

    @property
    def whole(self) -> float:
        """U(pi_0) - U(pi_1): the whole loss."""
        return self.aligned - self.trained

    @property
    def prior_shift(self) -> float:
        """Forced by the mix of scenarios alone."""
        return self.aligned - self.shifted

    @property
    def penalty(self) -> float:
        """Forced by the penalty, beyond that."""
        return self.shifted - self.optimal

    @property
    def forced(self) -> float:
        """The loss of a perfect optimiser of D."""
        return self.aligned - self.optimal

    @property
    def excess(self) -> float:
        """The rest of the loss."""
        return self.optimal - self.trained

    @property
    def under_optimisation(self) -> float | None:
        """Loss of the tabular twin beyond the optimum: negative where it has not come that far."""
        return None if self.twin is None else self.optimal - self.twin

    @property
    def spillover(self) -> float | None:
        """Loss of the network beyond its tabular twin."""
        return None if self.twin is None else self.twin - self.trained


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


def decompose(
    deployment: Deployment,
    designs: Mapping[str, Design],
    aligned: Mapping[Hashable, Policy],
    trained: Mapping[Hashable, Trained],
) -> dict[Hashable, Decomposition]:
    """The parts of every trained policy's loss.

    Args:
        deployment: Where utility is counted.
        designs: What was trained on, by name.
        aligned: The policies that training started from, by name.
        trained: What to decompose, by name.

    Returns:
        By the names of `trained`. The parts telescope, so they add up to the whole but for rounding.

    Raises:
        KerfError: if the world offers no enumeration, or is too large.
    """
    totals: dict[tuple[str, Hashable], float] = {}

    def add(kind: str, name: Hashable, amount: float) -> None:
        totals[kind, name] = totals.get((kind, name), 0.0) + amount

    used = {(of.design, of.aligned) for of in trained.values()}
    ideal = RewardSpec()
    for start, tree in _numbered(trees(deployment.world, deployment.situations)):
        rows = slice(start, start + len(tree.situations))
        weights = belief(tree, deployment.mix, None if deployment.share is None else deployment.share[rows])
        seen = np.flatnonzero(weights > 0.0)
        evaluator = Evaluator(deployment.world, tree.completions[seen])

        def utility(policy: Policy, evaluator: Evaluator = evaluator, of: NDArray[np.float64] = weights[seen]) -> float:
            return float(evaluator.run(policy).utility @ of)

        add("ideal", None, solve(tree, ideal, weights).value)
        for name, policy in aligned.items():
            add("aligned", name, utility(policy))
        for name, of in trained.items():
            add("trained", name, utility(of.policy))
            if of.twin is not None:
                add("twin", name, utility(of.twin))
        for design_name, design in designs.items():
            believed = belief(tree, design.mix, None if deployment.share is None else np.ones(len(tree.situations)))
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
    return {
        name: Decomposition(
            aligned=totals["aligned", of.aligned],
            shifted=totals["shifted", (of.design, of.aligned)],
            optimal=totals["optimal", (of.design, of.aligned)],
            twin=totals.get(("twin", name)),
            trained=totals["trained", name],
            low=totals["low", of.design],
            high=totals["high", of.design],
            ideal=totals["ideal", None],
        )
        for name, of in trained.items()
    }


def _numbered(grown: Iterable[Tree]) -> Iterable[tuple[int, Tree]]:
    """Each tree with the number of its first situation."""
    start = 0
    for tree in grown:
        yield start, tree
        start += len(tree.situations)
