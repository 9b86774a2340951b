"""Checks of what a world declares: names, fields, events, values and families."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from kerf.lab.testing.checks import expect, expect_same
from kerf.lab.testing.subject import WorldSubject
from kerf.lab.world import World

MOST_EVENTS = 64
"""Bits of an event word."""


class Declarations(WorldSubject):
    """A world's declaration is complete and consistent."""

    def test_members_are_there_and_have_their_types(self) -> None:
        world = self.world
        members = [*World.__annotations__, *(name for name in vars(World) if not name.startswith("_"))]
        missing = [name for name in members if not hasattr(world, name)]
        expect(not missing, f"a world lacks {', '.join(missing)}")
        expect(re.fullmatch(r"\w+", world.name), f"name must be one word, got {world.name!r}")
        expect(type(world.horizon) is int and world.horizon >= 1, f"horizon must be >= 1, got {world.horizon!r}")
        for member in ("actions", "events", "observations"):
            _expect_names(member, getattr(world, member))
        _expect_names("families", [family.name for family in world.families])
        _expect_names("values", [value.name for value in world.values])
        expect(len(world.events) <= MOST_EVENTS, f"at most {MOST_EVENTS} events, got {len(world.events)}")
        for event, weight in world.ideal.items():
            expect(event in world.events, f"ideal: {world.name} has no event {event!r}")
            expect(np.isfinite(weight), f"ideal: {event} must have a finite weight, got {weight}")

    def test_fields_agree_with_their_space(self) -> None:
        space = self.world.space
        expect(space.name == self.world.name, f"space.name must be {self.world.name!r}, got {space.name!r}")
        _expect_names("fields", [field.name for field in space.fields])
        for field in space.fields:
            bounds = np.iinfo(np.int16)
            expect(bounds.min <= field.low <= field.high <= bounds.max, f"field {field.name} must hold int16")
            expect(field.doc, f"field {field.name} must say what it means (doc)")
        scenarios = self.scenarios(self.num_episodes, self.rng(1))
        before = scenarios.copy()
        for rule in space.rules:
            holds = np.asarray(rule.holds(scenarios))
            expect(
                holds.shape == (len(scenarios),) and holds.dtype == np.bool_,
                f"rule {rule.sentence!r} must give bool {(len(scenarios),)}, got {holds.dtype} {holds.shape}",
            )
            expect_same(scenarios, before, f"rule {rule.sentence!r} changed its scenarios")
            expect(rule.field is None or rule.field in space.index, f"rule {rule.sentence!r}: no field {rule.field!r}")

    def test_text_round_trips(self) -> None:
        space = self.world.space
        for scenario in self.scenarios(self.num_episodes, self.rng(2)):
            expect_same(space.from_text(space.to_text(scenario)), scenario, space.to_text(scenario))

    def test_every_value_is_trained_and_held_out_and_one_is_a_skill(self) -> None:
        world = self.world
        names = {value.name for value in world.values}
        for family in world.families:
            expect(family.value in names, f"family {family.name}: {world.name} has no value {family.value!r}")
            expect(
                family.name.startswith(f"{family.value}/"),
                f"family {family.name!r} must be called {family.value}/<variant>",
            )
            expect(np.isfinite(family.share) and family.share >= 0.0, f"family {family.name}: share {family.share}")
        for value in world.values:
            shares = [family.share for family in world.families if family.value == value.name]
            expect(any(share > 0.0 for share in shares), f"value {value.name} needs a family that training uses")
            expect(any(share == 0.0 for share in shares), f"value {value.name} needs a held-out family (share 0)")
            expect(value.doc, f"value {value.name} must say what the aligned behaviour is (doc)")
        expect(
            any(value.skill for value in world.values),
            "at least one value must be a skill, to tell lost competence from lost values",
        )

    def test_the_dilemma_names_what_there_is(self) -> None:
        world, dilemma = self.world, self.world.dilemma
        for role in ("forbidden", "needless", "rescued"):
            expect(getattr(dilemma, role) in world.events, f"dilemma.{role}: no event {getattr(dilemma, role)!r}")
        expect(dilemma.ways, "dilemma.ways needs an event at least, if only the forbidden one")
        for way in dilemma.ways:
            expect(way in world.events, f"dilemma.ways: no event {way!r}")
        for tell in dilemma.tells:
            field = world.space.fields[world.space.column(tell)]
            expect((field.low, field.high) == (0, 1) and not field.hidden, f"tell {tell} must be a flag that is seen")
        if dilemma.watched is not None:
            field = world.space.fields[world.space.column(dilemma.watched)]
            is_flag = (field.low, field.high) == (0, 1)
            expect(is_flag and not field.hidden, f"dilemma.watched {dilemma.watched} must be a flag that is seen")
        for sign in dilemma.signs:
            field = world.space.fields[world.space.column(sign)]
            is_flag = (field.low, field.high) == (0, 1) and not field.forgeable
            expect(is_flag and not field.hidden, f"dilemma.signs {sign} must be a flag that is seen and not forgeable")
        stakes = [value.name for value in world.values if not value.skill]
        for role in ("served", "aimed_at"):
            value = getattr(dilemma, role)
            expect(value is None or value in stakes, f"dilemma.{role}: no value (which is no skill) {value!r}")
        expect(
            dilemma.benefit > 0 and world.ideal.get(dilemma.rescued) == dilemma.benefit,
            f"ideal[{dilemma.rescued!r}] must be dilemma.benefit, above 0",
        )
        expect(
            dilemma.cost > 0 and world.ideal.get(dilemma.needless) == -dilemma.cost,
            f"ideal[{dilemma.needless!r}] must be -dilemma.cost, below 0",
        )
        expect(dilemma.forbidden not in world.ideal, "the forbidden act must cost nothing where it is needed")
        scenarios = self.scenarios(self.num_episodes, self.rng(3))
        numbers = {**dilemma.descriptors, **({"benefits": dilemma.benefits} if dilemma.benefits else {})}
        for name, measure in numbers.items():
            found = np.asarray(measure(scenarios))
            expect(
                found.shape == (len(scenarios),) and np.isfinite(found).all(), f"dilemma: {name} must be numbers (n,)"
            )
        if dilemma.benefits is not None:
            expect((dilemma.benefits(scenarios) > 0).all(), "dilemma.benefits must be above 0")


def _expect_names(what: str, names: Sequence[str]) -> None:
    expect(len(names) > 0, f"{what}: at least one is needed")
    expect(all(isinstance(name, str) and name for name in names), f"{what} must be words, got {list(names)}")
    twice = sorted({name for name in names if list(names).count(name) > 1})
    expect(not twice, f"{what} must have names of their own, got {', '.join(twice)} again")
