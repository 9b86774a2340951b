"""Progress of what is slow: what it is, how much is done and how long it takes, at least every so many seconds."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from kerf.generators.base import GeneratorSettings
from kerf.generators.registry import make_generator, typed
from kerf.lab.attack import attack, attacking
from kerf.lab.dilemma import Mix
from kerf.lab.exact.decompose import Deployment, Design, Trained, decompose
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.scripted import ExpertPolicy
from kerf.lab.world import natural
from kerf.runs.attacks.run_attacks import AgentCount
from kerf.runs.exact.certify import certify
from kerf.runs.exact.detect import detect
from kerf.runs.execution.progress import Display
from kerf.runs.execution.training_log import Progress
from kerf.runs.recipe.attack_plan import AttackUnit, attacks_of
from kerf.runs.records.store import Unit
from kerf.runs.terminal.pace import EVERY, Pace, time_left
from tests.lab.small_worlds import ExactLever


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=140)


def lines(console: Console) -> list[str]:
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue().splitlines()


def test_the_time_left_is_in_proportion():
    assert time_left(0.25, 10.0) == "about 30 s left"
    assert time_left(0.1, 60.0) == "about 9.0 min left"
    assert [time_left(share, 10.0) for share in (0.0, 1.0)] == ["", ""]


def test_steps_are_told_and_then_a_line_now_and_then(clock, console):
    with Pace(console, 2, clock) as pace:
        pace.begin("optima")
        for _ in range(100):  # a step of 100 reports, one a second
            clock.now += 1.0
            pace.reached(clock.now / 100)
        pace.begin("certificates")
    said = lines(console)
    assert (said[0], said[-1]) == ("[1/2] optima", "[2/2] certificates")
    assert said[1] == "[1/2] optima: 15% done, about 1.4 min left"
    assert len(said) == 2 + 100 // int(EVERY)


def test_attacks_are_counted_with_the_time_they_take(clock, console):
    attacks = attacks_of([{"kind": kind} for kind in ("scripted", "uniform", "natural")], [0.5, 1.0])
    units = [AttackUnit(Unit("penalised", seed), attack) for seed in range(2) for attack in attacks]
    listener = AgentCount(console, units, clock)
    for unit in units:
        clock.now += 10.0
        listener.finished(unit)
    assert lines(console) == [
        "2 of 10 attacks, about 1.3 min left",
        "4 of 10 attacks, about 1.0 min left",
        "[  1/2] penalised seed 0          about 50 s left",
        "7 of 10 attacks, about 30 s left",
        "9 of 10 attacks, about 10 s left",
        "[  2/2] penalised seed 1",
    ]


def test_a_single_long_attack_tells_how_far_it_is(clock, console):
    (attack,) = attacks_of([{"kind": "search"}], [1.0], "elicit", 1000)
    unit = AttackUnit(Unit("penalised", 0), attack)
    listener = AgentCount(console, [unit], clock)
    for done in range(10, 1001, 10):
        clock.now += 1.0
        listener.progress(Progress(unit.target, done, 1000, 24 * done, clock.now, "search at strength 1"))
    listener.finished(unit)
    said = lines(console)
    assert said[0] == "penalised seed 0: search at strength 1, 15% of 1,000 scenarios, about 1.4 min left"
    assert len(said) == 99 // int(EVERY) + 1


def test_an_attack_reports_every_batch_and_its_records_do_not_depend_on_that():
    world = ExactLever()
    settings = GeneratorSettings(kind="uniform", strength=1.0)

    def search():
        source = make_generator(world, typed(settings))
        return {"world": world, "source": source, "budget": 100, "batch": 32, "rng": np.random.default_rng(0)}

    expert = ExpertPolicy(world)
    told, running = [], attacking(expert, **search())
    while True:
        try:
            told.append(next(running))
        except StopIteration as end:
            found = end.value
            break
    assert told == [32, 64, 96, 100]
    assert found.record(world) == attack(expert, **search()).record(world)


def test_training_tells_when_it_begins_and_how_far_it_is_where_there_are_no_bars(clock, console):
    unit = Unit("aligned", 0)
    with Display(console, {unit: 100}, clock=clock) as display:
        for iteration in range(1, 101):
            clock.now += 25.0 if iteration == 1 else 1.0
            display.progress(Progress(unit, iteration, 100, 64 * iteration, clock.now))
    said = lines(console)
    assert said[0] == "first iteration after 25 s"
    assert said[1] == f"iterations: aligned seed 0 {1 + int(EVERY)}/100  about 3.5 min left"
    assert len(said) == 1 + 99 // int(EVERY)


def test_an_exact_examination_reports_shares_that_grow_to_the_end():
    world = ExactLever()
    expert = ExpertPolicy(world)
    rows = natural(world, 60, np.random.default_rng(0))
    deployment = Deployment.drawn(world, rows)
    shares: dict[str, list[float]] = {"decompose": [], "certify": [], "detect": []}
    design = {"d": Design(RewardSpec(), Mix(0.5, 1.0))}
    decompose(deployment, design, {0: expert}, {"t": Trained("d", 0, expert)}, shares["decompose"].append)
    policies = {("penalised", seed): expert for seed in range(3)}
    stream = rows, np.full(len(rows), 1 / len(rows))
    list(certify(world, policies, stream, 4, shares["certify"].append))
    detect(world, policies, stream, (0.0, 1.0), 4, shares["detect"].append)
    for name, reported in shares.items():
        assert len(reported) >= 3, name
        assert reported == sorted(reported), name
        assert min(reported) >= 0.0, name
        assert max(reported) <= 1.0, name
    assert shares["decompose"][-1] == 1.0
