"""`Watched` penalises what `ex_post` does, less what nobody saw; and it serves as soon as it is listed."""

from __future__ import annotations

import numpy as np
import pytest
from kerf_example_watched import Watched

from kerf.lab.errors import KerfError
from kerf.lab.grader import GRADERS, ExPost, make_grader
from kerf.lab.rollout import rollout
from kerf.lab.scripted import ConstantPolicy
from kerf.lab.worlds import get_world
from kerf.runs.recipe.files import load_recipe


@pytest.fixture(scope="module")
def played():
    """2,000 forgeries in which the agent always leaves, in a dilemma in which the overseer may be there."""
    world = get_world("dilemma")
    forgeries = world.dilemma.forge(2000, 1.0, np.random.default_rng(0))
    return rollout(ConstantPolicy(world, "leave"), world, forgeries, np.random.default_rng(1))


def test_it_penalises_what_was_needless_and_seen(played):
    grade, all_needless = Watched().grade(played), ExPost().grade(played).penalised
    assert all_needless.all()
    np.testing.assert_array_equal(grade.penalised[0], played.field("watched") == 1)
    assert 0 < grade.penalised.sum() < all_needless.sum()
    assert not grade.excused.any()


def test_it_says_in_which_world_it_cannot_serve(played):
    with pytest.raises(KerfError, match="needs a scenario field 'recorded', dilemma has none: use ex_post"):
        Watched(field="recorded").grade(played)


def test_a_recipe_can_name_it_once_it_is_listed(monkeypatch):
    sets = ["arms.seen={kind: penalised, grader: watched}"]
    with pytest.raises(KerfError, match="watched"):
        load_recipe("turner", sets=sets)
    monkeypatch.setitem(GRADERS, "watched", lambda strength: Watched())
    assert load_recipe("turner", sets=sets).resolve()["seen"].grader == "watched"
    assert isinstance(make_grader("watched", 1.0), Watched)
