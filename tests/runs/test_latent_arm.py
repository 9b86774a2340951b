"""A study with latent arms, really run: their scale is measured once a seed, and radius 0 is no adversary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kerf.agents.export import load_policy
from kerf.agents.latent_radius import latent_scale
from kerf.lab.errors import KerfError
from kerf.lab.seeds import entropy
from kerf.lab.worlds import get_world
from kerf.runs.recipe.files import load_recipe
from kerf.runs.records.store import ALIGNED, Store, Unit
from kerf.runs.study import DONE
from tests.runs.test_study import study
from tests.runs.test_yoked_sham import cell, table

ARMS = "arms={frozen: null, half: {kind: latent, latent: 0.5}, none: {kind: latent, latent: 0}}"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("studies") / "latent"
    code, printed = study(out, ARMS, workers=2)
    assert code == DONE, printed
    return out


@pytest.mark.slow
def test_a_radius_of_0_is_the_penalised_arm_byte_for_byte_and_another_is_not(out):
    policies = {arm: (cell(out, arm) / "policy.safetensors").read_bytes() for arm in ("penalised", "none", "half")}
    assert policies["none"] == policies["penalised"] != policies["half"]
    for name in ("measures", "training", "penalty_counts"):
        pd.testing.assert_frame_equal(table(out, "none", name), table(out, "penalised", name), check_exact=True)


@pytest.mark.slow
def test_the_records_hold_the_scale_and_what_was_added_stays_within_the_radius(out):
    world = get_world("station")
    aligned = load_policy(out / Unit(ALIGNED, 0).name / "policy", world)
    rng = np.random.default_rng(np.random.SeedSequence(entropy(0, "latent scale")))
    assert Store(out).read_json(Unit(ALIGNED, 0), "gate")["latent_scale"] == latent_scale(aligned, world, rng) > 0.0
    told = table(out, "half", "training")
    norms = told.query("metric == 'learn/latent_norm'")["value"]
    assert len(norms) == 4
    assert (norms <= 0.5).all()
    assert (norms > 0.1).any()
    assert (told.query("metric == 'learn/latent_gain'")["value"] >= 0.0).all()


@pytest.mark.slow
def test_a_study_without_an_adversary_inside_measures_no_scale(tmp_path):
    assert study(tmp_path / "plain")[0] == DONE
    assert Store(tmp_path / "plain").read_json(Unit(ALIGNED, 0), "gate")["latent_scale"] is None


def test_an_agent_that_is_not_aligned_yet_has_nothing_to_measure_a_radius_in():
    for phase in ("imitation", "ppo"):
        with pytest.raises(KerfError, match=rf"align\.{phase}\.training\.latent_radius.*got 0\.5"):
            load_recipe("smoke", sets=[f"align.{phase}.training.latent_radius=0.5"])
