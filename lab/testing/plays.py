"""Checks of a world's episodes: observations, events, determinism, independence of episodes, the horizon."""

from __future__ import annotations

from unittest import SkipTest

import numpy as np
from numpy.typing import NDArray

from kerf.lab.rollout import Trajectories
from kerf.lab.soundness import fault_of_actions
from kerf.lab.testing.checks import expect, expect_raises, expect_same, global_randomness
from kerf.lab.testing.episodes import first_seen, play, try_out
from kerf.lab.testing.subject import WorldSubject
from kerf.lab.world import World

ALONE = 6
"""Number of episodes that are also played alone."""


class Plays(WorldSubject):
    """A world is a function of scenarios and actions, and episodes are independent."""

    def tried(self, word: int) -> Trajectories:
        """Episodes of scenarios of every kind, with mixtures of expert and random actions."""
        rng = self.rng(word)
        return try_out(self.world, self.scenarios(self.num_episodes, rng), rng)

    def test_observations_are_finite_and_written_in_place(self) -> None:
        world, played = self.world, self.tried(11)
        shape = len(played), len(world.observations)
        batch, events = world.begin(played.scenarios), np.zeros(len(played), np.uint64)
        for t in range(world.horizon + 1):
            padded = np.full((shape[0] + 2, shape[1]), np.nan, np.float32)
            dirty = np.full(shape, 7.0, np.float32)
            batch.observe(padded[1:-1])
            batch.observe(dirty)
            expect(np.isnan(padded[[0, -1]]).all(), "observe wrote outside of what it was given")
            expect(np.isfinite(padded[1:-1]).all(), f"step {t}: an observation is not finite, or was not written")
            expect_same(padded[1:-1], dirty, f"step {t}: observed twice")
            if t < world.horizon:
                batch.step(played.actions[t], events)

    def test_events_are_known_and_happen_no_more_often_than_said(self) -> None:
        world, played = self.world, self.tried(12)
        known = np.uint64(2 ** len(world.events) - 1)
        expect((played.events & ~known == 0).all(), f"a bit is set that is none of the {len(world.events)} events")
        for event, most in self.at_most.items():
            often = int(played.when(event).sum(axis=0).max())
            expect(often <= most, f"event {event} happened {often} times in an episode, at most {most} were declared")

    def test_step_writes_every_event_word(self) -> None:
        world, played = self.world, self.tried(13)
        batch = world.begin(played.scenarios)
        for t in range(world.horizon):
            words = np.full(len(played), 2**64 - 1, np.uint64)
            batch.step(played.actions[t], words)
            expect_same(words, played.events[t], f"step {t}: events, written over what was there")

    def test_events_of_the_dilemma_agree(self) -> None:
        if self.world.dilemma.forbidden is None:
            raise SkipTest(f"nothing is forbidden in {self.world.name}")
        dilemma, played = self.world.dilemma, self.tried(14)
        forbidden, needless = played.when(dilemma.forbidden), played.when(dilemma.needless)
        expect(forbidden.any(), f"{dilemma.forbidden} never happened, whatever was tried")
        expect((needless <= forbidden).all(), f"{dilemma.needless} must fire together with {dilemma.forbidden}")
        ways = np.sum([played.when(way) for way in dilemma.ways], axis=0)
        expect((ways == forbidden).all(), f"one of the ways must fire with {dilemma.forbidden}, and none without")

    def test_same_actions_same_episodes(self) -> None:
        played = self.tried(15)
        for whose, world in (("", self.world), (" by another such world", self.make_world())):
            for seed in (1, 2):
                with global_randomness(seed):
                    again = play(world, played.scenarios, played.actions)
                expect_same(again.events, played.events, f"events, played again{whose}")
                expect_same(again.observations, played.observations, f"observations, played again{whose}")

    def test_episodes_are_independent_of_their_batch(self) -> None:
        played = self.tried(16)
        rows = self.rng(17).permutation(len(played))
        orders = {"in another order": rows, "in part": rows[: len(rows) // 3]}
        for how, order in (*orders.items(), *(("alone", rows[i : i + 1]) for i in range(min(ALONE, len(rows))))):
            other = play(self.world, played.scenarios[order], np.ascontiguousarray(played.actions[:, order]))
            expect_same(other.events, played.events[:, order], f"events of episodes {how}")
            expect_same(other.observations, played.observations[:, order], f"observations of episodes {how}")

    def test_two_batches_go_their_own_ways(self) -> None:
        """A batch in progress does not depend on another one."""
        world, played = self.world, self.tried(18)
        batch = world.begin(played.scenarios)
        words, seen = np.zeros(len(played), np.uint64), np.empty(played.observations.shape[1:], np.float32)
        for t in range(world.horizon):
            other = world.begin(played.scenarios[::-1].copy())
            batch.observe(seen)
            expect_same(seen, played.observations[t], f"observations at step {t}, beside another batch")
            other.step(played.actions[t], np.zeros(len(played), np.uint64))
            batch.step(played.actions[t], words)
            expect_same(words, played.events[t], f"events of step {t}, beside another batch")

    def test_playing_changes_neither_scenarios_nor_actions(self) -> None:
        rng = self.rng(19)
        scenarios = self.scenarios(self.num_episodes, rng)
        actions = rng.integers(0, len(self.world.actions), (self.world.horizon, len(scenarios)))
        before = scenarios.copy(), actions.copy()
        batch, words = self.world.begin(scenarios), np.zeros(len(scenarios), np.uint64)
        for row in actions:
            batch.observe(np.empty((len(scenarios), len(self.world.observations)), np.float32))
            batch.step(row, words)
        expect_same(scenarios, before[0], "scenarios after they were played")
        expect_same(actions, before[1], "actions after they were taken")

    def test_an_episode_lasts_its_horizon_and_no_longer(self) -> None:
        world, played = self.world, self.tried(20)
        batch, words = world.begin(played.scenarios), np.zeros(len(played), np.uint64)
        for t in range(world.horizon):
            batch.step(played.actions[t], words)
        expect_raises(
            RuntimeError,
            "over",
            lambda: batch.step(played.actions[0], words),
            f"step {world.horizon + 1} of {world.horizon}",
        )

    def test_an_empty_batch_plays(self) -> None:
        world = self.world
        played = play(world, world.space.blank(0), np.zeros((world.horizon, 0), np.int64))
        expect(len(played) == 0, "no scenarios are no episodes")

    def test_hidden_fields_do_not_show_at_first(self) -> None:
        ones, others, names = self.twins(self.scenarios(4 * self.num_episodes, self.rng(21)))
        seen = [first_seen(self.world, rows) for rows in (ones, others)]
        differs = np.flatnonzero((seen[0] != seen[1]).any(axis=1))
        if len(differs):
            row = int(differs[0])
            column = self.world.observations[int((seen[0][row] != seen[1][row]).argmax())]
            raise AssertionError(
                f"hidden field {names[row]} shows in the first observation ({column}): "
                f"{self.world.space.to_text(ones[row])}"
            )

    def test_the_expert_acts_on_each_observation_by_itself(self) -> None:
        world, played = self.world, self.tried(22)
        seen = np.ascontiguousarray(played.observations.reshape(-1, len(world.observations)))
        before = seen.copy()
        actions = _expert(world, seen)
        expect_same(seen, before, "observations after the expert saw them")
        order = self.rng(23).permutation(len(seen))
        expect_same(_expert(world, seen[order]), actions[order], "the expert's actions in another order")
        expect_same(_expert(world, seen[:1]), actions[:1], "the expert's action on one observation alone")
        expect_same(_expert(world, seen[:0]), actions[:0], "the expert's actions on no observation")

    def test_it_can_be_looked_at(self) -> None:
        world, played = self.world, self.tried(24)
        scenario, actions = played.scenarios[0].copy(), played.actions[:, 0]
        for taken in (actions[:0], actions):
            text, picture = world.render_text(scenario, taken), world.render_pixels(scenario, taken)
            expect(isinstance(text, str) and text, "render_text must give text")
            expect(
                picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == np.uint8,
                f"render_pixels must give uint8 (H, W, 3), got {picture.dtype} {picture.shape}",
            )
            expect(text == world.render_text(scenario, taken), "render_text gives another text the second time")
            expect_same(picture, world.render_pixels(scenario, taken), "pictures of one state")
        expect_same(scenario, played.scenarios[0], "the scenario after it was looked at")


def _expert(world: World, seen: NDArray[np.float32]) -> NDArray[np.int64]:
    actions = world.expert(seen)
    fault = fault_of_actions(world, actions, len(seen))
    expect(fault is None, fault or "")
    return actions
