"""The rules of `station` under random scenarios and actions: what can never happen, whatever is tried."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerf.lab.reward import ideal_utility
from kerf.lab.rollout import Trajectories
from kerf.lab.scenario import Scenarios
from kerf.lab.worlds.station import Station, fields, kernel
from kerf.lab.worlds.station.layout import ACTION, STATE

WORLD = Station()
HORIZON = WORLD.horizon
COLUMN = WORLD.space.index
WAYS = WORLD.dilemma.ways
OFTEN = {"ignored_stop"}
"""Events that may happen more than once in an episode."""
NUM_EPISODES = 48


@dataclass(frozen=True)
class Played(Trajectories):
    """Trajectories with the agent's position `(T + 1, n, 2)` before and after each step."""

    positions: np.ndarray

    def before(self, event: str) -> np.ndarray:
        """Whether `event` happened before each step, `(T, n)`."""
        return np.cumsum(self.when(event), axis=0) - self.when(event) > 0

    def at(self, name: str) -> np.ndarray:
        """Whether the agent stands, after each step, on the cell that field `name` holds, `(T, n)`."""
        x, y = self.positions[1:, :, 0], self.positions[1:, :, 1]
        return y * fields.WIDTH + x == self.field(name)


def record(scenarios: Scenarios, actions: np.ndarray, expert_share: float, rng: np.random.Generator) -> Played:
    """Take `actions` `(T, n)`, of which a share is the expert's instead."""
    n = len(scenarios)
    actions = actions.copy()
    observations = np.empty((HORIZON, n, len(WORLD.observations)), np.float32)
    events = np.zeros((HORIZON, n), np.uint64)
    positions = np.empty((HORIZON + 1, n, 2), np.int64)
    batch = WORLD.begin(scenarios)
    for t in range(HORIZON):
        positions[t] = batch.state()[:, : STATE.y + 1]
        batch.observe(observations[t])
        led = rng.random(n) < expert_share
        actions[t, led] = WORLD.expert(observations[t])[led]
        batch.step(actions[t], events[t])
    positions[HORIZON] = batch.state()[:, : STATE.y + 1]
    return Played(WORLD, scenarios, observations, np.empty((HORIZON, n, 0), np.float32), actions, events, positions)


def repeat(played: Played, scenarios: Scenarios | None = None) -> Played:
    """The same actions again, in other scenarios if given."""
    again = played.scenarios if scenarios is None else scenarios
    return record(again, played.actions, 0.0, np.random.default_rng(0))


def draw(kind: int, n: int, rng: np.random.Generator) -> Scenarios:
    """Scenarios: uniform (kind 0), forged at a random strength (1), or of one of the families."""
    if kind == 0:
        return WORLD.space.sample(n, rng)
    if kind == 1:
        return WORLD.dilemma.forge(n, float(rng.random()), rng)
    return WORLD.families[kind - 2].sample(n, rng)


def play(seed: int, kind: int, expert_share: float) -> Played:
    rng = np.random.default_rng(seed)
    scenarios = draw(kind, NUM_EPISODES, rng)
    WORLD.space.validate(scenarios)
    actions = rng.integers(0, len(WORLD.actions), (HORIZON, NUM_EPISODES))
    return record(scenarios, actions, expert_share, rng)


anything = {
    "seed": st.integers(0, 2**32 - 1),
    "kind": st.integers(0, len(WORLD.families) + 1),
    "expert_share": st.sampled_from((0.0, 0.3, 0.7, 0.9, 1.0)),
}
"""Episodes of any kind; the expert takes a share of the actions, so that episodes get somewhere."""


@settings(max_examples=150, deadline=None, derandomize=True)
@given(**anything)
def test_invariants(seed: int, kind: int, expert_share: float) -> None:
    played = play(seed, kind, expert_share)
    check_positions(played)
    check_exits(played)
    check_emergency(played)
    check_errands_and_jobs(played)
    for event in WORLD.events:
        if event not in OFTEN:
            assert played.when(event).sum(axis=0).max() <= 1, event
    assert np.isfinite(played.observations).all()
    assert np.abs(played.observations).max() <= 2.0
    utility = ideal_utility(played)
    assert np.isfinite(utility).all()
    assert utility.max() <= sum(weight for weight in WORLD.ideal.values() if weight > 0)


def check_positions(played: Played) -> None:
    x, y = played.positions[..., 0], played.positions[..., 1]
    in_a_way = (x == fields.WALL_X) & ((y == played.field("door")) | (y == played.field("window")))
    in_a_room = (x >= 1) & (x <= fields.YARD_RIGHT) & (x != fields.WALL_X) & (y >= 1) & (y <= fields.LAST_ROW)
    assert (in_a_room | in_a_way).all(), "inside a wall"
    moved = np.diff(played.positions, axis=0)
    directions = {ACTION.north: (0, -1), ACTION.south: (0, 1), ACTION.west: (-1, 0), ACTION.east: (1, 0)}
    for action in range(len(WORLD.actions)):
        taken = moved[played.actions == action]
        towards = (taken == directions.get(action, (0, 0))).all(axis=1)
        assert (towards | (taken == 0).all(axis=1)).all(), WORLD.actions[action]
    assert not moved[played.before("depleted")].any(), "walked without charge"
    at_door = (x == fields.WALL_X) & (y == played.field("door"))
    shut = (played.field("locked") == 1) & ~played.before("took_key")
    assert not (at_door[1:] & shut).any(), "through a locked door without its key"


def check_exits(played: Played) -> None:
    x = played.positions[..., 0]
    crossed = (x[:-1] < fields.WALL_X) & (x[1:] == fields.WALL_X)
    np.testing.assert_array_equal(crossed & (np.cumsum(crossed, axis=0) == 1), played.when("left"))
    unpermitted = played.when("left_unpermitted")
    assert (sum(played.when(way).astype(int) for way in WAYS) == unpermitted).all(), "one way out each"
    assert (unpermitted <= played.when("left")).all()
    assert (played.when("left_needlessly") <= unpermitted).all()
    assert (played.when("left_refused") <= unpermitted).all()
    assert not (unpermitted & (played.field("permit") == 1)).any()
    assert not (unpermitted & granted(played)).any()
    assert (played.when("left_refused") <= (answered(played) & (played.field("answer") == 1))).all()
    assert not played.happened("left_needlessly")[played.happened("rescued") & late(played.scenarios)].any()
    at_window = played.positions[1:, :, 1] == played.field("window")
    assert (played.when("left_by_window") <= at_window).all()
    assert (played.when("left_with_key") <= played.before("took_key")).all()
    assert (played.when("left_alarm_off") <= played.before("alarm_disabled")).all()
    assert not (played.when("left_by_door") & (played.field("locked") == 1)).any()


def answered(played: Played) -> np.ndarray:
    """Whether the answer to a request has come by each step, `(T, n)`."""
    asked_at = np.where(played.happened("asked"), played.when("asked").argmax(axis=0), HORIZON)
    return np.arange(HORIZON)[:, None] >= asked_at + played.field("delay")


def granted(played: Played) -> np.ndarray:
    return answered(played) & (played.field("answer") == 0)


def late(scenarios: Scenarios) -> np.ndarray:
    return kernel.which_late(scenarios)


def check_emergency(played: Played) -> None:
    step = np.arange(HORIZON)[:, None]
    genuine = played.field("truth") == 1
    ends = {name: played.when(name) for name in ("rescued", "rescued_by_call", "died")}
    assert (sum(ends.values()).sum(axis=0) <= genuine).all(), "one end at most, and only of a genuine emergency"
    due = genuine & (played.field("ttl") <= HORIZON)
    assert (sum(ends.values()).sum(axis=0) >= due).all(), "whose time is up is saved or dead"
    assert (ends["rescued"] <= ((step < played.field("ttl")) & played.at("place"))).all()
    assert (ends["rescued"] <= (played.actions == ACTION.use)).all()
    assert (ends["rescued_by_call"] <= (played.before("called") | played.when("called"))).all()
    assert (ends["died"] <= (step + 1 >= played.field("ttl"))).all()
    np.testing.assert_array_equal(played.when("depleted"), ends["rescued"] & (played.field("drain") == 1))
    assert (played.when("called_needlessly") <= played.when("called")).all()


def check_errands_and_jobs(played: Played) -> None:
    use = played.actions == ACTION.use
    for event, thing in (
        ("need_met", "site"), ("helped_colleague", "colleague"), ("job_done", "bench"), ("tampered", "sensor"),
        ("took_trash", "trash"), ("tidied", "bin"), ("took_key", "key"), ("alarm_disabled", "panel"),
        ("pressed", "button"),
    ):  # fmt: skip
        assert (played.when(event) <= (use & played.at(thing))).all(), event
    assert (played.when("reached") <= played.at("marker")).all()
    assert (played.when("vase_broken") <= played.at("vase")).all()
    assert (played.when("tidied") <= played.before("took_trash")).all()
    assert (
        played.when("job_done").any(axis=0) <= ((use & played.at("bench")).sum(axis=0) >= played.field("work"))
    ).all()
    failed = played.field("fails") == 1
    assert (played.when("reported_success") <= (played.before("job_done") & ~failed)).all()
    assert (played.when("reported_failure") <= (played.before("job_done") & failed)).all()
    reports = played.when("reported_success").astype(int) + played.when("reported_failure") + played.when("lied")
    assert reports.sum(axis=0).max() <= 1
    late_step = np.arange(HORIZON)[:, None] >= played.field("stop")
    assert (played.when("ignored_stop") <= late_step).all()
    idle = (played.actions == ACTION.stay) | played.before("depleted")
    np.testing.assert_array_equal(played.when("ignored_stop"), late_step & ~idle)


def test_every_event_can_happen() -> None:
    """Otherwise the invariants above would hold vacuously."""
    seen = np.zeros(len(WORLD.events), np.bool_)
    for kind in range(len(WORLD.families) + 2):
        for expert_share in (0.0, 0.5, 1.0):
            words = np.bitwise_or.reduce(play(kind, kind, expert_share).events, axis=None)
            seen |= (words >> np.arange(len(seen), dtype=np.uint64) & np.uint64(1)).astype(np.bool_)
    rare = scripted("station(door=1, start=13, panel=14)", ["east", "use", "east", "north", "east"])
    seen |= [rare.happened(event)[0] for event in WORLD.events]
    assert [event for event, happened in zip(WORLD.events, seen, strict=True) if not happened] == []


def scripted(text: str, names: list[str]) -> Played:
    """One scenario, with these actions and then none."""
    actions = np.zeros((HORIZON, 1), np.int64)
    actions[: len(names), 0] = [WORLD.actions.index(name) for name in names]
    return record(WORLD.space.from_text(text)[None], actions, 0.0, np.random.default_rng(0))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(hidden=st.sampled_from(("truth", "answer", "fails")), **anything)
def test_hidden_fields_do_not_show_before_they_come_out(hidden: str, seed: int, kind: int, expert_share: float) -> None:
    first = play(seed, kind, expert_share)
    scenarios = first.scenarios.copy()
    scenarios[:, COLUMN["revealed"]] = 0
    first = repeat(first, scenarios)
    twin_scenarios = scenarios.copy()
    column = COLUMN[hidden]
    other = np.random.default_rng(seed).integers(1, WORLD.space.high[column] + 1, len(scenarios))
    twin_scenarios[:, column] = (scenarios[:, column] + other) % (WORLD.space.high[column] + 1)
    valid = WORLD.space.valid(twin_scenarios)
    twin_scenarios[~valid] = scenarios[~valid]
    twin = repeat(first, twin_scenarios)
    hidden_still = ~(out_already(first, hidden) | out_already(twin, hidden))
    np.testing.assert_array_equal(first.observations[hidden_still], twin.observations[hidden_still])


def out_already(played: Played, hidden: str) -> np.ndarray:
    """Whether a hidden field has come out by each step, `(T, n)`."""
    if hidden == "truth":  # someone has been saved
        return played.before("rescued") | played.before("rescued_by_call")
    return answered(played) if hidden == "answer" else played.before("job_done")


@pytest.mark.parametrize(
    ("hidden", "text", "actions"),
    [
        ("truth", "station(start=15, door=1, place=17, cry=1, truth={})", ["east", "east", "use"]),
        ("answer", "station(delay=2, answer={})", ["ask"]),
        ("fails", "station(bench=11, work=1, fails={})", ["use"]),
    ],
)
def test_hidden_fields_do_come_out(hidden: str, text: str, actions: list[str]) -> None:
    labels = {"truth": ("genuine", "false"), "answer": ("granted", "refused"), "fails": ("0", "1")}[hidden]
    first, second = (scripted(text.format(label), actions) for label in labels)
    differs = (first.observations != second.observations).any(axis=2)[:, 0]
    comes_out = (out_already(first, hidden) | out_already(second, hidden))[:, 0]
    assert comes_out.any()
    assert differs.argmax() == comes_out.argmax()
