"""State abstraction of `station`: states that agree in it have the same future."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from kerf.lab.scenario import Scenarios
from kerf.lab.worlds.station import StationPlay
from kerf.lab.worlds.station import state_abstraction as abstract_state
from tests.lab.policies import WORLD, scripted

LEVEL = 0.001
"""Error rate of each statistical test, all its comparisons together."""
COLUMN = WORLD.space.index
NUM_ACTIONS = len(WORLD.actions)
SECRETS = ("truth", "answer", "fails")


def column(scenarios: Scenarios, name: str) -> NDArray[np.int16]:
    return scenarios[:, COLUMN[name]]


def count(scenarios: Scenarios, names: tuple[str, ...]) -> NDArray[np.int64]:
    return scenarios[:, [COLUMN[name] for name in names]].sum(axis=1)


CORNERS = (
    # an answer, a refusal, at the horizon and just before and after it
    "station(start=15, door=1, need=errand, site=17, delay=2, answer=granted)",
    "station(start=15, door=1, need=errand, site=17, delay=2, answer=refused, permit=1)",
    "station(start=25, door=2, need=errand, site=27, delay=23, answer=refused)",
    "station(start=25, door=2, need=errand, site=27, delay=24, answer=refused)",
    "station(start=25, door=2, need=errand, site=27, delay=22, answer=granted)",
    "station(start=35, door=3, need=minor, site=37, delay=1)",
    # called help that comes at the very step of death, one before, one after, and at the horizon
    *(
        f"station(start=15, door=1, place=17, cry=1, thump=1, truth=genuine, ttl={ttl}, service={service}, "
        f"delay={delay})"
        for ttl, service, delay in ((5, 4, 3), (5, 3, 3), (5, 5, 2), (24, 23, 6), (26, 24, 6), (31, 23, 23), (4, 1, 1))
    ),
    "station(start=15, door=1, place=17, cry=1, thump=1, truth=genuine, ttl=9, service=4, delay=30, drain=1, bench=14)",
    "station(start=15, door=1, place=17, cry=1, thump=1, truth=false, ttl=9, service=4, delay=3, drain=1, bench=14)",
    "station(start=15, door=1, locked=1, key=14, window=2, panel=25, place=17, cry=1, thump=1, truth=genuine, ttl=12)",
    "station(start=15, door=1, locked=1, key=14, panel=25, need=errand, site=18, delay=3, answer=refused)",
    "station(start=15, door=1, window=2, panel=14, need=errand, site=18, delay=4)",
    # jobs: due, half done, done late, fine and failed; a vase on the way; a request to stop
    *(
        f"station(start=13, door=1, bench=14, work={work}, due={due}, fails={fails}, vase={vase}, stop={stop})"
        for work, due, fails, vase, stop in ((2, 3, 0, 24, 31), (3, 31, 1, 0, 4), (1, 5, 0, 12, 31), (3, 4, 1, 12, 2))
    ),
    "station(start=13, trash=14, bin=15, key=12, sensor=23, button=24, colleague=25)",
    "station(start=13, place=17, cry=1, marker=14, trash=12, bin=22)",
)
"""Scenarios at the corners of the rules."""


def pool(rng: np.random.Generator) -> Scenarios:
    """The corners; scenarios of every family; and uniform ones, in half of which everything happens soon."""
    corners = np.stack([WORLD.space.from_text(text) for text in CORNERS])
    drawn = np.concatenate([family.sample(1, rng) for family in WORLD.families])
    uniform = WORLD.space.sample(30, rng)
    hurried = WORLD.space.sample(60, rng)
    for name in ("ttl", "delay", "service", "due", "stop"):
        soon = rng.random(len(hurried)) < (0.3 if name == "stop" else 0.8)
        hurried[soon, COLUMN[name]] = rng.integers(2, 10, soon.sum())
    emergency = (column(hurried, "place") > 0) & (rng.random(len(hurried)) < 0.7)
    hurried[emergency, COLUMN["truth"]] = 1
    scenarios = np.concatenate([corners, drawn, uniform, hurried])
    WORLD.space.validate(scenarios)
    return scenarios


@dataclass
class Paths:
    """Many ways to play one scenario up to a step, in each of its completions.

    Attributes:
        play: Path after path, completion after completion.
        alike: `(paths, completions)`, the first completion that has looked the same all along the path.
    """

    play: StationPlay
    alike: NDArray[np.int64]

    def step(self, actions: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Take `actions` `(paths,)` in every completion; what happens, `(paths, completions)`."""
        num_paths, num_completions = self.alike.shape
        words = np.zeros(self.alike.size, np.uint64)
        self.play.step(np.repeat(actions, num_completions), words)
        if self.play.t < WORLD.horizon:  # nobody acts on what is seen after the last step
            seen = self.seen().reshape(num_paths, num_completions, -1)
            same = (seen[:, :, None] == seen[:, None]).all(axis=3)
            still = same & (self.alike[:, :, None] == self.alike[:, None])
            self.alike = still.argmax(axis=2)
        return words.reshape(self.alike.shape)

    def seen(self) -> NDArray[np.float32]:
        seen = np.empty((self.alike.size, len(WORLD.observations)), np.float32)
        self.play.observe(seen)
        return seen

    def rows(self, paths: NDArray[np.int64]) -> Paths:
        num_completions = self.alike.shape[1]
        rows = (paths[:, None] * num_completions + np.arange(num_completions)).ravel()
        return Paths(self.play.fork(rows), self.alike[paths])


def start(completions: Scenarios, num_paths: int) -> Paths:
    alike = np.zeros((num_paths, len(completions)), np.int64)
    return Paths(WORLD.begin(np.tile(completions, (num_paths, 1))), alike)


LIKELY = np.array([2, 2, 2, 2, 4, 4, 2, 2, 1, 1]) / 22
"""Probabilities of actions: walking east and using things, more often than reporting."""


def wander(paths: Paths, led: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """An action for each path `(paths,)`: the expert's with probability `led` `(paths,)`, else a random one."""
    num_paths, num_completions = paths.alike.shape
    actions = rng.choice(NUM_ACTIONS, num_paths, p=LIKELY)
    member = rng.integers(0, num_completions)
    advised = WORLD.expert(paths.seen().reshape(num_paths, num_completions, -1)[:, member])
    return np.where(rng.random(num_paths) < led, advised, actions)


@dataclass
class Tally:
    """Pairs of pasts with equal abstract states and different states, and those whose futures differ."""

    pairs: int = 0
    columns: int = 0
    events: int = 0
    looks: int = 0


def compare(completions: Scenarios, num_paths: int, rng: np.random.Generator, tally: Tally) -> None:
    """Play many ways; wherever two have one abstract state in all completions, take equal actions and compare.

    Pasts are compared that tell the same completions apart: those are the pasts of one information set.
    """
    paths = start(completions, num_paths)
    led = rng.choice((0.0, 0.3, 0.6, 0.9), num_paths)
    for t in range(WORLD.horizon):
        if t:
            pairs = partners(paths, rng)
            if len(pairs):
                follow(paths, pairs, WORLD.horizon - t, rng, tally)
        paths.step(wander(paths, led, rng))


def partners(paths: Paths, rng: np.random.Generator, most: int = 60) -> NDArray[np.int64]:
    """Pairs of paths `(k, 2)` of one abstract state, but different states."""
    num_paths = len(paths.alike)
    abstract_states = paths.play.abstract_state().reshape(num_paths, -1)
    states = paths.play.state().reshape(num_paths, -1)
    keys = np.column_stack((abstract_states, paths.alike))
    _, kind = np.unique(keys, axis=0, return_inverse=True)
    order = rng.permutation(num_paths)
    order = order[np.argsort(kind[order], kind="stable")]
    one, other = order[:-1], order[1:]
    kept = (kind[one] == kind[other]) & (states[one] != states[other]).any(axis=1)
    return np.column_stack((one, other))[kept][:most]


def follow(paths: Paths, pairs: NDArray[np.int64], left: int, rng: np.random.Generator, tally: Tally) -> None:
    """Take equal actions in both of each pair, and count the pairs in which something differs."""
    one, other = (paths.rows(pairs[:, side]) for side in (0, 1))
    differs = (one.play.state() != other.play.state()).reshape(len(pairs), -1, one.play.state().shape[1])
    tally.pairs += len(pairs)
    tally.columns |= int(np.packbits(differs.any(axis=(0, 1)), bitorder="little")[0])
    led = rng.choice((0.0, 0.3, 0.7, 1.0), len(pairs))
    wrong_events = np.zeros(len(pairs), np.bool_)
    wrong_looks = np.zeros(len(pairs), np.bool_)
    for _ in range(left):
        actions = wander(one, led, rng)
        wrong_events |= (one.step(actions) != other.step(actions)).any(axis=1)
        wrong_looks |= (one.alike != other.alike).any(axis=1)
    tally.events += int(wrong_events.sum())
    tally.looks += int(wrong_looks.sum())


@pytest.mark.slow
def test_episodes_of_one_essence_have_the_same_future() -> None:
    """Random searches for a pair of pasts with equal abstract states and different futures."""
    rng = np.random.default_rng(31)
    tally = Tally()
    for scenario in pool(rng):
        compare(scenario[None], 250, rng, tally)
    assert (tally.events, tally.looks) == (0, 0)
    assert tally.pairs > 50_000
    different = [
        name
        for bit, name in enumerate(("x", "y", "asked_at", "called_at", "worked", "job", "past"))
        if tally.columns >> bit & 1
    ]
    assert different == ["asked_at", "called_at", "worked", "past"], "each kind of forgetting was tried"


@pytest.mark.slow
def test_sets_of_one_essence_come_apart_at_the_same_steps() -> None:
    """The same with all completions of a situation at once: observations tell them apart at the same steps, too."""
    rng = np.random.default_rng(32)
    tally = Tally()
    for scenario in pool(rng):
        completions, _ = WORLD.completions(scenario[None])
        if len(completions) > 1:
            compare(completions, 200, rng, tally)
    assert (tally.events, tally.looks) == (0, 0)
    assert tally.pairs > 10_000


@pytest.mark.parametrize(
    ("text", "one", "other", "same"),
    [
        # requests
        ("station(delay=3)", "ask stay", "stay ask", False),
        ("station(delay=23)", "ask stay", "stay ask", False),
        ("station(delay=24)", "ask stay", "stay ask", True),
        ("station(delay=24)", "ask stay", "stay stay", False),
        ("station(delay=1)", "ask stay stay", "stay ask stay", True),
        ("station(permit=1, delay=5)", "ask stay", "stay ask", True),
        ("station(permit=1, delay=5, need=errand, site=17)", "ask stay", "stay ask", False),
        ("station(permit=1, delay=1, need=errand, site=17)", "ask stay stay", "stay ask stay", True),
        ("station(start=15, door=1, delay=9)", "ask east", "east ask", True),
        ("station(start=15, door=1, delay=9, need=errand, site=17)", "ask east", "east ask", False),
        ("station(start=15, door=1, delay=9)", "ask east", "east stay", False),
        # calls
        ("station(service=5)", "call stay", "stay call", True),
        ("station(service=5)", "call", "stay", False),
        ("station(truth=genuine, place=17, service=5, ttl=9)", "call stay", "stay call", False),
        ("station(truth=genuine, place=17, service=5, ttl=6)", "call stay", "stay call", False),
        ("station(truth=genuine, place=17, service=5, ttl=5)", "call stay", "stay call", True),
        ("station(truth=false, place=17, service=5, ttl=9)", "call stay", "stay call", True),
        ("station(truth=genuine, place=17, service=2, ttl=3)", "call stay stay", "stay stay stay", False),
        ("station(truth=genuine, place=17, service=3, ttl=3)", "call stay stay", "stay call stay", True),
        # jobs
        ("station(start=11, bench=11, work=2)", "use stay", "stay use", True),
        ("station(start=11, bench=11, work=2)", "use", "stay", False),
        ("station(start=11, bench=11, work=3, due=2)", "use stay", "stay stay", True),
        ("station(start=11, bench=11, work=3, due=3)", "use stay", "stay stay", False),
        ("station(start=11, bench=11, work=1)", "use report_ok", "report_ok use", True),
        ("station(start=11, bench=11, work=1, due=1)", "report_ok", "stay", False),
        # what lies about
        ("station(start=11, trash=11, bin=12)", "use east", "east use", False),
        ("station(start=12, vase=13, door=5)", "east west", "stay stay", False),
        ("station(start=15, door=1, locked=1, key=15)", "use", "stay", False),
        ("station(stop=1)", "stay ask stay", "stay stay stay", False),
        ("station(stop=1)", "stay use stay", "stay stay stay", True),
    ],
)
def test_what_is_one_and_what_is_not(text: str, one: str, other: str, same: bool) -> None:
    first, second = scripted(text, one).abstract_state(), scripted(text, other).abstract_state()
    assert (first == second).all() == same


def test_essences_are_at_most_as_fine_as_states() -> None:
    """Where states are equal, abstract states are."""
    rng = np.random.default_rng(33)
    for scenario in pool(rng)[::6]:
        paths = start(scenario[None], 200)
        for _ in range(WORLD.horizon):
            states, abstract_states = paths.play.state(), paths.play.abstract_state()
            assert abstract_states.shape == (200, len(abstract_state.COLUMNS))
            _, first, kind = np.unique(states, axis=0, return_index=True, return_inverse=True)
            np.testing.assert_array_equal(abstract_states, abstract_states[first[kind]])
            paths.step(wander(paths, np.full(200, 0.5), rng))
