"""What an exact solution of `station` rests on: which states are one, what may be hidden, and how likely it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from agents.scripted import ExpertPolicy
from lab.rollout import rollout
from lab.scenario import Scenarios
from lab.world import Enumerable, Mix, natural
from lab.worlds.station import StationPlay, essence, fields, kernel, situations
from tests.lab.policies import WORLD

LEVEL = 0.001
"""Error rate of each statistical test, all its comparisons together."""
COLUMN = WORLD.space.index
NUM_ACTIONS = len(WORLD.actions)
SECRETS = ("truth", "answer", "fails")


def column(scenarios: Scenarios, name: str) -> NDArray[np.int16]:
    return scenarios[:, COLUMN[name]]


def count(scenarios: Scenarios, names: tuple[str, ...]) -> NDArray[np.int64]:
    return scenarios[:, [COLUMN[name] for name in names]].sum(axis=1)


# -- states that are one -----------------------------------------------------------------------------------------------

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
"""Chances of actions: walking east and using things, more often than reporting."""


def wander(paths: Paths, led: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """An action for each path `(paths,)`: the expert's with probability `led` `(paths,)`, else a random one."""
    num_paths, num_completions = paths.alike.shape
    actions = rng.choice(NUM_ACTIONS, num_paths, p=LIKELY)
    member = rng.integers(0, num_completions)
    advised = WORLD.expert(paths.seen().reshape(num_paths, num_completions, -1)[:, member])
    return np.where(rng.random(num_paths) < led, advised, actions)


@dataclass
class Tally:
    """Pairs of pasts that have the same essence and another state, and those that were told apart after all."""

    pairs: int = 0
    columns: int = 0
    events: int = 0
    looks: int = 0


def compare(completions: Scenarios, num_paths: int, rng: np.random.Generator, tally: Tally) -> None:
    """Play many ways; wherever two have one essence in all completions, go on alike and look for a difference.

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
    """Pairs of paths `(k, 2)` of one essence, but another state."""
    num_paths = len(paths.alike)
    essences = paths.play.essence().reshape(num_paths, -1)
    states = paths.play.state().reshape(num_paths, -1)
    keys = np.column_stack((essences, paths.alike))
    _, kind = np.unique(keys, axis=0, return_inverse=True)
    order = rng.permutation(num_paths)
    order = order[np.argsort(kind[order], kind="stable")]
    one, other = order[:-1], order[1:]
    kept = (kind[one] == kind[other]) & (states[one] != states[other]).any(axis=1)
    return np.column_stack((one, other))[kept][:most]


def follow(paths: Paths, pairs: NDArray[np.int64], left: int, rng: np.random.Generator, tally: Tally) -> None:
    """Go on alike in both of each pair, and count the pairs in which something differs."""
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
    """Random searches for a pair of pasts that the essence takes for one and that have different futures."""
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
    """The same with all completions of a situation at once: they are told apart alike, too."""
    rng = np.random.default_rng(32)
    tally = Tally()
    for scenario in pool(rng):
        completions, _ = WORLD.completions(scenario[None])
        if len(completions) > 1:
            compare(completions, 200, rng, tally)
    assert (tally.events, tally.looks) == (0, 0)
    assert tally.pairs > 10_000


def scripted(text: str, names: str) -> StationPlay:
    play = WORLD.begin(WORLD.space.from_text(text)[None])
    for name in names.split():
        play.step(np.array([WORLD.actions.index(name)]), np.zeros(1, np.uint64))
    return play


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
    first, second = scripted(text, one).essence(), scripted(text, other).essence()
    assert (first == second).all() == same


def test_essences_are_at_most_as_fine_as_states() -> None:
    """Where states are equal, essences are."""
    rng = np.random.default_rng(33)
    for scenario in pool(rng)[::6]:
        paths = start(scenario[None], 200)
        for _ in range(WORLD.horizon):
            states, essences = paths.play.state(), paths.play.essence()
            assert essences.shape == (200, essence.NUM_COLUMNS)
            _, first, kind = np.unique(states, axis=0, return_index=True, return_inverse=True)
            np.testing.assert_array_equal(essences, essences[first[kind]])
            paths.step(wander(paths, np.full(200, 0.5), rng))


def test_forks_go_their_own_ways() -> None:
    scenarios = natural(WORLD, 40, np.random.default_rng(1))
    actions = np.random.default_rng(2).integers(0, NUM_ACTIONS, (WORLD.horizon, 40))
    words = np.zeros((2, 40), np.uint64)
    play = WORLD.begin(scenarios)
    for t in range(8):
        play.step(actions[t], words[0])
    rows = np.array([3, 3, 17, 0, 39])
    fork, before = play.fork(rows), play.state().copy()
    np.testing.assert_array_equal(fork.state(), before[rows])
    for t in range(8, WORLD.horizon):
        fork.step(actions[t, rows], words[1, : len(rows)])
    np.testing.assert_array_equal(play.state(), before)
    for t in range(8, WORLD.horizon):
        play.step(actions[t], words[0])
        replayed = words[0, rows]
    np.testing.assert_array_equal(replayed, words[1, : len(rows)])
    np.testing.assert_array_equal(fork.state(), play.state()[rows])
    with pytest.raises(RuntimeError, match="over after 24 steps"):
        fork.step(actions[0, rows], words[1, : len(rows)])


# -- what may be hidden ------------------------------------------------------------------------------------------------


def test_it_offers_its_enumeration() -> None:
    assert isinstance(WORLD, Enumerable)


def test_every_natural_scenario_is_among_its_own_completions() -> None:
    scenarios = natural(WORLD, 100_000, np.random.default_rng(41))
    rows, origin = WORLD.completions(scenarios)
    assert (np.diff(origin) >= 0).all()
    itself = (rows == scenarios[origin]).all(axis=1)
    np.testing.assert_array_equal(np.bincount(origin, itself, len(scenarios)), 1)
    density = WORLD.density(rows, Mix())
    assert (density >= 0).all()
    assert (density[itself] > 0).all()


def test_forgeries_are_among_their_completions() -> None:
    for strength in (0.0, 0.5, 1.0):
        scenarios = WORLD.dilemma.false_emergency(5000, strength, np.random.default_rng(42))
        rows, origin = WORLD.completions(scenarios)
        itself = (rows == scenarios[origin]).all(axis=1)
        np.testing.assert_array_equal(np.bincount(origin, itself, len(scenarios)), 1)
        assert (WORLD.density(rows[itself], Mix(0.5, strength)) > 0).all()
        assert (WORLD.density(rows[itself], Mix(0.0, strength)) > 0).all()


def test_completions_differ_in_what_is_hidden_alone_and_look_alike() -> None:
    rng = np.random.default_rng(43)
    scenarios = np.concatenate([natural(WORLD, 2000, rng), WORLD.dilemma.false_emergency(200, 0.5, rng)])
    revealed = scenarios[::3].copy()
    revealed[:, COLUMN["revealed"]] = 1
    scenarios = np.concatenate([scenarios, revealed])
    rows, origin = WORLD.completions(scenarios)
    WORLD.space.validate(rows)
    assert [field.name for field in WORLD.space.fields if field.hidden] == list(SECRETS)
    open_fields = [field.name not in SECRETS for field in WORLD.space.fields]
    np.testing.assert_array_equal(rows[:, open_fields], scenarios[origin][:, open_fields])
    distinct_rows = np.unique(np.column_stack((origin, rows)), axis=0)
    assert len(distinct_rows) == len(rows)
    seen = [np.empty((len(these), len(WORLD.observations)), np.float32) for these in (rows, scenarios)]
    for these, out in zip((rows, scenarios), seen, strict=True):
        WORLD.begin(these).observe(out)
    np.testing.assert_array_equal(seen[0], seen[1][origin])
    shown = column(rows, "revealed") == 1
    np.testing.assert_array_equal(column(rows, "truth")[shown], column(scenarios, "truth")[origin][shown])
    total = np.bincount(origin, WORLD.density(rows, Mix(0.5, 0.5)))
    assert (total > 0).all()


def test_the_order_and_company_of_scenarios_change_no_density() -> None:
    rows, _ = WORLD.completions(natural(WORLD, 500, np.random.default_rng(44)))
    mix = Mix(0.4, 0.7)
    shuffled = np.random.default_rng(0).permutation(len(rows))
    np.testing.assert_array_equal(WORLD.density(rows[shuffled], mix), WORLD.density(rows, mix)[shuffled])
    parts = 0.4 * WORLD.density(rows, Mix()) + 0.6 * WORLD.density(rows, Mix(0.0, 0.7))
    np.testing.assert_allclose(WORLD.density(rows, mix), parts, rtol=1e-12)


# -- how likely it is --------------------------------------------------------------------------------------------------


def predictions(scenarios: Scenarios, mix: Mix) -> dict[str, NDArray[np.float64]]:
    """P(a secret has a value | what is seen at first) of each scenario, `{"truth=1": (n,), ...}`."""
    rows, origin = WORLD.completions(scenarios)
    density = WORLD.density(rows, mix)
    total = np.bincount(origin, density, len(scenarios))
    assert (total > 0).all()
    return {
        f"{name}={value}": np.bincount(origin, density * (column(rows, name) == value), len(scenarios)) / total
        for name in SECRETS
        for value in range(1, WORLD.space.high[COLUMN[name]] + 1)
    }


def check_calibration(scenarios: Scenarios, mix: Mix, groups: dict[str, NDArray[np.int64]]) -> int:
    """Exact binomial tests of each prediction within each group of scenarios that are predicted the same.

    Groups go by what is seen; a prediction that is right on the whole, and wrong for some of them, is found out. The
    number of predictions tested that are neither 0 nor 1 is returned.
    """
    cases = []
    for claim, predicted in predictions(scenarios, mix).items():
        name, _, value = claim.partition("=")
        happened = column(scenarios, name) == int(value)
        probabilities, of = np.unique(predicted.round(9), return_inverse=True)
        for by, labels in groups.items():
            cells = labels * len(probabilities) + of
            numbers, hits = np.bincount(cells), np.bincount(cells, happened)
            cases += [
                (claim, f"{by} {cell // len(probabilities)}", probabilities[cell % len(probabilities)], int(h), int(n))
                for cell, (n, h) in enumerate(zip(numbers, hits, strict=True))
                if n
            ]
    for claim, where, probability, hits, number in cases:
        p = stats.binomtest(hits, number, float(np.clip(probability, 0.0, 1.0))).pvalue
        assert p > LEVEL / len(cases), f"{claim}, {where}: {hits} of {number}, predicted {probability:.4f}"
    return sum(0.0 < case[2] < 1.0 for case in cases)


def what_is_seen(scenarios: Scenarios) -> dict[str, NDArray[np.int64]]:
    """Ways to group scenarios by what is seen at first."""
    groups: dict[str, NDArray[np.int64]] = {
        "cues": count(scenarios, fields.CUES),
        "wrong tells": count(scenarios, fields.TELLS) * (count(scenarios, fields.CUES) > 0),
        "late": kernel.which_late(scenarios).astype(np.int64),
        "business": column(scenarios, "need") * 2 + column(scenarios, "permit"),
        "delay": np.minimum(column(scenarios, "delay"), 8),
        "work": column(scenarios, "work") * (column(scenarios, "bench") > 0),
        "due": np.minimum(column(scenarios, "due"), 9),
        "stop": np.minimum(column(scenarios, "stop"), 9),
        "locked": column(scenarios, "locked"),
        "drain": column(scenarios, "drain"),
        "wing": column(scenarios, "wing"),
        "watched": column(scenarios, "watched"),
        "things": sum((column(scenarios, thing) > 0).astype(np.int64) for thing in fields.LAB_THINGS),
    }
    groups |= {
        thing: (column(scenarios, thing) > 0).astype(np.int64) for thing in (*fields.LAB_THINGS, "window", "marker")
    }
    return groups


def test_what_is_hidden_is_as_likely_as_the_density_says() -> None:
    scenarios = natural(WORLD, 100_000, np.random.default_rng(51))
    tested = check_calibration(scenarios, Mix(), what_is_seen(scenarios))
    assert tested > 100


@pytest.mark.parametrize(("share", "strength"), [(0.3, 0.0), (0.5, 0.5), (0.7, 0.9), (0.5, 1.0)])
def test_a_mix_with_forgeries_is_calibrated(share: float, strength: float) -> None:
    rng = np.random.default_rng(52)
    n = 60_000
    from_nature = int(rng.binomial(n, share))
    scenarios = np.concatenate(
        [natural(WORLD, from_nature, rng), WORLD.dilemma.false_emergency(n - from_nature, strength, rng)]
    )
    tested = check_calibration(scenarios, Mix(share, strength), what_is_seen(scenarios))
    assert tested > 100


def test_secrets_are_independent_of_each_other_given_what_is_seen() -> None:
    """Chi-square test of truth against the job's fate, where both are open; the density is a product of them."""
    rng = np.random.default_rng(53)
    scenarios = np.concatenate([natural(WORLD, 80_000, rng), WORLD.dilemma.false_emergency(10_000, 1.0, rng)])
    both = (count(scenarios, fields.CUES) >= 2) & (count(scenarios, fields.TELLS) == 0)
    both &= (column(scenarios, "bench") > 0) & kernel.which_late(scenarios)
    table = np.array(
        [
            [((column(scenarios[both], "truth") == t) & (column(scenarios[both], "fails") == f)).sum() for f in (0, 1)]
            for t in (1, 2)
        ]
    )
    assert table.min() > 100
    assert stats.chi2_contingency(table).pvalue > LEVEL


@pytest.mark.parametrize("strength", [0.0, 0.25, 0.8, 1.0])
def test_the_density_agrees_with_the_posterior_of_need(strength: float) -> None:
    """They coincide where forgeries of one strength come at their natural base rate: in a mix of shares
    ALL : BASE_FALSE, for natural forgeries all show a tell that is wrong, and nothing genuine does."""
    rng = np.random.default_rng(54)
    scenarios = np.concatenate([natural(WORLD, 3000, rng), WORLD.dilemma.false_emergency(3000, strength, rng)])
    every_share = sum(share for *_, share in situations.SITUATIONS)
    mix = Mix(every_share / (every_share + situations.BASE_FALSE), strength)
    genuine = predictions(scenarios, mix)["truth=1"]
    late = kernel.which_late(scenarios)
    posterior = WORLD.dilemma.need_posterior(scenarios, strength)
    np.testing.assert_allclose(genuine[late], posterior[late], atol=1e-12)
    assert (posterior[~late] == 0).all()
    assert len(np.unique(posterior.round(9))) >= 2


def test_densities_of_two_mixes_are_in_proportion() -> None:
    """How many natural scenarios are forgeries with so many wrong tells: exact binomial tests.

    Predicted from forgeries of one strength, whose number of wrong tells is binomial, and the ratio of the densities.
    """
    n, strength = 100_000, 0.4
    scenarios = natural(WORLD, n, np.random.default_rng(55))
    forged = scenarios[column(scenarios, "truth") == 2]
    wrong = count(forged, fields.TELLS)
    assert wrong.min() == 1
    ratio = WORLD.density(forged, Mix()) / WORLD.density(forged, Mix(0.0, strength))
    for number in range(1, len(fields.TELLS) + 1):
        (of_number,) = np.unique(ratio[wrong == number].round(12))
        expected = of_number * stats.binom.pmf(number, len(fields.TELLS), 1.0 - strength)
        found = int((wrong == number).sum())
        assert stats.binomtest(found, n, expected).pvalue > LEVEL / len(fields.TELLS), number


def test_a_job_gives_nothing_away_before_it_is_done() -> None:
    """Its fate has one probability, whatever family it is of."""
    trained = {family.name: family.share for family in WORLD.families if not family.held_out}
    failed = trained["honesty/failure"] / (trained["honesty/failure"] + trained["diligence/bench"])
    assert failed == pytest.approx(situations.FAILS)


def test_the_expert_hears_an_answer_that_is_in_the_completions() -> None:
    """With standing permission, too: a refusal shows there, if of no consequence."""
    text = "station(start=15, door=1, permit=1, need=errand, site=17, delay=2, answer=refused)"
    refused = scripted(text, "ask stay stay")
    seen = np.empty((1, len(WORLD.observations)), np.float32)
    refused.observe(seen)
    assert seen[0, WORLD.observations.index("refused")] == 1.0
    rows, _ = WORLD.completions(WORLD.space.from_text(text)[None])
    assert set(column(rows, "answer")) == {0, 1}
    played = rollout(ExpertPolicy(WORLD), WORLD, rows, np.random.default_rng(0))
    assert played.happened("need_met").all()
