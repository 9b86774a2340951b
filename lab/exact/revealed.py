"""Revealed objective of a policy: event weights that explain its choices at decision points, and how far they do.

The weights are those of `kerf.lab.statistics.choice_model`, on the events of the ideal utility. They are reported in
units of ideal utility: the scale is the one at which the choices open to the agent differ as much by the revealed as by
the ideal utility (root mean square over the actions at all decision points). `sharpness` is that scale: log-odds per
unit of utility.

A second fit adds what no event explains: an inclination towards the forbidden act as such, and one that depends on
observable features of the context. If it explains much more, the agent is guided by something else than by what comes
of its acts.

Weights are read under a belief. An agent that helps less because it values saving less, and one that helps less because
it expects a forgery, choose alike; no observation of choices tells the two apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerf.lab.exact.consequences import Consequences
from kerf.lab.exact.decision_points import DecisionPoints
from kerf.lab.statistics.choice_model import Choices, fit_choices
from kerf.lab.world import World, event_weights

ACT = "the act itself"
"""The context that is always there."""


@dataclass(frozen=True)
class Revealed:
    """What a policy's choices reveal under one belief.

    Attributes:
        events: The `K` events, as `read_events`.
        weights: `(K,)`, in units of ideal utility; NaN where not identified.
        sharpness: Log-odds per unit of utility, >= 0.
        explained: Share of the choices' divergence from equal chances that the weights explain, at most 1.
        divergence: KL(policy || model) in nats a decision point.
        agreement: Objective -> correlation, in [-1, 1], of the differences that it and the revealed utility make.
        refusal: Why the weights must not be read; None if they may.
        missing: Event -> why its weight is not identified.
        explained_in_context: The same share if the forbidden act may have a weight of its own, by context.
        contexts: Context -> log-odds of the forbidden act per standard deviation of the context; of `ACT`, at the mean.
        num_points: Decision points that the belief finds possible.
    """

    events: tuple[str, ...]
    weights: NDArray[np.float64]
    sharpness: float
    explained: float
    divergence: float
    agreement: Mapping[str, float]
    refusal: str | None
    missing: Mapping[str, str]
    explained_in_context: float
    contexts: Mapping[str, float]
    num_points: int


def read_events(world: World) -> tuple[str, ...]:
    """Events whose weights are read: those of the ideal utility, in the world's order."""
    return tuple(event for event in world.events if world.ideal.get(event))


def reveal(
    found: Consequences, belief: Sequence[NDArray[np.float64]], objectives: Mapping[str, Mapping[str, float]]
) -> Revealed:
    """Read a policy's objective from what it chooses and what follows.

    Args:
        found: From `kerf.lab.exact.consequences.consequences`.
        belief: From `DecisionPoints.belief`; points that it finds impossible are left out.
        objectives: Event weights to compare with, by name.

    Raises:
        ValueError: if the belief finds every point impossible.
    """
    points, world = found.points, found.points.world
    possible = np.zeros(len(points), np.bool_)
    for stage, probs in zip(points.stages, belief, strict=True):
        possible[stage.point[probs > 0.0]] = True
    if not possible.any():
        raise ValueError("no decision point is possible under this belief")
    rows = np.flatnonzero(possible[points.situation])
    everything = found.expected(belief)[rows]
    events = read_events(world)
    columns = [world.events.index(event) for event in events]

    def choices(features: NDArray[np.float64]) -> Choices:
        situation = (np.cumsum(possible) - 1)[points.situation[rows]]
        return Choices(features, situation, found.probs[rows], points.sizes[rows], points.weights[possible])

    plain = choices(everything[:, columns])
    fit = fit_choices(plain)
    ideal = everything @ event_weights(world, world.ideal)
    spread = plain.spread(ideal)
    sharpness = plain.spread(fit.utility) / spread if spread > 0.0 else math.nan
    names, psi = contexts(points)
    act = _at_once(points, world.dilemma.forbidden)[rows]
    wider = fit_choices(choices(np.column_stack((everything[:, columns], act[:, None] * psi[points.situation[rows]]))))
    return Revealed(
        events,
        fit.weights / sharpness if sharpness > 0.0 else np.full(len(events), np.nan),
        sharpness,
        fit.explained,
        fit.divergence,
        {
            name: plain.agreement(fit.utility, everything @ event_weights(world, weights))
            for name, weights in objectives.items()
        },
        fit.refusal,
        {event: why for event, why in zip(events, fit.missing, strict=True) if why is not None},
        wider.explained,
        {
            name: float(weight)
            for name, weight in zip(names, wider.weights[len(events) :], strict=True)
            if not math.isnan(weight)
        },
        int(possible.sum()),
    )


def contexts(points: DecisionPoints) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Context features of the points: names, and values `(P, C)` of mean 0 and standard deviation 1 (0 if constant).

    The first is `ACT`, which is 1 everywhere. The others are the number of tells that show, whether the agent is
    watched, and the world's descriptors of its forgeries.
    """
    world, scenarios = points.world, points.scenarios
    values = {"tells": scenarios[:, [world.space.column(tell) for tell in world.dilemma.tells]].sum(axis=1)}
    if world.dilemma.watched is not None:
        values["watched"] = scenarios[:, world.space.column(world.dilemma.watched)]
    values |= {name: describe(scenarios) for name, describe in world.dilemma.descriptors.items()}
    table = np.column_stack(list(values.values())).astype(np.float64)
    centred = table - points.weights @ table
    scale = np.sqrt(points.weights @ centred**2)
    varying = np.divide(centred, scale, out=np.zeros_like(centred), where=scale > 1e-9)
    return (ACT, *values), np.column_stack((np.ones(len(table)), varying))


def _at_once(points: DecisionPoints, event: str | None) -> NDArray[np.float64]:
    """Whether each option brings about `event` at once, `(M,)` of 0 and 1; None is an event that never happens."""
    if event is None:
        return np.zeros(len(points.words))
    bit = np.uint64(points.world.events.index(event))
    return ((points.words >> bit) & np.uint64(1)).astype(np.float64)
