"""Checks of worlds that can be enumerated: completions, densities, branches, and exact answers against sampled ones."""

from __future__ import annotations

from typing import cast
from unittest import SkipTest

import numpy as np
from numpy.typing import NDArray

from kerf.lab.dilemma import Mix
from kerf.lab.exact.evaluation import evaluate
from kerf.lab.rollout import rollout
from kerf.lab.scenario import Scenarios
from kerf.lab.testing.checks import expect, expect_raises, expect_same
from kerf.lab.testing.draws import keys
from kerf.lab.testing.episodes import Softened, first_seen
from kerf.lab.testing.laws import expect_plausible, share_fits
from kerf.lab.testing.subject import WorldSubject
from kerf.lab.world import Enumerable, ExactPlay, Listed, World, natural

MIXES = (Mix(), Mix(0.5, 0.5), Mix(0.3, 1.0))
PATHS = 48
"""Beginnings of each scenario, to find different pasts of one state."""
PREFIX = 3
"""Steps after which pasts are compared."""


class Exact(WorldSubject):
    """The members of `Enumerable`, `Listed` and `ExactPlay` are right. Skipped for a world without them."""

    @property
    def enumerable(self) -> Enumerable:
        if not isinstance(self.world, Enumerable):
            raise SkipTest(f"{self.world.name} cannot be enumerated")
        return self.world

    def begin(self, scenarios: Scenarios) -> ExactPlay:
        """A batch that can be branched."""
        play = self.world.begin(scenarios)
        lacks = [name for name in ("fork", "state", "abstract_state") if not hasattr(play, name)]
        if isinstance(self.world, Enumerable):
            expect(not lacks, f"the play of an enumerable world lacks {', '.join(lacks)}")
        if lacks:
            raise SkipTest(f"plays of {self.world.name} cannot be branched")
        return cast(ExactPlay, play)

    def mixed(self, mix: Mix, n: int, rng: np.random.Generator) -> Scenarios:
        """`n` scenarios of a mix."""
        num = int(rng.binomial(n, mix.natural))
        if num == n:
            return natural(self.world, n, rng)
        forged = self.world.dilemma.forge(n - num, mix.strength, rng)
        return np.concatenate([natural(self.world, num, rng), forged])

    @property
    def mixes(self) -> tuple[Mix, ...]:
        """The mixes that are checked: the natural stream, and with forgeries if there are any."""
        return MIXES if self.world.dilemma.has_forgeries else MIXES[:1]

    # -- completions ------------------------------------------------------------------------------------------------

    def test_scenarios_are_among_their_completions(self) -> None:
        for number, mix in enumerate(self.mixes):
            scenarios = self.mixed(mix, self.num_draws // 2, self.rng(51, number))
            rows, origin = self.enumerable.completions(scenarios)
            itself = (rows == scenarios[origin]).all(axis=1)
            found = np.bincount(origin, itself, len(scenarios))
            expect((found == 1).all(), f"{mix}: a scenario must be once among its completions")
            density = self.enumerable.density(rows, mix)
            expect(density.shape == (len(rows),) and (density >= 0).all(), "densities must be >= 0, one a scenario")
            expect((density[itself] > 0).all(), f"{mix}: a scenario that is drawn has no density")

    def test_completions_differ_in_what_is_hidden_alone(self) -> None:
        scenarios = self.scenarios(4 * self.num_episodes, self.rng(52))
        rows, origin = self.enumerable.completions(scenarios)
        space = self.world.space
        space.validate(rows)
        expect((np.diff(origin) >= 0).all(), "origins must ascend")
        seen = [not field.hidden for field in space.fields]
        expect_same(rows[:, seen], scenarios[origin][:, seen], "observable fields of completions")
        ours = np.column_stack((origin, rows))
        expect(len(np.unique(ours, axis=0)) == len(rows), "a completion comes twice")
        looks = first_seen(self.world, rows)
        expect((looks == first_seen(self.world, scenarios)[origin]).all(), "completions must look alike at first")

    def test_density_is_a_function_of_each_scenario_and_linear_in_the_mix(self) -> None:
        self.skip_without_forgeries()
        density = self.enumerable.density
        rows, _ = self.enumerable.completions(self.scenarios(4 * self.num_episodes, self.rng(53)))
        order = self.rng(54).permutation(len(rows))
        mix = Mix(0.4, 0.7)
        whole = density(rows, mix)
        expect_same(density(rows[order], mix), whole[order], "densities in another order")
        parts = 0.4 * density(rows, Mix()) + 0.6 * density(rows, Mix(0.0, 0.7))
        expect(np.allclose(whole, parts, rtol=1e-9, atol=1e-15), "a density must be linear in the share of the mix")

    def test_what_is_hidden_is_as_likely_as_the_density_says(self) -> None:
        """Exact binomial tests of each hidden field's values, in groups of scenarios with equal predictions."""
        p_values = {}
        space = self.world.space
        if not any(field.hidden and field.low < field.high for field in space.fields):
            raise SkipTest(f"nothing is hidden in {self.world.name}")
        for number, mix in enumerate(self.mixes):
            scenarios = self.mixed(mix, 2 * self.num_draws, self.rng(55, number))
            rows, origin = self.enumerable.completions(scenarios)
            density = self.enumerable.density(rows, mix)
            total = np.bincount(origin, density, len(scenarios))
            for column in np.flatnonzero([field.hidden and field.low < field.high for field in space.fields]):
                field = space.fields[column]
                for value in range(field.low + 1, field.high + 1):
                    weight = np.bincount(origin, density * (rows[:, column] == value), len(scenarios))
                    probs, group = np.unique((weight / total).round(9), return_inverse=True)
                    hits = np.bincount(group, scenarios[:, column] == value)
                    for prob, count, num in zip(probs, hits, np.bincount(group), strict=True):
                        claim = f"{mix}: {field.name}={value} in {count:.0f} of {num}, predicted {prob:.4f}"
                        p_values[claim] = share_fits(int(count), int(num), float(prob))
        expect_plausible(p_values, self.level)

    def test_situations_are_all_there_is_to_see(self) -> None:
        world = self.world
        if not isinstance(world, Listed):
            raise SkipTest(f"{world.name} does not list its situations")
        situations = world.situations()
        world.space.validate(situations)
        looks = first_seen(cast(World, world), situations)
        expect(len(np.unique(looks, axis=0)) == len(looks), "each situation must look like no other")
        rows, _ = world.completions(situations)
        listed = set(keys(rows).tolist())
        for mix in self.mixes:
            total = float(world.density(rows, mix).sum())
            expect(abs(total - 1.0) < 1e-9, f"{mix}: the densities of all completions sum to {total}, not to 1")
            drawn = keys(self.mixed(mix, self.num_draws, self.rng(56)))
            expect(listed.issuperset(drawn.tolist()), f"{mix}: a scenario is drawn that no situation lists")

    # -- branches ---------------------------------------------------------------------------------------------------

    def test_forks_go_their_own_ways(self) -> None:
        world, rng = self.world, self.rng(57)
        scenarios = self.scenarios(self.num_episodes, rng)
        n, half = len(scenarios), world.horizon // 2
        actions = rng.integers(0, len(world.actions), (world.horizon, n))
        play, words = self.begin(scenarios), np.zeros(n, np.uint64)
        for t in range(half):
            play.step(actions[t], words)
        rows = rng.integers(0, n, n // 2 + 2)
        fork, before = play.fork(rows), play.state().copy()
        expect_same(fork.state(), before[rows], "states of a fork")
        taken = np.ascontiguousarray(actions[:, rows])
        forked = np.zeros((world.horizon, len(rows)), np.uint64)
        seen = np.empty((world.horizon, len(rows), len(world.observations)), np.float32)
        for t in range(half, world.horizon):
            fork.observe(seen[t])
            fork.step(taken[t], forked[t])
        expect_same(play.state(), before, "states after a fork went on")
        looks = np.empty((n, len(world.observations)), np.float32)
        for t in range(half, world.horizon):
            play.observe(looks)
            expect_same(looks[rows], seen[t], f"observations of a fork at step {t}")
            play.step(actions[t], words)
            expect_same(words[rows], forked[t], f"events of a fork in step {t}")
        expect_raises(
            RuntimeError, "over", lambda: fork.step(taken[0], forked[0]), "a step beyond the horizon, of a fork"
        )

    def test_equal_states_look_the_same_and_go_on_alike(self) -> None:
        self._compare("state", looks=True)

    def test_equal_abstract_states_bring_about_the_same_events(self) -> None:
        self._compare("abstract_state", looks=False)

    def _compare(self, what: str, looks: bool) -> None:
        """Begin scenarios in many ways; where pasts of one scenario have equal keys, take equal actions and compare."""
        world, rng = self.world, self.rng(58)
        scenarios = self.scenarios(self.num_episodes, rng)
        origin = np.repeat(np.arange(len(scenarios)), PATHS)
        play, words = self.begin(scenarios[origin]), np.zeros(len(origin), np.uint64)
        for _ in range(min(PREFIX, world.horizon - 1)):
            play.step(rng.integers(0, len(world.actions), len(origin)), words)
        rows: NDArray[np.int64] = getattr(play, what)()
        expect(
            rows.ndim == 2 and len(rows) == len(origin) and rows.dtype == np.int64,
            f"{what} must be int64 ({len(origin)}, K), got {rows.dtype} {rows.shape}",
        )
        _, group = np.unique(np.column_stack((origin, rows)), axis=0, return_inverse=True)
        order = np.argsort(group, kind="stable")
        first = order[np.searchsorted(group[order], group)]
        if looks:
            expect_same(play.abstract_state(), play.abstract_state()[first], "abstract_states of equal states")
        seen = np.empty((len(origin), len(world.observations)), np.float32)
        for t in range(min(PREFIX, world.horizon - 1), world.horizon):
            play.observe(seen)
            if looks:
                expect_same(seen, seen[first], f"what pasts of equal {what} look like at step {t}")
            play.step(rng.integers(0, len(world.actions), len(origin))[group], words)
            expect_same(words, words[first], f"events of pasts of equal {what} in step {t}")

    # -- exact answers ----------------------------------------------------------------------------------------------

    def test_exact_answers_agree_with_sampled_ones(self) -> None:
        """Exact binomial tests of how often each event happens when the softened expert plays."""
        if not isinstance(self.world, Enumerable):
            raise SkipTest(f"{self.world.name} cannot be enumerated, so it has no exact answers")
        world, rng = self.world, self.rng(59)
        scenarios = self.mixed(self.mixes[-1], self.num_followed, rng)
        policy = Softened(world, self.lead)
        exact = evaluate(policy, world, scenarios, self.tolerance)
        times = self.num_draws // self.num_followed
        played = rollout(policy, world, np.repeat(scenarios, times, axis=0), rng)
        p_values = {}
        for event in world.events:
            happened = played.happened(event).reshape(len(scenarios), times).sum(axis=1)
            low = exact.probability(event)
            for row, count in enumerate(happened.tolist()):
                claim = f"{event} in {count} of {times} episodes, exactly {low[row]:.4f}"
                p_values[claim] = share_fits(count, times, low[row], min(1.0, low[row] + exact.dropped[row] + 1e-9))
        expect_plausible(p_values, self.level)
