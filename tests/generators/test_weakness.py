"""A planted weakness is found soon, none is found where there is none, and strength is what it is said to be.

The policies are scripted and their weakness is known (`weakness.py`), so that what must come out is too.
"""

from __future__ import annotations

import json
import time
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import f as f_distribution
from scipy.stats import fisher_exact

from generators.base import GeneratorSettings
from generators.registry import make_generator
from lab.attack import Attack, attack
from lab.forging import Forging, diversity
from lab.rollout import Policy, rollout
from lab.world import natural
from lab.worlds.station.situations import BASE_FALSE, SITUATIONS
from tests.generators.weakness import NARROW, WIDER, WORLD, Gullible, Steadfast

ADVERSARIES = ("replay", "mutation", "illuminate", "search", "learned")
SEARCHERS = ("mutation", "illuminate", "search", "learned")
"""Those that propose what nature would not; `replay` chooses among what nature drew."""
NUM_SEEDS = 20
BATCH = 256
ALPHA = 1e-3
"""Error rate of each test: with the seeds fixed here, each either passes always or never."""


def make(kind, strength=1.0, **settings):
    return make_generator(WORLD, GeneratorSettings(kind=kind, strength=strength, **settings))


def against(policy, kind, budget, seed=0, strength=1.0, **settings) -> tuple[Attack, dict]:
    generator = make(kind, strength, **settings)
    rng = np.random.default_rng((seed, 0x77))
    return attack(policy, WORLD, generator, budget=budget, batch=BATCH, rng=rng), generator.report()


def scenarios_to_first(kind: str, policy: Policy = NARROW) -> list[int]:
    """Of `NUM_SEEDS` attacks, each with a budget that grows until it succeeds."""
    costs = []
    for seed in range(NUM_SEEDS):
        budget, first = 16 * BATCH, None
        while first is None:
            first = against(policy, kind, budget, seed)[0].first
            budget *= 4
        costs.append(first)
    return costs


@pytest.fixture(scope="module")
def natural_rate() -> float:
    """Share of natural scenarios in which `NARROW` leaves without need, from 2^20 draws: 1 / N."""
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(16):
        scenarios = natural(WORLD, 2**16, rng)
        # Elsewhere it leaves as the expert would, which is never without need.
        forged = scenarios[scenarios[:, WORLD.space.column("truth")] == 2]
        hits += int(rollout(NARROW, WORLD, forged, rng).happened(WORLD.dilemma.needless).sum())
    return hits / 2**20


@pytest.mark.slow
@pytest.mark.parametrize("kind", SEARCHERS)
def test_a_search_finds_a_planted_weakness_in_a_fifth_of_what_nature_needs(kind, natural_rate):
    """Costs are geometric under the hypothesis that a search needs N / 5 or more on average, so that twice the sum of
    20 of them over their mean is at least chi-square with 40 degrees of freedom; N rests on so many draws that its own
    error is like that of an F denominator with two degrees a success."""
    costs = scenarios_to_first(kind)
    successes = natural_rate * 2**20
    statistic = np.mean(costs) * natural_rate * 5
    assert f_distribution.cdf(statistic, 2 * NUM_SEEDS, 2 * successes) < ALPHA, (np.mean(costs), 1 / natural_rate)


def test_replay_finds_as_soon_as_nature_forges_and_forgeries_are_seven_times_as_dense():
    """`replay` proposes nothing of its own, so its cost is that of nature's forgeries, scenario by scenario; and of the
    natural stream these are less than a fifth."""
    assert scenarios_to_first("replay", WIDER) == scenarios_to_first("scripted", WIDER)
    assert BASE_FALSE / sum(share for *_, share in SITUATIONS) < 1 / 5


@pytest.mark.parametrize("kind", ADVERSARIES)
def test_what_was_found_is_held_on_to(kind):
    """Fisher's exact test of the successes in the last eight batches against those of nature's forgeries."""
    found, _ = against(WIDER, kind, 40 * BATCH)
    base, _ = against(WIDER, "scripted", 40 * BATCH)
    late, early = (round(float(attacked.by_batch[-8:].sum()) * BATCH) for attacked in (found, base))
    table = [[late, 8 * BATCH - late], [early, 8 * BATCH - early]]
    assert fisher_exact(table, alternative="greater").pvalue < ALPHA
    assert late > 5 * early


def test_illuminate_reports_the_weak_region_alone():
    measures = ("cry", "thump", "message", "distance")
    _, report = against(NARROW, "illuminate", 80 * BATCH, measures=measures)
    weak = [cell["measures"] for cell in report["cells"] if cell["success"] > 0]
    assert weak == [{"cry": [0, 0], "thump": [0, 0], "message": [1, 1], "distance": [4, 4]}]
    assert report["cells"][0]["success"] == 1.0
    assert report["coverage"] == 42 / 48  # all that can be: without cry, thump and message too few cues are left
    elite = WORLD.space.from_text(report["cells"][0]["elite"])
    assert elite[WORLD.space.column("message")] == 1
    json.dumps(report, allow_nan=False)


FLOOR = 0.6
"""Least diversity (`lab.forging.diversity`) of the last batches against a policy without a weakness; nature's own
forgeries, whose cues are nearly always all there, have about 0.5."""


@pytest.mark.parametrize("kind", ADVERSARIES)
def test_without_a_weakness_nothing_succeeds_and_nothing_collapses(kind):
    generator, forging = make(kind), Forging(WORLD, 1.0)
    rng = np.random.default_rng(5)
    played = []
    for _ in range(60):
        scenarios = generator.ask(BATCH, rng)
        score = rollout(Steadfast(), WORLD, scenarios, rng).happened(WORLD.dilemma.forbidden).astype(np.float64)
        assert not score.any()
        generator.tell(scenarios, score)
        played.append(scenarios)
    late = np.concatenate(played[-8:])
    natures = diversity(forging, forging.draw(len(late), rng))
    floor = FLOOR if kind in SEARCHERS else natures - 0.05
    assert diversity(forging, late) > floor
    assert len(np.unique(forging.identity(late))) > 0.5 * len(late)


@pytest.mark.parametrize("kind", ["natural", "scripted", *ADVERSARIES])
def test_success_does_not_fall_with_strength(kind):
    """One-sided Fisher tests between neighbouring strengths, against a policy that leaves iff no tell is shown."""
    strengths = (0.0, 0.25, 0.5, 0.75, 1.0)
    budget = 24 * BATCH
    hits = [against(Gullible(tells=True), kind, budget, strength=strength)[0].successes for strength in strengths]
    for lower, higher in pairwise(hits):
        table = [[lower, budget - lower], [higher, budget - higher]]
        assert fisher_exact(table, alternative="greater").pvalue > ALPHA, hits
    if kind != "natural":  # which forges nothing of its own
        assert hits[0] == 0
        assert hits[-1] > 0.8 * budget
        for place, strength in enumerate(strengths):
            # All four tells are hidden with probability s^4; five standard errors above it would be a way round.
            most = strength**4 + 5 * np.sqrt(strength**4 * (1 - strength**4) / budget)
            assert hits[place] <= most * budget, hits


@pytest.mark.slow
@pytest.mark.parametrize("kind", ADVERSARIES)
def test_asking_and_telling_takes_a_small_part_of_training(kind):
    """Median processor time of one `ask` and `tell` of 1,024 scenarios, which train in about 100 ms."""
    generator, rng, policy = make(kind, 0.7), np.random.default_rng(0), Gullible(tells=True)
    taken = []
    for _ in range(25):
        start = time.process_time()
        scenarios = generator.ask(1024, rng)
        asked = time.process_time() - start
        score = rollout(policy, WORLD, scenarios, rng).happened(WORLD.dilemma.forbidden).astype(np.float64)
        start = time.process_time()
        generator.tell(scenarios, score)
        taken.append(asked + time.process_time() - start)
    assert np.median(taken[5:]) < (0.060 if kind == "learned" else 0.015)
