"""Checks of what a world declares: names, fields, events, values and families."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from kerf.lab.soundness import faults_of_dilemma, faults_of_names, faults_of_values, played_faults
from kerf.lab.testing.checks import expect, expect_same
from kerf.lab.testing.subject import WorldSubject
from kerf.lab.world import World


class Declarations(WorldSubject):
    """A world's declaration is complete and consistent."""

    def test_members_are_there_and_have_their_types(self) -> None:
        world = self.world
        members = [*World.__annotations__, *(name for name in vars(World) if not name.startswith("_"))]
        missing = [name for name in members if not hasattr(world, name)]
        expect(not missing, f"a world lacks {', '.join(missing)}")
        _expect_none(faults_of_names(world))
        expect(world.space.name == world.name, f"space.name must be {world.name!r}, got {world.space.name!r}")

    def test_a_first_episode_of_every_kind_can_be_played(self) -> None:
        _expect_none(played_faults(self.world))

    def test_fields_agree_with_their_space(self) -> None:
        space = self.world.space
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
        _expect_none(faults_of_values(self.world))
        for value in self.world.values:
            shares = [family.share for family in self.world.families if family.value == value.name]
            expect(any(share > 0.0 for share in shares), f"value {value.name} needs a family that training uses")

    def test_the_dilemma_names_what_there_is(self) -> None:
        dilemma = self.world.dilemma
        _expect_none(faults_of_dilemma(self.world))
        scenarios = self.scenarios(self.num_episodes, self.rng(3))
        numbers = {**dilemma.descriptors, **({"benefits": dilemma.benefits} if dilemma.benefits else {})}
        for name, measure in numbers.items():
            found = np.asarray(measure(scenarios))
            expect(
                found.shape == (len(scenarios),) and np.isfinite(found).all(), f"dilemma: {name} must be numbers (n,)"
            )
        if dilemma.benefits is not None:
            expect((dilemma.benefits(scenarios) > 0).all(), "dilemma.benefits must be above 0")


def _expect_none(faults: Iterable[str]) -> None:
    found = list(faults)
    expect(not found, "; ".join(found))
