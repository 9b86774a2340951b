"""Faults of a world that can be seen before anything is trained: in what it declares, and in a few short episodes.

A fault is a sentence without the world's name. The conformance kit (`kerf.lab.testing`) makes these checks first and
then those that take longer; recipes make these alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerf.lab.compiled import uncompiled
from kerf.lab.dilemma import Dilemma
from kerf.lab.errors import KerfError, unknown_name
from kerf.lab.reward_spec import IDEAL
from kerf.lab.rollout import Trajectories, unplayed
from kerf.lab.scenario import Scenarios
from kerf.lab.world import Proxied, Value, World

MOST_EVENTS = 64
"""Bits of an event word."""

EACH = 1
"""Scenarios of each family, and of forgeries of the least and the greatest strength, that are played."""


def declared_faults(world: World) -> list[str]:
    """What is wrong with the declaration of `world`, which has all members of `World`; plays and draws nothing."""
    return [
        fault
        for part, faults in (
            ("its names cannot be read", faults_of_names),
            ("its families and values cannot be read", faults_of_values),
            ("its dilemma cannot be read", faults_of_dilemma),
        )
        for fault in _guarded(part, faults, world)
    ]


def role_faults(world: World) -> list[str]:
    """What is wrong with the values that the dilemma of `world` is about; they are no skills."""
    return list(_guarded("its values cannot be read", _faults_of_roles, world))


def played_faults(world: World) -> list[str]:
    """What goes wrong in `EACH` episodes of every kind; the expert plays every other one, and chance the rest.

    Uncompiled, so that it takes neither numba nor the time to compile. Deterministic.
    """
    with uncompiled():
        return list(_guarded("a first episode of every kind cannot be played", _faults_of_episodes, world))


def _guarded(otherwise: str, faults: Callable[[World], Iterator[str]], world: World) -> Iterator[str]:
    try:
        yield from faults(world)
    except Exception as error:  # a world is anybody's code: whatever it raises is a fault of it
        yield f"{otherwise}: {error!r}"


def faults_of_names(world: World) -> Iterator[str]:
    """What is wrong with its names, horizon, space, and ideal utility."""
    if not isinstance(world.name, str) or not re.fullmatch(r"\w+", world.name):
        yield f"name must be one word, got {world.name!r}"
    if type(world.horizon) is not int or world.horizon < 1:
        yield f"horizon must be >= 1, got {world.horizon!r}"
    for member in ("actions", "events", "observations"):
        yield from _faults_of_list(member, getattr(world, member))
    yield from _faults_of_list("families", [family.name for family in world.families])
    yield from _faults_of_list("values", [value.name for value in world.values])
    if len(world.events) > MOST_EVENTS:
        yield f"events: at most {MOST_EVENTS}, got {len(world.events)}"
    for event, weight in world.ideal.items():
        yield from _unknown("ideal", "event", event, world.events)
        if not np.isfinite(weight):
            yield f"ideal: {event} must have a finite weight, got {weight}"
    for member in ("begin", "expert", "render_text", "render_pixels"):
        if not callable(getattr(world, member)):
            yield f"{member} must be a method, got {getattr(world, member)!r}"


def faults_of_values(world: World) -> Iterator[str]:
    """What is wrong with its families and values, which every battery is made of."""
    names = [value.name for value in world.values]
    for family in world.families:
        yield from _unknown(f"family {family.name}", "value", family.value, names)
        if not family.name.startswith(f"{family.value}/"):
            yield f"family {family.name!r} must be called {family.value}/<variant>"
        if not (np.isfinite(family.share) and family.share >= 0.0):
            yield f"family {family.name}: share must be >= 0, got {family.share}"
    for value in world.values:
        shares = [family.share for family in world.families if family.value == value.name]
        if not any(share == 0.0 for share in shares):
            yield f"value {value.name} needs a held-out family (share 0)"
        if not value.doc:
            yield f"value {value.name} must say what the aligned behaviour is (doc)"
    if not any(value.skill for value in world.values):
        yield "at least one value must be a skill (skill=True), to tell lost competence from lost values"


def faults_of_dilemma(world: World) -> Iterator[str]:
    """What is wrong with the events, fields, values and weights that its dilemma names."""
    yield from _faults_of_act(world)
    yield from _faults_of_forgeries(world.dilemma)
    yield from _faults_of_fields(world)
    yield from _faults_of_roles(world)
    dilemma = world.dilemma
    for event in (*dilemma.instead, *(() if dilemma.style is None else (dilemma.style,))):
        yield from _unknown(
            "dilemma.style" if event == dilemma.style else "dilemma.instead", "event", event, world.events
        )
    if dilemma.style is not None and world.ideal.get(dilemma.style):
        yield f"dilemma.style: {dilemma.style} must be a habit of no weight in ideal"
    for trade in dilemma.trades:
        if len(trade.levels) < 2 or list(trade.levels) != sorted(set(trade.levels)):
            yield f"dilemma.trades: {trade.name} needs two levels or more, ascending"
    for name, weights in (world.proxies if isinstance(world, Proxied) else {}).items():
        if name == IDEAL:
            yield f"proxies: {IDEAL!r} is the name of the ideal utility"
        for event in weights:
            yield from _unknown(f"proxies.{name}", "event", event, world.events)


def _faults_of_act(world: World) -> Iterator[str]:
    """What is wrong with the forbidden act, its cost and its benefit."""
    dilemma = world.dilemma
    if dilemma.forbidden is None:
        given = [name for name in ("needless", "rescued", "served", "ways") if getattr(dilemma, name)]
        if given:
            yield f"dilemma.{given[0]} is said of a forbidden act, and dilemma.forbidden names none"
        return
    for role in ("forbidden", "needless", *(() if dilemma.rescued is None else ("rescued",))):
        yield from _unknown(f"dilemma.{role}", "event", getattr(dilemma, role), world.events)
    if not dilemma.ways:
        yield "dilemma.ways needs an event at least, if only the forbidden one"
    for way in dilemma.ways:
        yield from _unknown("dilemma.ways", "event", way, world.events)
    if not (dilemma.cost > 0 and world.ideal.get(dilemma.needless or "") == -dilemma.cost):
        yield f"ideal[{dilemma.needless!r}] must be -dilemma.cost, below 0"
    if dilemma.rescued is None:
        needs = {"benefit": dilemma.benefit, "benefits": dilemma.benefits, "served": dilemma.served}
        if given := [name for name, value in needs.items() if value]:
            yield f"dilemma.{given[0]} is said of an act that may be needed, and dilemma.rescued names no need"
        return
    if dilemma.needless == dilemma.forbidden:
        yield "dilemma.needless must be another event than the forbidden act, which may be needed (dilemma.rescued)"
    if not (dilemma.benefit > 0 and world.ideal.get(dilemma.rescued) == dilemma.benefit):
        yield f"ideal[{dilemma.rescued!r}] must be dilemma.benefit, above 0"
    if dilemma.forbidden in world.ideal:
        yield "ideal: the forbidden act must cost nothing where it is needed"


def _faults_of_forgeries(dilemma: Dilemma) -> Iterator[str]:
    """Find declarations about forgeries where there are none, and forgeries without declarations."""
    if dilemma.has_forgeries:
        if dilemma.rescued is None:
            yield "dilemma.false_emergency pretends a need, and dilemma.rescued names none"
        return
    for role in ("tells", "exact_forgeries", "plausible", "penalty_threshold"):
        if getattr(dilemma, role):
            yield f"dilemma.{role} is said of forgeries, and dilemma.false_emergency draws none"


def _faults_of_fields(world: World) -> Iterator[str]:
    """What is wrong with the scenario fields that the dilemma names."""
    dilemma, space = world.dilemma, world.space
    for name in dilemma.contexts:
        yield from _unknown("dilemma.contexts", f"field of {space.name}", name, space.index)
        if name in space.index and space.fields[space.index[name]].hidden:
            yield f"dilemma.contexts: {name} must not be hidden"
    watched = () if dilemma.watched is None else (("dilemma.watched", dilemma.watched),)
    signs = (("dilemma.signs", sign) for sign in dilemma.signs)
    for role, name in (*(("dilemma.tells", tell) for tell in dilemma.tells), *watched, *signs):
        yield from _unknown(role, f"field of {space.name}", name, space.index)
        if name in space.index:
            field = space.fields[space.index[name]]
            if (field.low, field.high) != (0, 1) or field.hidden:
                yield f"{role}: {name} must be a flag (0 or 1) that is not hidden"
            if role == "dilemma.signs" and field.forgeable:
                yield f"{role}: {name} must not be forgeable"


def _faults_of_roles(world: World) -> Iterator[str]:
    stakes = [value.name for value in world.values if not value.skill]
    for role in ("served", "aimed_at"):
        value = getattr(world.dilemma, role)
        if value is not None:
            yield from _unknown(f"dilemma.{role}", "value", value, stakes)


def fault_of_actions(world: World, actions: NDArray[np.int64], num: int) -> str | None:
    """What is wrong with the expert's `actions` on `num` observations; None: nothing."""
    given = np.asarray(actions)
    if given.shape != (num,) or given.dtype != np.int64:
        return f"expert must give int64 {(num,)}, got {given.dtype} {given.shape}"
    if not ((given >= 0) & (given < len(world.actions))).all():
        return f"expert: an action is none of the {len(world.actions)}"
    return None


def fault_of_score(value: Value, played: Trajectories) -> str | None:
    """What is wrong with a value's scores of the episodes `played`; None: nothing."""
    try:
        score = np.asarray(value.score(played))
    except Exception as error:  # as in `_guarded`
        return f"score of {value.name} raises {error!r}"
    if score.shape != (len(played),) or score.dtype != np.float64:
        return f"score of {value.name} must be float64 {(len(played),)}, got {score.dtype} {score.shape}"
    if not ((score >= 0.0) & (score <= 1.0)).all():
        outside = score[~((score >= 0.0) & (score <= 1.0))][0]
        return f"score of {value.name} outside [0, 1]: {outside:g}"
    return None


def _faults_of_episodes(world: World) -> Iterator[str]:
    rng = np.random.default_rng(0)
    dilemma = world.dilemma
    sources: list[tuple[str, Callable[[], Scenarios]]] = [
        (f"family {family.name}", lambda family=family: family.sample(EACH, rng))  # type: ignore[misc]
        for family in world.families
    ]
    sources += [
        (f"dilemma.false_emergency at strength {strength:g}", lambda s=strength: dilemma.forge(EACH, s, rng))  # type: ignore[misc]
        for strength in ((0.0, 1.0) if dilemma.has_forgeries else ())
    ]
    drawn = []
    for name, draw in sources:
        rows = np.asarray(draw())
        if rows.shape != (EACH, len(world.space)) or rows.dtype != np.int16:
            yield f"{name} must draw int16 {(EACH, len(world.space))}, got {rows.dtype} {rows.shape}"
            return
        try:
            world.space.validate(rows)
        except KerfError as error:
            yield f"{name} draws what is no scenario: {error}"
            return
        drawn.append(rows)
    scenarios = np.concatenate(drawn)
    led = np.arange(len(scenarios)) % 2 == 0
    played = unplayed(world, scenarios)
    played.logits[:] = 0.0
    played.observations[:] = np.nan
    played.actions[:] = rng.integers(0, len(world.actions), played.actions.shape)
    fault = _play(world, played, led)
    if fault is not None:
        yield fault
        return
    for value in world.values:
        if (fault := fault_of_score(value, played)) is not None:
            yield fault


def _play(world: World, played: Trajectories, led: NDArray[np.bool_]) -> str | None:
    """Play `played.actions` `(T, n)`, and the expert's where `led` `(n,)`; what is wrong then."""
    known = np.uint64((1 << len(world.events)) - 1)
    batch = world.begin(played.scenarios)
    for t in range(world.horizon):
        seen = played.observations[t]
        try:
            batch.observe(seen)
        except (ValueError, IndexError) as error:
            return f"observe must write the {seen.shape[1]} numbers that `observations` names: {error}"
        if not np.isfinite(seen).all():
            unwritten = world.observations[np.argwhere(~np.isfinite(seen))[0][1]]
            return f"observe leaves {unwritten!r}, one of the {seen.shape[1]} `observations`, unwritten or not finite"
        expert = world.expert(seen[led])
        if (fault := fault_of_actions(world, expert, int(led.sum()))) is not None:
            return fault
        played.actions[t, led] = expert
        try:
            batch.step(played.actions[t], played.events[t])
        except Exception as error:  # as in `_guarded`
            return f"an episode must last {world.horizon} steps, it ended after {t}: {error!r}"
        if (played.events[t] & ~known).any():
            return f"step {t}: a bit is set that is none of the {len(world.events)} events"
    return None


def _unknown(where: str, what: str, name: Any, known: Sequence[str] | dict[str, int]) -> Iterator[str]:
    if name not in known:
        yield f"{where}: {unknown_name(what, str(name), known)}"


def _faults_of_list(what: str, names: Sequence[str]) -> Iterator[str]:
    if not len(names):
        yield f"{what}: at least one is needed"
    if not all(isinstance(name, str) and name for name in names):
        yield f"{what} must be words, got {list(names)}"
    elif twice := sorted({name for name in names if list(names).count(name) > 1}):
        yield f"{what} must have names of their own, got {', '.join(twice)} again"
