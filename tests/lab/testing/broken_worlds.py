"""Worlds that break one part of the contract each: an enumerable `Lever` with one defect."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from kerf.lab.scenario import Rule, ScenarioSpace
from kerf.lab.world import Value
from tests.lab.small_worlds import ExactLever, ExactLeverPlay
from tests.toy_world import COST, CUE, DOOR, FALSE, GENUINE, HORIZON, PLACE, TELL, TRUTH, WORK

NEEDLESS, RESCUED, LEFT = (ExactLever.events.index(name) for name in ("needless", "rescued", "left_unpermitted"))


def bit(number: int) -> np.uint64:
    return np.uint64(1) << np.uint64(number)


def playing(**methods: Callable[..., Any]) -> Callable[[], ExactLever]:
    """Makes a world whose episodes have these methods, each given the sound one first."""

    def bound(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        sound = getattr(ExactLeverPlay, name)
        return lambda self, *arguments: method(sound, self, *arguments)

    play = type("BrokenPlay", (ExactLeverPlay,), {name: bound(name, method) for name, method in methods.items()})

    def fork(self: Any, rows: Any) -> Any:
        other = play(self.scenarios[rows])
        other.step_number, other.outside = self.step_number, self.outside[rows]
        return other

    if "fork" not in methods:
        play.fork = fork  # type: ignore[attr-defined]
    return lambda: having(begin=lambda self, scenarios: play(scenarios))()


def having(**members: Any) -> Callable[[], ExactLever]:
    """Makes a world of which these class members are other ones."""
    return type("Broken", (ExactLever,), members)


def dilemma(**changes: Any) -> Callable[[], ExactLever]:
    """Makes a world whose dilemma says something else; functions are given the world first."""

    def make() -> ExactLever:
        world = ExactLever()
        told = {name: change(world) if callable(change) else change for name, change in changes.items()}
        world.dilemma = replace(world.dilemma, **told)
        return world

    return make


def families(change: Callable[[ExactLever, Any], Any], only: str = "") -> Callable[[], ExactLever]:
    """Makes a world whose families are other ones, or only that called `only` is."""

    def make() -> ExactLever:
        world = ExactLever()
        world.families = tuple(change(world, f) if only in ("", f.name) else f for f in world.families)
        return world

    return make


def sampling(sample: Callable[..., Any], only: str = "care/near") -> Callable[[], ExactLever]:
    """Makes a world one of whose families draws by `sample`, which is given the sound family first."""
    return families(lambda world, family: replace(family, sample=lambda n, rng: sample(family, n, rng)), only)


def forging(change: Callable[..., Any]) -> Callable[[], ExactLever]:
    """Makes a world whose forgeries are changed after they are drawn: `change(rows, strength, rng, held_out)`."""

    def of(world: ExactLever) -> Callable[..., Any]:
        def forge(n: int, strength: float, rng: np.random.Generator, held_out: bool = False) -> Any:
            rows = world._false_emergency(n, strength, rng, held_out)
            change(rows, strength, rng, held_out)
            return rows

        return forge

    return dilemma(false_emergency=lambda world: of(world))


# -- what is said of them ----------------------------------------------------------------------------------------------


def rule_that_writes() -> ExactLever:
    world = ExactLever()

    def holds(scenarios: Any) -> Any:
        scenarios[:, PLACE] = 0
        return np.ones(len(scenarios), np.bool_)

    world.space = ScenarioSpace("lever", world.space.fields, (*world.space.rules, Rule("it writes", holds)))
    return world


def space_of_another_name() -> ExactLever:
    world = ExactLever()
    world.space = ScenarioSpace("leaver", world.space.fields, world.space.rules)
    return world


def two_labels_alike() -> ExactLever:
    world = ExactLever()
    truth, *others = world.space.fields
    world.space = ScenarioSpace("lever", (replace(truth, labels=("none", "real", "real")), *others), world.space.rules)
    return world


# -- how they draw -----------------------------------------------------------------------------------------------------

count = itertools.count()


def drawn_by_count(family: Any, n: int, rng: Any) -> Any:
    rows = family.sample(n, rng)
    rows[:, PLACE] = np.random.default_rng(next(count)).integers(0, 2, n)
    return rows


def drawn_globally(family: Any, n: int, rng: Any) -> Any:
    rows = family.sample(n, rng)
    rows[:, PLACE] = np.random.randint(0, 2, n)  # noqa: NPY002  # the very thing that is wrong
    return rows


def places_written_out_wrong(world: ExactLever, family: Any) -> Any:
    rows = np.stack([world.space.from_text(f"lever(truth=genuine, cue=1, place={place})") for place in (0, 1)])
    return replace(family, exact=lambda: (rows, np.array([0.7, 0.3])))


def elsewhere(rows: Any, strength: float, rng: Any, held_out: bool) -> None:
    if not held_out:
        rows[:, PLACE] = rng.random(len(rows)) < 0.8


def elsewhere_held_out(rows: Any, strength: float, rng: Any, held_out: bool) -> None:
    rows[:, PLACE] = 2


def by_strength(rows: Any, strength: float, rng: Any, held_out: bool) -> None:
    if not held_out:
        rows[:, PLACE] = rng.random(len(rows)) < 0.3 + 0.4 * strength


def tells_by_place(rows: Any, strength: float, rng: Any, held_out: bool) -> None:
    if 0.0 < strength < 1.0 and not held_out:
        rows[:, TELL] = rng.random(len(rows)) < np.where(rows[:, PLACE] == 0, 0.3, 0.7)


def half_of_the_tells(rows: Any, strength: float, rng: Any, held_out: bool) -> None:
    rows[:, TELL] = rng.random(len(rows)) < 0.5


def no_tells(rows: Any, strength: float, rng: Any, held_out: bool) -> None:
    rows[:, TELL] = 0


# -- how they play -----------------------------------------------------------------------------------------------------


def observe_not_all(sound: Any, self: Any, out: Any) -> None:
    kept = out[:, 2].copy()
    sound(self, out)
    out[:, 2] = kept


def observe_not_finite(sound: Any, self: Any, out: Any) -> None:
    sound(self, out)
    out[:, 3] = np.inf


def observe_the_truth(sound: Any, self: Any, out: Any) -> None:
    sound(self, out)
    out[:, 3] += 0.01 * (self.scenarios[:, TRUTH] == GENUINE)


def observe_the_batch(sound: Any, self: Any, out: Any) -> None:
    sound(self, out)
    out[:, 2] = self.outside.mean() if len(out) else 0.0


def observe_the_first(sound: Any, self: Any, out: Any) -> None:
    sound(self, out)
    out[:, 3] = self.scenarios[0, CUE]


def observe_the_count(sound: Any, self: Any, out: Any) -> None:
    sound(self, out)
    out[:, 3] = next(count) % 1000


def step_unknown(sound: Any, self: Any, actions: Any, events: Any) -> None:
    sound(self, actions, events)
    events |= bit(9)


def step_rescued_for_ever(sound: Any, self: Any, actions: Any, events: Any) -> None:
    sound(self, actions, events)
    events |= self.outside.astype(np.uint64) << np.uint64(RESCUED)


def step_adds(sound: Any, self: Any, actions: Any, events: Any) -> None:
    words = np.zeros_like(events)
    sound(self, actions, words)
    events |= words


def step_needless_alone(sound: Any, self: Any, actions: Any, events: Any) -> None:
    sound(self, actions, events)
    events |= (actions == WORK).astype(np.uint64) << np.uint64(NEEDLESS)


def step_by_order(sound: Any, self: Any, actions: Any, events: Any) -> None:
    sound(self, actions, events)
    events[::7] &= ~bit(0)


def step_by_chance(sound: Any, self: Any, actions: Any, events: Any) -> None:
    sound(self, actions, events)
    events &= ~(np.random.random(len(events)) < 0.1).astype(np.uint64)  # noqa: NPY002


def step_writes(sound: Any, self: Any, actions: Any, events: Any) -> None:
    sound(self, actions, events)
    self.scenarios[self.outside, CUE] = 0


def step_takes(sound: Any, self: Any, actions: Any, events: Any) -> None:
    sound(self, actions, events)
    actions[self.outside] = 0


def step_ends_early(sound: Any, self: Any, actions: Any, events: Any) -> None:
    if self.step_number == HORIZON - 1:
        raise RuntimeError("the episode is over")
    sound(self, actions, events)


def step_goes_on(sound: Any, self: Any, actions: Any, events: Any) -> None:
    if self.step_number < HORIZON:
        sound(self, actions, events)


class Shared(ExactLever):
    """All batches in progress have one memory of who is outside."""

    def __init__(self) -> None:
        super().__init__()
        self.outside: dict[int, Any] = {}

    def begin(self, scenarios: Any) -> ExactLeverPlay:
        play = super().begin(scenarios)
        play.outside = self.outside.setdefault(len(scenarios), play.outside)
        play.outside[:] = False
        return play


def fork_inside(sound: Any, self: Any, rows: Any) -> Any:
    other = sound(self, rows)
    other.outside = np.zeros(len(rows), np.bool_)
    return other


class Late(ExactLeverPlay):
    """A fork of an episode that has begun finds the door shut for a step."""

    shut = False

    def step(self, actions: Any, events: Any) -> None:
        super().step(np.where(actions == DOOR, WORK, actions) if self.shut else actions, events)
        self.shut = False

    def fork(self, rows: Any) -> Late:
        other = Late(self.scenarios[rows])
        other.step_number, other.outside, other.shut = self.step_number, self.outside[rows], True
        return other


# -- what can be known -------------------------------------------------------------------------------------------------


def posterior(change: Callable[..., Any]) -> Callable[[], ExactLever]:
    return dilemma(
        need_posterior=lambda world: lambda rows, strength: change(world._need_posterior(rows, strength), rows)
    )


def expert_by_batch(self: Any, observations: Any) -> Any:
    actions = ExactLever.expert(self, observations)
    actions[observations[:, 3] < observations[:, 3].mean()] = WORK
    actions[: len(actions) // 3] = WORK
    return actions


def expert_idles(self: Any, observations: Any) -> Any:
    return np.zeros(len(observations), np.int64)


def scoring(score: Callable[..., Any]) -> Callable[[], ExactLever]:
    def make() -> ExactLever:
        world = ExactLever()
        world.values = (*world.values[:2], Value("diligence", score, "work at every step", skill=True))
        return world

    return make


def completions_but_one(self: Any, scenarios: Any) -> Any:
    rows, origin = ExactLever.completions(self, scenarios)
    kept = rows[:, TRUTH] != FALSE
    return rows[kept], origin[kept]


def completions_elsewhere(self: Any, scenarios: Any) -> Any:
    rows, origin = ExactLever.completions(self, scenarios)
    rows[rows[:, TRUTH] == FALSE, PLACE] = 2
    return rows, origin


def density_of_batch(self: Any, scenarios: Any, mix: Any) -> Any:
    return (
        ExactLever.density(self, scenarios, mix)
        / len(np.unique(scenarios[: len(scenarios) // 2, PLACE]))
        * (1.0 + np.arange(len(scenarios)) / len(scenarios))
    )


def density_wrong(self: Any, scenarios: Any, mix: Any) -> Any:
    return ExactLever.density(self, scenarios, mix) * np.where(scenarios[:, TRUTH] == GENUINE, 2.0, 1.0)


def situations_but_one(self: Any) -> Any:
    return ExactLever.situations(self)[1:]


COSTS = {**ExactLever.ideal, "needless": -2 * COST}
