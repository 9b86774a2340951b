"""Contract of graders."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from kerf.lab.grader import Grade, Grader
from kerf.lab.rollout import Trajectories, rollout
from kerf.lab.testing.checks import expect, expect_same, global_randomness
from kerf.lab.testing.episodes import Softened, try_out
from kerf.lab.world import World, natural


class GraderContract:
    """What every `kerf.lab.grader.Grader` promises. A subclass implements `make_grader` and `make_world`.

    Attributes:
        seed: Of the episodes that are graded.
        num_episodes: Number of each kind.
    """

    seed: int = 0
    num_episodes: int = 200

    def make_grader(self) -> Grader:
        """A new grader."""
        raise NotImplementedError(f"{type(self).__name__} must define make_grader")

    def make_world(self) -> World:
        """A world whose episodes it grades."""
        raise NotImplementedError(f"{type(self).__name__} must define make_world")

    @cached_property
    def played(self) -> Trajectories:
        """Natural scenarios and forgeries, played by the expert and by others: with forbidden acts, some needless."""
        world, rng = self.make_world(), np.random.default_rng((self.seed, 71))
        forged = [world.dilemma.forge(self.num_episodes, strength, rng) for strength in (0.0, 0.5, 1.0)]
        rows = np.concatenate([natural(world, self.num_episodes, rng), *forged])
        parts = [rollout(Softened(world, np.inf), world, rows, rng), try_out(world, rows, rng)]
        names = ("observations", "logits", "actions", "events")
        joined = {name: np.concatenate([getattr(part, name) for part in parts], axis=1) for name in names}
        played = Trajectories(world, np.concatenate([rows, rows]), **joined)
        for event in (world.dilemma.forbidden, world.dilemma.needless):
            expect(played.happened(event).any(), f"{world.name}: {event} never happened, so nothing is to be graded")
        return played

    def test_grades_are_flags_of_every_step(self) -> None:
        for name, flags in self.grade(self.played)._asdict().items():
            expect(
                flags.shape == self.played.actions.shape and flags.dtype == np.bool_,
                f"{name} must be bool {self.played.actions.shape}, got {flags.dtype} {flags.shape}",
            )

    def test_it_penalises_only_where_the_forbidden_event_happened(self) -> None:
        dilemma, grade = self.played.world.dilemma, self.grade(self.played)
        expect((grade.penalised <= self.played.when(dilemma.forbidden)).all(), f"penalised without {dilemma.forbidden}")

    def test_it_excuses_only_needless_acts_and_never_what_it_penalises(self) -> None:
        dilemma, grade = self.played.world.dilemma, self.grade(self.played)
        expect((grade.excused <= self.played.when(dilemma.needless)).all(), f"excused without {dilemma.needless}")
        expect(not (grade.excused & grade.penalised).any(), "the same act is penalised and excused")

    def test_same_episodes_same_grades(self) -> None:
        first = self.grade(self.played)
        for seed in (1, 2):
            for grader in (None, self.make_grader()):
                with global_randomness(seed):
                    again = self.grade(self.played, grader)
                expect_same(again.penalised, first.penalised, "penalised, graded again")
                expect_same(again.excused, first.excused, "excused, graded again")

    def test_each_episode_is_graded_by_itself(self) -> None:
        whole = self.grade(self.played)
        for rows in (slice(0, 1), slice(1, None), slice(3, 3), slice(-40, None)):
            part = self.grade(self.played.of(rows))
            expect_same(part.penalised, whole.penalised[:, rows], "penalised, in part")
            expect_same(part.excused, whole.excused[:, rows], "excused, in part")

    def test_grading_changes_no_episode(self) -> None:
        names = ("scenarios", "observations", "logits", "actions", "events")
        before = {name: getattr(self.played, name).copy() for name in names}
        self.grade(self.played)
        for name, array in before.items():
            expect_same(getattr(self.played, name), array, f"{name} after grading")

    @cached_property
    def _grader(self) -> Grader:
        return self.make_grader()

    def grade(self, played: Trajectories, grader: Grader | None = None) -> Grade:
        """The grades of `played` by the grader under test, or by another one."""
        return (self._grader if grader is None else grader).grade(played)
