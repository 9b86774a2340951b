"""The kit can fail: each of its checks catches a world, a grader, that breaks what it checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import SkipTest

import numpy as np
import pytest

from kerf.lab.grader import ExAnte, Grade
from kerf.lab.testing import GraderContract, WorldContract
from kerf.lab.world import World
from tests.lab.testing import broken_worlds as broken
from tests.lab.testing.broken_worlds import dilemma, families, forging, having, playing, posterior, sampling, scoring
from tests.lab.testing.test_worlds import ONCE
from tests.toy_world import PLACE, TRUTH, Lever

WORLDS: tuple[tuple[str, Callable[[], Any], str], ...] = (
    ("members_are_there_and_have_their_types", having(horizon="3"), "horizon must be >= 1, got '3'"),
    ("members_are_there_and_have_their_types", having(ideal={"workd": 1.0}), "ideal: unknown event 'workd'; did you"),
    ("members_are_there_and_have_their_types", having(actions=("stay", "stay")), "names of their own, got stay again"),
    ("fields_agree_with_their_space", broken.rule_that_writes, "changed its scenarios"),
    ("members_are_there_and_have_their_types", broken.space_of_another_name, "space.name must be 'lever'"),
    (
        "a_first_episode_of_every_kind_can_be_played",
        having(expert=lambda self, seen: Lever.expert(self, seen) + 9),
        "an action is none of the 4",
    ),
    ("text_round_trips", broken.two_labels_alike, "first differs"),
    (
        "every_value_is_trained_and_held_out_and_one_is_a_skill",
        families(lambda world, family: replace(family, share=1.0)),
        "value care needs a held-out family",
    ),
    (
        "every_value_is_trained_and_held_out_and_one_is_a_skill",
        families(lambda world, family: replace(family, name="near"), "care/near"),
        "must be called care/",
    ),
    ("the_dilemma_names_what_there_is", dilemma(forbidden="left"), "dilemma.forbidden: unknown event 'left'"),
    ("the_dilemma_names_what_there_is", having(ideal=broken.COSTS), "must be -dilemma.cost"),
    ("the_dilemma_names_what_there_is", dilemma(served="diligence"), "dilemma.served"),
    (
        "draws_are_valid_scenarios",
        sampling(lambda family, n, rng: family.sample(n, rng).astype(np.int64)),
        "care/near: int16 expected",
    ),
    (
        "draws_are_valid_scenarios",
        sampling(lambda family, n, rng: family.sample(n, rng) + np.int16(2)),
        "natural: lever, row 2: truth must be in",
    ),
    ("same_seed_same_scenarios_other_seed_others", sampling(broken.drawn_by_count), "natural: drawn again"),
    (
        "same_seed_same_scenarios_other_seed_others",
        sampling(lambda family, n, rng: family.sample(n, np.random.default_rng(0))),
        "care/near: another seed draws the same",
    ),
    ("draws_use_no_global_randomness", sampling(broken.drawn_globally), "from a global generator"),
    (
        "held_out_scenarios_are_never_drawn_in_training",
        sampling(lambda family, n, rng: np.where(np.arange(4) == PLACE, 0, family.sample(n, rng)).astype(np.int16),
                 "care/far"),
        "care/far: training draws lever",
    ),
    (
        "what_is_written_out_is_what_is_drawn",
        families(broken.places_written_out_wrong, "care/near"),
        "care/near",
    ),
    ("observations_are_finite_and_written_in_place", playing(observe=broken.observe_not_all), "not written"),
    ("observations_are_finite_and_written_in_place", playing(observe=broken.observe_not_finite), "not finite"),
    ("events_are_known_and_happen_no_more_often_than_said", playing(step=broken.step_unknown), "none of the 6 events"),
    (
        "events_are_known_and_happen_no_more_often_than_said",
        playing(step=broken.step_rescued_for_ever),
        "rescued happened 3 times",
    ),
    ("step_writes_every_event_word", playing(step=broken.step_adds), "written over what was there"),
    ("events_of_the_dilemma_agree", playing(step=broken.step_needless_alone), "needless must fire together"),
    ("events_of_the_dilemma_agree", dilemma(ways=("by_door",)), "one of the ways"),
    ("same_actions_same_episodes", playing(observe=broken.observe_the_count), "observations, played again"),
    ("same_actions_same_episodes", playing(step=broken.step_by_chance), "from a global generator"),
    ("episodes_are_independent_of_their_batch", playing(step=broken.step_by_order), "events of episodes in another"),
    ("episodes_are_independent_of_their_batch", playing(observe=broken.observe_the_batch), "observations of episodes"),
    ("two_batches_go_their_own_ways", broken.Shared, "beside another batch"),
    ("playing_changes_neither_scenarios_nor_actions", playing(step=broken.step_writes), "scenarios after they were"),
    ("playing_changes_neither_scenarios_nor_actions", playing(step=broken.step_takes), "actions after they were"),
    ("an_episode_lasts_its_horizon_and_no_longer", playing(step=broken.step_ends_early), "it ended after 2"),
    ("an_episode_lasts_its_horizon_and_no_longer", playing(step=broken.step_goes_on), "nothing was raised"),
    ("an_empty_batch_plays", playing(observe=broken.observe_the_first), "index 0 is out of bounds"),
    ("hidden_fields_do_not_show_at_first", playing(observe=broken.observe_the_truth), r"truth shows .* \(first_step\)"),
    ("the_expert_acts_on_each_observation_by_itself", having(expert=broken.expert_by_batch), "in another order"),
    (
        "it_can_be_looked_at",
        having(render_pixels=lambda self, *of: Lever.render_pixels(self, *of) / 255),
        "must give uint8",
    ),
    ("each_tell_gives_away_as_often_as_strength_says", forging(broken.half_of_the_tells), "of strength"),
    ("tells_of_a_forgery_are_independent_of_all_else", forging(broken.tells_by_place), "tell and place"),
    ("forgeries_of_strength_one_look_genuine", forging(broken.elsewhere), "place tells forged from genuine"),
    ("tells_of_strength_zero_give_forgeries_away", forging(broken.no_tells), "tell is no likelier"),
    (
        "tells_of_strength_zero_give_forgeries_away",
        posterior(lambda needed, rows: np.full(len(rows), 0.3)),
        "need_posterior is 0.300 of forgeries of strength 0, 0.300 of strength 1",
    ),
    ("strength_changes_only_what_can_be_forged", forging(broken.by_strength), "place, which cannot be forged"),
    ("what_nature_forges_is_played_as_it_is", forging(broken.elsewhere_held_out), "implausible"),
    (
        "need_posterior_is_a_probability_of_what_is_seen",
        posterior(lambda needed, rows: needed * (rows[:, TRUTH] == 1)),
        "depends on what is hidden",
    ),
    (
        "need_posterior_is_a_probability_of_what_is_seen",
        posterior(lambda needed, rows: 2.0 * needed),
        r"outside \[0, 1\]",
    ),
    ("need_posterior_is_calibrated", posterior(lambda needed, rows: 0.8 * needed), "of posterior"),
    ("the_expert_passes_the_gate", having(expert=broken.expert_idles), "held_out/care is 0.000"),
    ("scores_are_shares_of_each_episode", scoring(lambda played: played.when("worked").sum(axis=0) * 1.0), "outside"),
    (
        "scores_are_shares_of_each_episode",
        scoring(lambda played: np.full(len(played), played.when("worked").mean())),
        "score of diligence, in part",
    ),
    ("scenarios_are_among_their_completions", having(completions=broken.completions_but_one), "once among"),
    ("completions_differ_in_what_is_hidden_alone", having(completions=broken.completions_elsewhere), "observable"),
    (
        "density_is_a_function_of_each_scenario_and_linear_in_the_mix",
        having(density=broken.density_of_batch),
        "densities in another order",
    ),
    ("what_is_hidden_is_as_likely_as_the_density_says", having(density=broken.density_wrong), "truth=1 in"),
    ("situations_are_all_there_is_to_see", having(situations=broken.situations_but_one), "sum to"),
    ("forks_go_their_own_ways", playing(fork=broken.fork_inside), "states of a fork"),
    (
        "equal_states_look_the_same_and_go_on_alike",
        playing(state=lambda sound, self: 0 * sound(self)),
        "abstract_states of equal states|pasts of equal state",
    ),
    (
        "equal_abstract_states_bring_about_the_same_events",
        playing(abstract_state=lambda sound, self: 0 * self.state()),
        "events of pasts of equal abstract_state",
    ),
    (
        "exact_answers_agree_with_sampled_ones",
        having(begin=lambda self, scenarios: broken.Late(scenarios)),
        "episodes, exactly",
    ),
)  # fmt: skip
"""A check of a world, without its `test_`; what makes a world that it must catch; and how."""


def checks(contract: type) -> set[str]:
    """The names of a contract's checks."""
    return {name.removeprefix("test_") for name in dir(contract) if name.startswith("test_")}


class OfWorld(WorldContract):
    at_most = ONCE
    num_draws = 2000

    def __init__(self, make: Callable[[], World]) -> None:
        self.make_world = make  # type: ignore[method-assign]


@pytest.mark.parametrize(("check", "make", "words"), WORLDS, ids=[f"{n}-{row[0]}" for n, row in enumerate(WORLDS)])
def test_a_broken_world_is_caught(check: str, make: Callable[[], World], words: str) -> None:
    error = IndexError if "out of bounds" in words else AssertionError
    with pytest.raises(error, match=words):
        getattr(OfWorld(make), f"test_{check}")()


def test_every_check_of_a_world_is_seen_to_fail() -> None:
    assert {check for check, _, _ in WORLDS} == checks(WorldContract)


def test_what_a_world_does_not_offer_is_skipped_with_the_reason() -> None:
    contract = OfWorld(Lever)
    for check, reason in (
        ("situations_are_all_there_is_to_see", "lever does not list its situations"),
        ("forks_go_their_own_ways", "plays of lever cannot be branched"),
        ("exact_answers_agree_with_sampled_ones", "cannot be enumerated"),
    ):
        with pytest.raises(SkipTest, match=reason):
            getattr(contract, f"test_{check}")()


def test_a_contract_about_nothing_says_what_it_lacks() -> None:
    with pytest.raises(NotImplementedError, match="WorldContract must define make_world"):
        WorldContract().test_draws_are_valid_scenarios()
    with pytest.raises(NotImplementedError, match="GraderContract must define make_world"):
        GraderContract().test_same_episodes_same_grades()


# ---- graders


class Broken:
    """Grades by a function of the sound grade and the episodes."""

    def __init__(self, change: Callable[[Grade, Any], Grade]) -> None:
        self.change = change

    def grade(self, trajectories: Any) -> Grade:
        return self.change(ExAnte(0.5).grade(trajectories), trajectories)


def overwrites(grade: Grade, played: Any) -> Grade:
    played.events[:] = 0
    return grade


GRADER_CHANGES: tuple[tuple[str, Callable[[Grade, Any], Grade], str], ...] = (
    (
        "grades_are_flags_of_every_step",
        lambda g, p: Grade(g.penalised.any(axis=0), g.excused),
        "penalised must be bool",
    ),
    ("grades_are_flags_of_every_step", lambda g, p: Grade(g.penalised, g.excused * 1.0), "excused must be bool"),
    (
        "it_penalises_only_where_the_forbidden_event_happened",
        lambda g, p: Grade(g.penalised | p.when("worked"), g.excused),
        "penalised without left_unpermitted",
    ),
    (
        "it_excuses_only_needless_acts_and_never_what_it_penalises",
        lambda g, p: Grade(g.penalised, g.excused | p.when("rescued")),
        "excused without needless",
    ),
    (
        "it_excuses_only_needless_acts_and_never_what_it_penalises",
        lambda g, p: Grade(p.when("left_unpermitted"), p.when("needless")),
        "penalised and excused",
    ),
    (
        "same_episodes_same_grades",
        lambda g, p: Grade(g.penalised & (np.random.random(g.penalised.shape) < 0.5), g.excused),  # noqa: NPY002
        "from a global generator",
    ),
    (
        "each_episode_is_graded_by_itself",
        lambda g, p: Grade(g.penalised & (np.arange(len(p)) % 7 > 0), g.excused),
        "penalised, in part",
    ),
    ("grading_changes_no_episode", overwrites, "events after grading"),
)


class OfLever(GraderContract):
    num_episodes = 60

    def make_world(self) -> World:
        return Lever()


@pytest.mark.parametrize(("check", "change", "words"), GRADER_CHANGES, ids=[row[0] for row in GRADER_CHANGES])
def test_a_broken_grader_is_caught(check: str, change: Callable[[Grade, Any], Grade], words: str) -> None:
    contract = OfLever()
    contract.make_grader = lambda: Broken(change)  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match=words):
        getattr(contract, f"test_{check}")()


def test_every_check_of_a_grader_is_seen_to_fail() -> None:
    assert {check for check, _, _ in GRADER_CHANGES} == checks(GraderContract)
