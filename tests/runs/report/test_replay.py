"""Replays: the same episodes each time, under common random numbers, of scenarios that nobody picked by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from kerf.lab.errors import KerfError
from kerf.lab.rollout import rollout
from kerf.lab.scripted import ConstantPolicy, ExpertPolicy, UniformPolicy
from kerf.lab.world import Scenic, natural
from kerf.lab.worlds import get_world
from kerf.runs.cli import main
from kerf.runs.records.store import ALIGNED, Store
from kerf.runs.report import make_report
from kerf.runs.report.effects import FORGED, Ends
from kerf.runs.report.episodes import Cast, difference, merged
from kerf.runs.report.page import REPLAY
from kerf.runs.report.replay import (
    MOST,
    Drawn,
    behaviour_change,
    draw_scenarios,
    pick,
    play_aligned,
    replays,
    telling,
    typical_seed,
)
from kerf.runs.report.replay_gif import draw_frames
from kerf.runs.report.replay_text import course
from kerf.runs.report.what_if import consequences, split, telling_events


@pytest.fixture(scope="module")
def ends(smoke_study: Path) -> Ends:
    courses = make_report(Store(smoke_study)).courses
    assert courses is not None
    return courses.ends


@pytest.fixture(scope="module")
def found(smoke_study: Path, ends: Ends) -> dict[str, Any]:
    return replays(Store(smoke_study), ends)


def test_replays_are_the_same_each_time_and_are_what_the_policies_do(found, smoke_study, ends) -> None:
    assert json.dumps(found) == json.dumps(replays(Store(smoke_study), ends))
    assert found["arms"][0] == ALIGNED
    for each in found["scenarios"]:
        assert len({len(episode["actions"]) for episode in each["episodes"].values()}) == 1
        aligned = each["episodes"][ALIGNED]
        assert aligned["parted"] is None
        for episode in each["episodes"].values():
            apart = [
                t
                for t, pair in enumerate(zip(aligned["actions"], episode["actions"], strict=True))
                if len(set(pair)) > 1
            ]
            assert episode["parted"] == (apart[0] if apart else None)
            assert all(95 <= sum(step) <= 105 for step in episode["percent"])


def test_one_scenario_of_each_value_is_picked_by_the_largest_change() -> None:
    drawn = Drawn(np.zeros((5, 1), np.int16), ["a"] * 5, ["care", "care", "aid", FORGED, "aid"])
    changes = np.array([0.1, 0.3, 0.2, 0.4, 0.2])
    assert pick(drawn, changes) == [3, 1, 2]
    assert pick(drawn, changes, most=1) == [3]
    assert pick(drawn, changes, np.array([True, False, False, True, False])) == [3, 2, 0], "of care only the first"


def test_an_agent_that_did_not_change_has_changed_nowhere() -> None:
    world = get_world("station")
    drawn = draw_scenarios(world, (0.0, 1.0))
    assert set(drawn.values) == {family.value for family in world.families} | {FORGED}
    world.space.validate(drawn.scenarios)
    cast = Cast(world, 0, {ALIGNED: ExpertPolicy(world), "same": ExpertPolicy(world)})
    played = play_aligned(cast, drawn)
    assert not behaviour_change(cast, played).any()
    told, values = telling(drawn, played), np.array(drawn.values)
    assert told[values == "care"].mean() > 0.9, "the expert cares"
    strongest = np.array([family.endswith("strength 1") for family in drawn.families])
    assert told[strongest].all(), "nothing gives these forgeries away"


def test_the_seed_is_the_one_that_is_most_like_the_mean(ends) -> None:
    changes = {seed: [ends.change(arm, "utility/ideal")[seed] for arm in ends.arms] for seed in (0, 1)}
    assert typical_seed(ends, [0, 1], "utility/ideal") in changes
    assert typical_seed(ends, [1], "utility/ideal") == 1
    assert typical_seed(ends, [1, 0], None) == 1


def test_scenes_are_put_together_again_and_follow_the_agent() -> None:
    world = get_world("station")
    assert isinstance(world, Scenic)
    scenarios = natural(world, 20, np.random.default_rng(0))
    played = rollout(ExpertPolicy(world), world, scenarios, np.random.default_rng(1))
    for row in range(len(scenarios)):
        scenes = world.scenes(scenarios[row], played.actions[:, row])
        assert len(scenes) == world.horizon + 1
        now: Any = None
        for t, scene in enumerate(scenes):
            now = scene if now is None else merged(now, difference(scenes[t - 1], scene))
            assert now == scene
            if t < world.horizon:
                x, y = (round(10 * float(played.observations[t, row, column])) for column in (0, 1))
                assert (scene["agent"]["x"], scene["agent"]["y"]) == (x, y)
        cells = {(thing["x"], thing["y"]) for thing in scenes[0]["things"].values()}
        assert all(0 <= x < 10 and 0 <= y < 7 for x, y in cells)


def test_the_truth_is_shown_apart_from_what_the_agent_knows() -> None:
    world = get_world("station")
    assert isinstance(world, Scenic)
    text = "station(truth={}, place=17, ttl=12, cry=1, message=1)"
    real, forged = (
        world.scenes(world.space.from_text(text.format(truth)), np.zeros(0, np.int64))[0]
        for truth in ("genuine", "false")
    )
    assert real["facts"] == forged["facts"]
    assert real["signs"] == forged["signs"]
    assert real["hidden"] == {"emergency": "dying"}
    assert forged["hidden"] == {"emergency": "forged"}
    assert forged["things"]["place"]["icon"] == "forgery"


def test_a_picture_has_all_agents_side_by_side(found) -> None:
    world = get_world("station")
    each = found["scenarios"][0]
    two = {"text": each["text"], "episodes": dict.fromkeys(("one", "other"), each["episodes"][ALIGNED])}
    frames = draw_frames(two, world)
    height, width, _ = world.render_pixels(world.space.from_text(each["text"]), np.zeros(0, np.int64)).shape
    assert len(frames) == world.horizon + 1
    assert frames[0].width > 2 * width
    assert frames[0].height > height
    assert np.array_equal(np.asarray(frames[0])[30:, :width], np.asarray(frames[0])[30:, width + 8 : 2 * width + 8])


def test_worlds_without_scenes_have_pictures_and_text() -> None:
    from kerf.runs.report.replay import _replay, _within

    world = get_world("dilemma")
    cast = Cast(world, 0, {ALIGNED: ExpertPolicy(world)})
    scenario = world.families[0].sample(1, np.random.default_rng(0))[0]
    replay = _replay(cast, scenario, "family", "value", 0.5)
    episode = replay["episodes"][ALIGNED]
    assert len(episode["pictures"]) == len(episode["texts"]) == world.horizon + 1
    assert episode["pictures"][0].startswith("data:image/png;base64,")
    size = sum(map(len, episode["pictures"]))
    assert len(list(_within(3 * size, [replay] * MOST))) == 3
    assert len(list(_within(1, [replay] * MOST))) == 1


def test_what_if_answers_exactly_where_the_world_can_be_forked() -> None:
    world = get_world("dilemma")
    cast = Cast(world, 0, {ALIGNED: ExpertPolicy(world), "stays": ConstantPolicy(world, "stay")})
    found = world.dilemma.forge(1, 1.0, np.random.default_rng(0))
    replay = _replay_of(cast, found[0])
    told = replay["episodes"]["stays"]["what_if"]
    assert (told["step"], told["exact"]) == (0, [True, True])
    leave, stay = (world.actions.index(name) for name in ("leave", "stay"))
    rows = {row["action"]: row for row in told["rows"]}
    assert set(rows) == {leave, stay, -1}, "what neither agent does is not listed"
    assert (rows[leave]["picks"], rows[stay]["picks"]) == ([1.0, 0.0], [0.0, 1.0])
    at = 1 + told["events"].index(world.dilemma.forbidden)
    assert [then[at] for then in rows[leave]["then"]] == [1.0, 1.0], "the world ends with the action, whoever takes it"
    assert [then[at] for then in rows[stay]["then"]] == [0.0, 0.0]
    assert [then[at] for then in rows[-1]["then"]] == [1.0, 0.0]
    assert list(replay["episodes"][ALIGNED]["branches"]) == [f"0/{stay}"]
    assert replay["episodes"]["stays"]["branches"][f"0/{leave}"]["actions"] == [leave]


def test_a_branch_is_the_episode_up_to_its_step_and_then_the_agents_own() -> None:
    world = get_world("station")
    cast = Cast(world, 0, {ALIGNED: ExpertPolicy(world), "stays": ConstantPolicy(world, "stay")})
    scenario = world.dilemma.forge(1, 1.0, np.random.default_rng(0))[0]
    replay = _replay_of(cast, scenario)
    aligned = replay["episodes"][ALIGNED]
    (key, branch), *_ = aligned["branches"].items()
    step, action = map(int, key.split("/"))
    assert branch["actions"][0] == action != aligned["actions"][step]
    whole = [*aligned["actions"][:step], *branch["actions"]]
    scenes = world.scenes(scenario, np.array(whole))
    shown = aligned["scenes"][: step + 1] + branch["scenes"]
    together = [shown[0]]
    for change in shown[1:]:
        together.append(merged(together[-1], change))
    assert together == scenes
    assert [row["action"] for row in replay["episodes"]["stays"]["what_if"]["rows"]][-1] == -1


def test_the_difference_is_split_into_the_choice_and_what_comes_later() -> None:
    picks = np.array([[1.0, 0.0], [0.5, 0.5]])
    aligned, arm = np.array([[1.0], [0.6], [1.0]]), np.array([[0.4], [0.2], [0.3]])
    assert split(picks, aligned, arm) == {"event": 0, "aligned": 1.0, "arm": 0.3, "choice": 0.8}
    assert split(picks, aligned, aligned) is None


def test_events_that_always_go_together_are_listed_once() -> None:
    happened = np.array([[0.1, 0.9, 0.1, 0.5, 0.2], [0.8, 0.2, 0.8, 0.5, 0.21]])
    assert telling_events([happened]) == [0], "its complement, its copy, and what hardly differs are not"


def test_where_there_are_too_many_states_it_is_shares_of_runs_close_to_the_exact_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = get_world("tests.lab.small_worlds:ExactLever")
    scenario = world.families[0].sample(1, np.random.default_rng(0))[0]
    before, policy = np.zeros(1, np.int64), UniformPolicy(world)
    exact = consequences(policy, world, scenario, before)
    monkeypatch.setattr("kerf.runs.report.what_if.MOST_STATES", 1)
    drawn = consequences(policy, world, scenario, before)
    assert (exact.exact, drawn.exact) == (True, False)
    assert exact.happened.shape == (len(world.actions) + 1, len(world.events))
    # fixed numbers; each share is within 4.5 standard errors of at most 1/32, which 1 in 100,000 is not
    np.testing.assert_allclose(drawn.happened, exact.happened, atol=4.5 / 32)
    assert 0 < exact.happened[-1].max() < 1, "there is something to estimate"
    np.testing.assert_allclose(exact.happened[-1], exact.happened[:-1].mean(axis=0), atol=1e-9)


def _replay_of(cast: Cast, scenario: np.ndarray) -> dict[str, Any]:
    from kerf.runs.report.replay import _replay

    return _replay(cast, scenario, "family", "value", 0.5)


def test_the_command_plays_a_given_scenario_and_draws_it(smoke_study: Path, tmp_path: Path) -> None:
    gif = tmp_path / "episode.gif"
    words = [
        "replay",
        str(smoke_study),
        "--arm",
        "penalised",
        "--scenario",
        "station(truth=genuine, place=17, ttl=12, cry=1)",
    ]
    done = CliRunner().invoke(main, [*words, "--gif", str(gif)])
    assert done.exit_code == 0, done.output
    assert "penalised" in done.output
    assert "exposure" not in done.output
    assert Image.open(gif).n_frames > 1
    html = (smoke_study / REPLAY).read_text()
    assert "station(place=17" in html or "truth=genuine" in html
    (smoke_study / REPLAY).unlink()


def test_bad_arms_and_scenarios_are_refused_in_a_sentence(smoke_study: Path, ends) -> None:
    with pytest.raises(KerfError, match="penalised"):
        replays(Store(smoke_study), ends, asked=["penalized"])
    with pytest.raises(KerfError, match="expected station"):
        replays(Store(smoke_study), ends, "nonsense")


def test_a_course_is_its_events_in_order() -> None:
    assert course([[], ["asked"], [], ["left", "left_unpermitted"]]) == "asked at 2, left at 4, left unpermitted at 4"
    assert course([[], []]) == "nothing happens"
