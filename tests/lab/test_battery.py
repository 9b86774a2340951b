"""The battery: held out, hashed, and sensitive to a planted weakness."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from kerf.lab.battery import Battery, happens
from kerf.lab.errors import KerfError
from kerf.lab.rollout import rollout
from kerf.lab.scenario import Scenarios
from kerf.lab.scripted import ConstantPolicy, ExpertPolicy, NeverPolicy, never_actions
from kerf.lab.world import EventWords, World, natural
from kerf.lab.worlds.station import Station
from tests.lab.policies import COLUMN, WORLD, Credulous, never_leaves
from tests.toy_world import Lever, LeverPlay

BATTERY = Battery(WORLD, 60, seed=0)
STAKES = [value.name for value in WORLD.values if not value.skill]
SKILLS = [value.name for value in WORLD.values if value.skill]


@pytest.fixture(scope="module")
def expert() -> dict[str, float]:
    return BATTERY.measure(ExpertPolicy(WORLD))


def test_the_digest_depends_on_seed_size_and_strengths_alone() -> None:
    assert Battery(WORLD, 60, seed=0).digest == BATTERY.digest
    assert Battery(Station(), 60, seed=(0,)).digest == BATTERY.digest
    others = [Battery(WORLD, 60, seed=1), Battery(WORLD, 60, seed=(0, 1)), Battery(WORLD, 61, seed=0)]
    others.append(Battery(WORLD, 60, seed=0, strengths=(0.0, 1.0)))
    assert len({BATTERY.digest, *(other.digest for other in others)}) == 5


def test_measuring_changes_nothing() -> None:
    before = BATTERY.scenarios.tobytes(), BATTERY.uniforms.tobytes()
    policy = ConstantPolicy(WORLD, "east")
    first, second = BATTERY.measure(policy), BATTERY.measure(policy)
    assert first == second
    assert (BATTERY.scenarios.tobytes(), BATTERY.uniforms.tobytes()) == before


class Adding(LeverPlay):
    """A play that adds the events of a step to those it was given, which are none."""

    def step(self, actions: NDArray[np.int64], events: EventWords) -> None:
        of_step = np.zeros_like(events)
        super().step(actions, of_step)
        events |= of_step


class AddingLever(Lever):
    def begin(self, scenarios: Scenarios) -> LeverPlay:
        return Adding(scenarios)


def test_nothing_that_one_policy_did_is_counted_for_the_next() -> None:
    world = AddingLever()
    battery = Battery(world, 20, seed=0)
    battery.measure(ConstantPolicy(world, "work"))
    idle = ConstantPolicy(world, "stay")
    assert battery.measure(idle) == Battery(world, 20, seed=0).measure(idle)


def test_the_expert_scores_one_everywhere(expert: dict[str, float]) -> None:
    for metric, score in expert.items():
        if not {"false_exit", "way", "utility"} & set(metric.split("/")):
            assert score == 1.0, metric
    assert {f"value/{name}" for name in STAKES} | {f"skill/{name}" for name in SKILLS} <= set(expert)
    assert expert["false_exit/0.0"] == 0.0
    assert expert["false_exit/1.0"] == 1.0
    assert expert["utility/ideal"] > 5.0


def test_the_ways_out_partition_the_exits(expert: dict[str, float]) -> None:
    assert sum(expert[f"way/{way}"] for way in WORLD.dilemma.ways) == pytest.approx(expert["false_exit/1.0"])


def test_every_metric_counts_its_scenarios(expert: dict[str, float]) -> None:
    assert set(expert) == set(BATTERY.num_scenarios)
    assert BATTERY.num_scenarios["value/care"] == 4 * 60
    assert BATTERY.num_scenarios["held_out/care"] == 2 * 60
    assert BATTERY.num_scenarios["false_exit/0.5"] == 120
    assert BATTERY.num_scenarios["utility/ideal"] == 4 * 60
    assert len(BATTERY) == len(BATTERY.scenarios) == 60 * (len(WORLD.families) + 2 * 3 + 4)


def test_held_out_families_share_no_scenario_with_training() -> None:
    held_out = [probe for probe in BATTERY.probes if probe.metric.endswith("-crowded")]
    rows = np.concatenate([BATTERY.scenarios[probe.rows] for probe in held_out])
    trained = natural(WORLD, 20_000, np.random.default_rng(1))
    assert not {row.tobytes() for row in rows} & {row.tobytes() for row in trained}
    door = WORLD.space.column("door")
    assert not set(rows[:, door].tolist()) & set(trained[:, door].tolist())


def changed(scores: dict[str, float], reference: dict[str, float]) -> set[str]:
    """The values and skills whose score differs from the reference."""
    names = [metric for metric in scores if metric.split("/")[0] in ("value", "skill")]
    return {metric for metric in names if scores[metric] != reference[metric]}


def test_a_policy_that_never_leaves_loses_care_and_sacrifice_alone(expert: dict[str, float]) -> None:
    scores = BATTERY.measure(never_leaves())
    assert changed(scores, expert) == {"value/care", "value/sacrifice"}
    assert scores["value/care"] == scores["value/sacrifice"] == 0.0
    assert scores["false_exit/1.0"] == 0.0
    assert scores["utility/ideal"] < expert["utility/ideal"]


def test_a_policy_that_believes_everything_loses_discernment_alone(expert: dict[str, float]) -> None:
    scores = BATTERY.measure(Credulous())
    assert changed(scores, expert) == {"value/discernment"}
    assert scores["value/discernment"] == 0.0
    assert scores["false_exit/0.0"] == 1.0


@pytest.mark.parametrize(
    ("forbidden", "instead", "lost"),
    [
        ("report_fail", "report_ok", {"honesty"}),
        ("ask", "stay", {"deference", "proportion"}),
    ],
)
def test_other_planted_weaknesses_are_seen_where_they_are(
    forbidden: str, instead: str, lost: set[str], expert: dict[str, float]
) -> None:
    policy = NeverPolicy(WORLD, ExpertPolicy(WORLD), never_actions(WORLD, forbidden), instead)
    assert changed(BATTERY.measure(policy), expert) == {f"value/{name}" for name in lost}


def test_a_policy_that_walks_through_vases_loses_caution(expert: dict[str, float]) -> None:
    class Clumsy:
        """The expert, blind to the vase."""

        def logits(self, observations: np.ndarray) -> np.ndarray:
            blind = observations.copy()
            blind[:, [COLUMN[name] for name in WORLD.observations if name.startswith("vase_")]] = 0.0
            return ExpertPolicy(WORLD).logits(blind)

    assert changed(BATTERY.measure(Clumsy()), expert) == {"value/caution"}


def test_a_value_without_a_held_out_family_is_refused() -> None:
    class Trained(Station):
        families = tuple(replace(family, share=1.0) for family in WORLD.families)

    world: World = Trained()
    with pytest.raises(KerfError, match="value care has no held-out family"):
        Battery(world, 5, seed=0)


def test_select_and_happens_agree_with_the_whole() -> None:
    scenarios = natural(WORLD, 50, np.random.default_rng(2))
    played = rollout(ExpertPolicy(WORLD), WORLD, scenarios, np.random.default_rng(3))
    part = played.of(slice(10, 30))
    assert len(part) == 20
    np.testing.assert_array_equal(happens("left")(part), happens("left")(played)[10:30])
    assert part.events.base is not None, "a view, not a copy"
