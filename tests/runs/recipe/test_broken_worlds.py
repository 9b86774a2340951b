"""Worlds that cannot be studied are refused before training, in a sentence: by `kerf check`, and by `kerf run`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from kerf.lab.compiled import uncompiled
from kerf.lab.scenario import Scenarios
from kerf.lab.soundness import declared_faults, played_faults
from kerf.lab.world import natural
from kerf.lab.worlds import get_world, known_worlds
from kerf.runs.cli import main
from tests.lab.small_worlds import ExactLever, ExactLeverPlay
from tests.lab.testing.broken_worlds import dilemma, families, having, playing, sampling, scoring


def no_skill() -> ExactLever:
    world = ExactLever()
    world.values = tuple(replace(value, skill=False) for value in world.values)
    return world


unknown_ideal = having(ideal={**ExactLever.ideal, "rescuedd": 1.0})
forbidden_is_no_event = dilemma(forbidden="left_unpermited")
tell_is_no_field = dilemma(tells=("tel",))
tell_is_no_flag = dilemma(tells=("place",))
too_few_observations = having(observations=ExactLever.observations[:-1])


class TooManyObservations(ExactLever):
    observations = (*ExactLever.observations, "place_3")

    def begin(self, scenarios: Scenarios) -> ExactLeverPlay:
        return SeesSeven(scenarios)


class SeesSeven(ExactLeverPlay):
    def observe(self, out: Any) -> None:
        super().observe(out[:, :7])


no_expert = having(expert=None)
expert_of_floats = having(expert=lambda self, seen: ExactLever.expert(self, seen) * 1.0)
expert_beyond_actions = having(expert=lambda self, seen: ExactLever.expert(self, seen) + 9)
scores_too_high = scoring(lambda played: played.when("worked").sum(axis=0) * 1.0)
score_of_another_shape = scoring(lambda played: played.when("worked") * 1.0)
score_of_no_event = scoring(lambda played: played.happened("workt") * 1.0)
unknown_value = families(lambda world, family: replace(family, value="car"), "care/near")
no_held_out = families(lambda world, family: replace(family, share=1.0))
no_scenarios = sampling(lambda family, n, rng: family.sample(n, rng) + np.int16(2))
ends_early = having(horizon=4)
unknown_events = playing(step=lambda sound, self, actions, events: events.fill(1 << 40))


class ValuesOfWords(ExactLever):
    def __init__(self) -> None:
        super().__init__()
        self.values = ("care", "diligence")  # type: ignore[assignment]


class ManyFaults(ExactLever):
    def __init__(self) -> None:
        super().__init__()
        self.ideal = {**ExactLever.ideal, "rescuedd": 1.0}
        self.dilemma = replace(self.dilemma, tells=("tel",))


REFUSED = {
    "no_skill": "at least one value must be a skill (skill=True), to tell lost competence from lost values",
    "unknown_ideal": "ideal: unknown event 'rescuedd'; did you mean 'rescued'",
    "forbidden_is_no_event": "dilemma.forbidden: unknown event 'left_unpermited'; did you mean 'left_unpermitted'",
    "tell_is_no_field": "dilemma.tells: unknown field of lever 'tel'; did you mean 'tell'",
    "tell_is_no_flag": "dilemma.tells: place must be a flag (0 or 1) that is not hidden",
    "too_few_observations": "observe must write the 6 numbers that `observations` names",
    "TooManyObservations": "observe leaves 'place_3', one of the 8 `observations`, unwritten or not finite",
    "no_expert": "expert must be a method, got None",
    "expert_of_floats": "expert must give int64",
    "expert_beyond_actions": "expert: an action is none of the 4",
    "scores_too_high": "score of diligence outside [0, 1]",
    "score_of_another_shape": "score of diligence must be float64",
    "score_of_no_event": "score of diligence raises ValueError(",
    "unknown_value": "family care/near: unknown value 'car'; did you mean 'care'",
    "no_held_out": "value care needs a held-out family (share 0)",
    "no_scenarios": "family care/near draws what is no scenario: lever, row 0: truth must be in",
    "ends_early": "an episode must last 4 steps, it ended after 3",
    "unknown_events": "step 0: a bit is set that is none of the 6 events",
    "ValuesOfWords": "its values cannot be read: AttributeError",
    "ManyFaults": "ideal: unknown event 'rescuedd'",
}
"""Factory of this module -> the sentence, or the first of them."""

RECIPE = {
    "name": "mine",
    "arms": {"continued": {}, "penalised": {}},
    "primaries": [
        {
            "name": "p",
            "arm": "penalised",
            "against": "continued",
            "metric": "value/care",
            "direction": "decrease",
            "falsified_by": "care stays",
        }
    ],
}


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Gives a command a recipe with this world, and gives back the sentence with which it was refused."""
    monkeypatch.chdir(tmp_path)

    def refused(world: str, command: str) -> str:
        Path("mine.yaml").write_text(yaml.safe_dump({**RECIPE, "world": f"{__name__}:{world}"}))
        done = CliRunner().invoke(main, [command, "mine.yaml", *(["--no-mlflow"] if command == "run" else [])])
        assert done.exit_code == 2, done.output
        assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith(f"kerf: mine.yaml: world '{__name__}:{world}': ")
        return done.stderr

    return refused


@pytest.mark.parametrize(("world", "sentence"), REFUSED.items())
def test_a_broken_world_is_refused_in_a_sentence(world, sentence, refused):
    assert f": {sentence}" in refused(world, "check")


@pytest.mark.parametrize("world", ["no_skill", "too_few_observations"])
def test_it_is_refused_before_anything_is_trained_too(world, refused):
    assert f": {REFUSED[world]}" in refused(world, "run")


def test_every_fault_is_named_at_once(refused):
    assert "; dilemma.tells: unknown field of lever 'tel'" in refused("ManyFaults", "check")


@pytest.mark.parametrize("name", known_worlds())
def test_worlds_that_are_sound_have_no_fault(name):
    world = get_world(name)
    assert declared_faults(world) == []
    assert played_faults(world) == []


def test_a_first_episode_is_the_same_uncompiled():
    """What is looked at without numba is what is trained in."""
    with uncompiled():
        plain = _episode()
    for one, other in zip(plain, _episode(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)
    assert plain[1].any()


def _episode() -> tuple[Any, ...]:
    world = get_world("station")
    rng = np.random.default_rng(3)
    scenarios = natural(world, 6, rng)
    batch, events = world.begin(scenarios), np.zeros((world.horizon, 6), np.uint64)
    seen = np.zeros((world.horizon, 6, len(world.observations)), np.float32)
    for t in range(world.horizon):
        batch.observe(seen[t])
        batch.step(world.expert(seen[t]), events[t])
    return seen, events.astype(np.float64)
