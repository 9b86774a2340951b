"""Base class of adversaries: what it refuses and counts, and how the settings of a kind are read."""

from __future__ import annotations

import numpy as np
import pytest

from kerf.generators.adversary import FRESH, Adversary, Kept, Proposal
from kerf.generators.base import GeneratorSettings
from kerf.generators.registry import check_generator, known_generators, make_generator, typed
from kerf.lab.errors import KerfError
from kerf.lab.forging import REASONS
from kerf.lab.worlds import get_world
from kerf.lab.worlds.station.fields import CUES

STATION = get_world("station")
SETTINGS = GeneratorSettings(kind="mine", strength=0.5)


class Mine(Adversary):
    """Proposes given scenarios."""

    def __init__(self, propose, learn=lambda outcome: None, num_slots=0):
        super().__init__(STATION, SETTINGS, num_slots)
        self.propose, self.learn = propose, learn

    def _propose(self, fresh, rng):
        return self.propose(fresh)

    def _learn(self, outcome):
        return self.learn(outcome)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def with_field(name, value, rows):
    def propose(fresh):
        scenarios = fresh.copy()
        scenarios[rows, STATION.space.column(name)] = value
        return Proposal(scenarios)

    return propose


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [("delay", 1, REASONS[0]), ("place", 1, "invalid"), ("ttl", 1, "implausible")],
)
def test_what_was_refused_is_counted_by_its_reason(name, value, reason):
    adversary = Mine(with_field(name, value, slice(0, 5)))
    adversary.ask(16, rng())
    adversary.ask(16, rng(1))
    assert adversary.report() == {"proposed": 32, "refused": dict.fromkeys(REASONS, 0) | {reason: 10}}


def test_an_adversary_learns_which_proposals_were_played_and_never_sees_a_tell():
    outcomes = []
    adversary = Mine(with_field("ttl", 1, slice(3, 8)), outcomes.append)
    scenarios = adversary.ask(64, rng())
    adversary.tell(scenarios, np.linspace(0, 1, 64))
    (outcome,) = outcomes
    assert np.flatnonzero(~outcome.accepted).tolist() == [3, 4, 5, 6, 7]
    tells = [STATION.space.column(tell) for tell in STATION.dilemma.tells]
    assert scenarios[:, tells].any()
    assert not outcome.scenarios[:, tells].any()
    rest = np.setdiff1d(np.arange(len(STATION.space)), tells)
    assert np.array_equal(outcome.scenarios[:, rest], scenarios[:, rest])


def test_what_was_kept_may_be_a_base_and_nothing_else_may():
    kept = Kept(np.array([1]), np.array([5]))

    def propose(fresh):
        base = np.full(len(fresh), FRESH)
        base[0] = 1
        scenarios = fresh.copy()
        scenarios[:2] = adversary.slots[1]
        return Proposal(scenarios, base)

    adversary = Mine(lambda fresh: Proposal(fresh), lambda outcome: kept, num_slots=2)
    scenarios = adversary.ask(8, rng())
    adversary.tell(scenarios, np.zeros(8))
    adversary.propose = propose
    played = adversary.ask(8, rng(1))
    tells = [STATION.space.column(tell) for tell in STATION.dilemma.tells]
    rest = np.setdiff1d(np.arange(len(STATION.space)), tells)
    assert np.array_equal(played[0, rest], scenarios[5, rest])
    assert not np.array_equal(played[1, rest], scenarios[5, rest])  # its base was fresh, and lies elsewhere
    assert adversary.refused[REASONS[0]] == 1


@pytest.mark.parametrize("base", [[0] * 4, [2] * 4, [-2] * 4, [FRESH] * 3])
def test_a_base_that_is_no_filled_slot_is_an_error(base):
    adversary = Mine(lambda fresh: Proposal(fresh, np.array(base)), num_slots=2)
    with pytest.raises((ValueError, IndexError)):
        adversary.ask(4, rng())


@pytest.mark.parametrize("name", ["_ask", "ask", "_tell", "tell", "expect", "get_state", "mix"])
def test_an_adversary_cannot_get_round_the_forging(name):
    with pytest.raises(TypeError, match=rf"_propose and _learn, not {name}$"):
        type("Sly", (Mine,), {name: lambda self: None})


@pytest.mark.parametrize("kind", sorted(known_generators()))
def test_an_unknown_setting_of_a_kind_is_refused(kind):
    with pytest.raises(KerfError, match=rf"unknown setting of generator '{kind}' 'strenght'; did you mean 'strength'"):
        typed(GeneratorSettings(kind=kind, strenght=0.5))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"kind": "illuminate", "cels": 4}, "unknown setting of generator 'illuminate' 'cels'; did you mean 'cells'"),
        ({"kind": "illuminate", "cells": 0}, r"generator\.cells: .*greater than or equal to 1, got 0"),
        ({"kind": "replay", "priority": "luck"}, r"generator\.priority: .*'score' or 'learnability', got 'luck'"),
        ({"kind": "mutation", "fresh": 0.8}, "fresh [+] share must be below 1"),
        (
            {"kind": "illuminate", "descriptors": ["distanse"]},
            "unknown descriptor of station 'distanse'; did you mean 'dist",
        ),
        ({"kind": "illuminate", "descriptors": ["cry", "badge"]}, "badge is a tell"),
        (
            {"kind": "illuminate", "descriptors": ["start", "place", "ttl", "delay"], "cells": 64},
            "cells, at most 16,384",
        ),
    ],
)
@pytest.mark.parametrize("refuse", [make_generator, check_generator])
def test_settings_that_make_no_sense_are_refused_in_a_sentence(settings, sentence, refuse):
    with pytest.raises(KerfError, match=sentence):
        refuse(STATION, GeneratorSettings(**settings))


def test_a_check_surveys_the_world_only_where_that_decides():
    """Sixteen cells for each of four flags would be too many, but a flag has two values."""
    flags = GeneratorSettings(kind="illuminate", descriptors=CUES, cells=16)
    check_generator(STATION, flags)
    assert len(make_generator(STATION, flags).cells) == 2**4


def test_what_an_adversary_refuses_as_it_is_made_is_refused_by_its_check():
    class Picky(Mine):
        def __init__(self, world, settings):
            raise KerfError(f"not in {world.name}")

    with pytest.raises(KerfError, match="not in station"):
        Picky.check(STATION, GeneratorSettings(kind="picky"))


def test_settings_of_a_kind_reach_it_and_survive_a_round_trip():
    said = typed(GeneratorSettings.model_validate({"kind": "illuminate", "strength": 0.7, "cells": 5}))
    again = GeneratorSettings.model_validate(said.model_dump(mode="json"))
    generator = make_generator(STATION, again)
    assert max(generator.cells.shape) == 5
    assert generator.forging.strength == 0.7
