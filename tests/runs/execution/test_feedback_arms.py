"""Arms of imperfect, scheduled and screening feedback, really trained on toy worlds: which cells equal which others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from kerf.agents.averaging import averaged
from kerf.agents.export import load_policy
from kerf.lab.errors import KerfError
from kerf.lab.worlds import get_world
from kerf.runs.execution.unit import run_unit
from kerf.runs.recipe.files import load_recipe, merge
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.store import ALIGNED, POLICY, Store, Unit
from tests.runs.conftest import TOY
from tests.runs.test_exact_study import RECIPE as EXACT

PENALISED = {"kind": "penalised"}
SMALL = {"num_scenarios": 64, "advantage_scaling": "none", "learning_rate": 0.01}
ARMS: dict[str, dict[str, dict[str, Any]]] = {
    "ppo": {
        "unseen": {**PENALISED, "oversight": 0},
        "early": {},
        "late": {},
        "screened": {},
        "none": {**PENALISED, "weight_average": 0},
        "weight_average": {},
        "routed": {},
        "probe_penalty": {"strength": 0.5},
        "nowhere": {**PENALISED, "penalty_units": 0},
        "early_stop": {"stop_at": 0.2},
        "later": {"kind": "yoked", "yoked_to": "early", "yoked_delay": 2},
        "set": {**PENALISED, "plasticity": 0, "plasticity_from": 3, "plasticity_to": 3},
        "off": {**PENALISED, "frozen_by": "left_unpermitted"},
    },
    "exact": {
        "unseen": {**PENALISED, "oversight": 0},
        "missed": {**PENALISED, "grader_misses": 1},
        "never": {**PENALISED, "penalty_from": 5},
        "perfect": {**PENALISED, "oversight": 1, "grader_misses": 0, "grader_false_alarms": 0, "penalty_to": 4},
        "overseen": {"kind": "penalised", "oversight": 0.5, "penalty": 20},
        "none": {**PENALISED, "weight_average": 0},
        "whole": {**PENALISED, "weight_average": 1},
        "twin": {"kind": "penalised", "agent": "table", "weight_average": 0},
        "early_stop": {"stop_at": 0.015},
        "never_stop": {**PENALISED, "stop_at": 1},
    },
}


def recipe(way: str, folder: Path, **arms: Any) -> Recipe:
    common = {"frozen": {}, "continued": {}, "exposure": {}, "penalised": {}}
    plain: dict[str, Any] = {**(TOY if way == "ppo" else EXACT), "seeds": 1, "arms": {**common, **ARMS[way], **arms}}
    plain |= {"iterations": 4, "measure_every": 2}
    if way == "exact":
        plain["exact"] = {**plain["exact"], "imitation": {"iterations": 40, "training": {"learning_rate": 0.05}}}
    if way == "ppo":
        plain |= {
            "network": {"hidden": [8]},
            "gate": {"value": 0, "competence": 0, "fooled": 0},
            "battery": {"scenarios_per_family": 4, "strengths": [1]},
            "training": SMALL,
            "align": {
                "imitation": {"iterations": 6, "training": {**SMALL, "policy_coeff": 0, "imitation_coeff": 1}},
                "ppo": {"iterations": 0},
            },
        }
    path = folder / "feedback.yaml"
    path.write_text(yaml.safe_dump(plain))
    return load_recipe(str(path))


@pytest.fixture(scope="module", params=list(ARMS))
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The folder of a study in which every arm of a way of training is done."""
    folder = tmp_path_factory.mktemp(request.param)
    study, store = recipe(request.param, folder), Store(folder)
    for arm in (ALIGNED, *study.arms):
        for _ in run_unit(study, Unit(arm, 0), store):
            pass
    return request.param, folder


def cell(folder: Path, arm: str) -> Path:
    return folder / Unit(arm, 0).name


def weights(folder: Path, arm: str) -> bytes:
    return (cell(folder, arm) / "policy.safetensors").read_bytes()


def table(folder: Path, arm: str, name: str) -> pd.DataFrame:
    return pd.read_parquet(cell(folder, arm) / f"{name}.parquet").drop(columns="arm")


def same_cell(folder: Path, one: str, other: str) -> bool:
    names = ("measures", "training")
    tables = all(table(folder, one, name).equals(table(folder, other, name)) for name in names)
    return tables and weights(folder, one) == weights(folder, other)


def test_a_penalty_that_never_falls_leaves_the_exposure_arm(done: tuple[str, Path]) -> None:
    way, folder = done
    for arm in {"unseen", "missed", "never"} & set(ARMS[way]):
        assert same_cell(folder, arm, "exposure")
    assert not same_cell(folder, "penalised", "exposure")


def test_a_penalty_that_may_change_nothing_leaves_the_exposure_agent(done: tuple[str, Path]) -> None:
    way, folder = done
    if way == "exact":
        pytest.skip("refused with exact gradients")
    assert weights(folder, "nowhere") == weights(folder, "exposure")
    assert weights(folder, "routed") not in (weights(folder, "exposure"), weights(folder, "penalised"))


def test_a_probe_is_penalised_in_place_of_the_act(done: tuple[str, Path]) -> None:
    way, folder = done
    if way == "exact":
        pytest.skip("refused with exact gradients")
    told = table(folder, "probe_penalty", "training")
    assert (told.query("metric == 'learn/probe_loss'")["value"] > 0).all()
    assert (told.query("metric == 'sample/flagged'")["value"] > 0).all()
    assert not (told.query("metric == 'sample/penalised'")["value"] > 0).any()
    assert weights(folder, "probe_penalty") not in (weights(folder, "exposure"), weights(folder, "penalised"))


def test_a_perfect_grader_that_always_looks_leaves_the_penalised_arm(done: tuple[str, Path]) -> None:
    way, folder = done
    for arm in {"perfect", "whole", "never_stop"} & set(ARMS[way]):
        assert same_cell(folder, arm, "penalised")


def test_none_of_the_trained_weights_is_the_aligned_agent(done: tuple[str, Path]) -> None:
    way, folder = done
    assert weights(folder, "none") == weights(folder, "frozen")
    final, frozen = (table(folder, arm, "measures").query("iteration == 4") for arm in ("none", "frozen"))
    assert (final["score"].to_numpy() == frozen["score"].to_numpy()).all()
    assert table(folder, "none", "training").equals(table(folder, "penalised", "training")), "it trains as ever"
    if way == "exact":  # the table that an aligned network is copied to
        final = table(folder, "twin", "measures").query("iteration == 4")
        assert abs(final["score"].to_numpy() - frozen["score"].to_numpy()).max() < 1e-6


def test_half_of_the_weights_is_half_way(done: tuple[str, Path]) -> None:
    way, folder = done
    world = get_world(recipe(way, folder).world)
    start, end = (load_policy(cell(folder, arm) / POLICY, world) for arm in ("frozen", "penalised"))
    half = averaged(start, end, 0.5, world)
    for name, weight in half.weights().items():
        assert abs(weight - (start.weights()[name] + end.weights()[name]) / 2).max() < 1e-7
    if way == "ppo":
        found = load_policy(cell(folder, "weight_average") / POLICY, world).weights()
        assert all(found[name].tobytes() == weight.tobytes() for name, weight in half.weights().items())


def test_early_and_late_part_where_their_penalties_do(done: tuple[str, Path]) -> None:
    way, folder = done
    if way == "exact":
        pytest.skip("the same settings; see the schedule above")
    penalised = {arm: set(table(folder, arm, "penalty_counts")["iteration"]) for arm in ("penalised", "early", "late")}
    assert penalised == {"penalised": {1, 2, 3, 4}, "early": {1, 2}, "late": {3, 4}}
    first = {
        arm: table(folder, arm, "training").query("iteration <= 2")
        for arm in ("penalised", "early", "late", "exposure")
    }
    assert first["early"].equals(first["penalised"])
    assert first["late"].equals(first["exposure"])


def test_an_arm_stops_where_its_act_is_rare_enough(done: tuple[str, Path]) -> None:
    _, folder = done
    stopped = json.loads((cell(folder, "early_stop") / "stopped.json").read_text())
    level, at = stopped["level"], stopped["iteration"]
    assert 1 < at < 4
    assert stopped["suppression"] >= level
    shares = table(folder, "penalised", "training").query("metric == 'sample/penalised'")["value"].to_numpy()
    assert 1 - shares[at - 1] / shares[0] == pytest.approx(stopped["suppression"])
    assert all(1 - share / shares[0] < level for share in shares[: at - 1])
    own, full = (table(folder, arm, "training") for arm in ("early_stop", "penalised"))
    assert own.equals(full.query("iteration <= @at")), "until it stops it is the penalised arm"
    measures = table(folder, "early_stop", "measures")
    assert sorted(set(measures["iteration"])) == sorted({0, *(each for each in (2,) if each < at), at, 4})
    last, stop = (measures.query("iteration == @each")[["metric", "score", "env_steps"]] for each in (4, at))
    assert last.reset_index(drop=True).equals(stop.reset_index(drop=True))


def test_screened_episodes_are_told_and_change_the_arm(done: tuple[str, Path]) -> None:
    way, folder = done
    if way == "exact":
        pytest.skip("refused with exact gradients")
    flagged = table(folder, "screened", "training").query("metric == 'sample/flagged'")["value"]
    assert (flagged > 0).all()
    assert not (cell(folder, "screened") / "penalty_counts.parquet").exists()
    assert weights(folder, "screened") not in (weights(folder, "exposure"), weights(folder, "penalised"))


def test_twice_the_penalty_half_of_the_time_is_the_penalty(done: tuple[str, Path]) -> None:
    """With exact gradients, which are expectations."""
    way, folder = done
    if way == "ppo":
        pytest.skip("holds in expectation")
    one, other = (table(folder, arm, "measures")["score"].to_numpy() for arm in ("overseen", "penalised"))
    assert abs(one - other).max() < 1e-6
    shares = [
        table(folder, arm, "training").query("metric == 'sample/penalised'")["value"]
        for arm in ("overseen", "penalised")
    ]
    assert (shares[0].to_numpy() / shares[1].to_numpy()) == pytest.approx(0.5, rel=1e-4)


def test_an_arm_that_was_interrupted_stops_where_it_would_have(done: tuple[str, Path]) -> None:
    way, folder = done
    if way == "exact":
        pytest.skip("exact gradients keep no checkpoints")
    study, before, unit = recipe(way, folder), (cell(folder, "early_stop")), Unit("early_stop", 0)
    kept = {path.name: path.read_bytes() for path in before.iterdir()}
    for path in before.iterdir():
        path.unlink()
    before.rmdir()
    next(run := run_unit(study, unit, Store(folder), stopping=lambda: True))
    run.close()
    notes = [progress.note for progress in run_unit(study, unit, Store(folder))]
    assert notes[0] == "goes on after 1 iterations"
    assert notes[-1].startswith("stopped at iteration 2, with ")
    assert {path.name: path.read_bytes() for path in before.iterdir()} == kept


def test_penalties_come_as_often_later_and_do_not_reach_whoever_froze(done: tuple[str, Path]) -> None:
    way, folder = done
    if way == "exact":
        pytest.skip("refused with exact gradients")
    early, later = (table(folder, arm, "penalty_counts") for arm in ("early", "later"))
    assert set(early["iteration"]) == {1, 2}
    assert set(later["iteration"]) == {3, 4}
    assert early["episodes"].sum() == later["episodes"].sum() > 0
    ends = {arm: weights(folder, arm) for arm in ("set", "off", "penalised")}
    assert len(set(ends.values())) == 3
    frozen = table(folder, "off", "training").query("metric == 'sample/frozen'")["value"]
    assert (frozen > 0).all()


REFUSED = {
    "penalty_from: 3, penalty_to: 2": "penalty_from must be at most penalty_to=2, got 3",
    "kind: yoked, oversight: 0.5": "oversight: a yoked arm's penalties are those of 'penalised'",
    "kind: yoked, screened: true": "screened: a yoked arm's penalties are those of 'penalised'",
    "screened: true": "screened: what would be penalised is left out of training, so its penalty must be 0, got 10",
    "kind: exposure, grader_misses: 0.5": "grader_misses: arms of kind 'exposure' are never penalised, so the setting",
    "kind: exposure, stop_at: 0.5": "stop_at: it stops when what is penalised is suppressed, and 'exposure' arms have",
    "kind: late, stop_at: 0.5": "stop_at: suppression is measured against the first iteration, .* so penalty_from must",
    "oversight_cue: place": "oversight_cue: expected a sign of world 'lever' that changes nothing, left out",
    "kind: latent, penalty_units: 0.5": "penalty_units: a latent adversary perturbs all units of that layer",
    "kind: screened, probe: 1": "probe: it is penalised in flagged episodes, which `screened` leaves out",
    "kind: yoked, probe: 1": "probe: a yoked arm's penalties are those of 'penalised'",
    "oversight: 1.5": "oversight must be <= 1.0, got 1.5",
    "penalty_from: 0": "penalty_from must be >= 1, got 0",
    "plasticity_to: 2": "plasticity_to: the learning rate stays as it is; set `plasticity`",
    "plasticity: 0.5, plasticity_from: 3, plasticity_to: 2": "plasticity_from must be at most plasticity_to=2, got 3",
    "plasticity: 1.5": "plasticity must be <= 1.0, got 1.5",
    "yoked_delay: 2": "yoked_delay: only a yoked arm has one",
    "kind: yoked, yoked_delay: 2": "yoked_delay: penalties of 'penalised' fall until the last iteration, and 2",
    "kind: yoked, yoked_to: early, yoked_delay: 3": "yoked_delay: penalties of 'early' fall until iteration 2, and 3",
    "frozen_by: by_windw": "frozen_by: unknown event 'by_windw'; did you mean 'by_window'",
    "kind: frozen, frozen_by: by_window": "frozen_by: this arm does not train, so the setting has no effect",
    "kind: frozen, weight_average: 0.5": "weight_average: this arm does not train, so the setting has no effect",
}


@pytest.mark.parametrize(("settings", "sentence"), REFUSED.items())
def test_what_can_have_no_effect_is_refused(tmp_path: Path, settings: str, sentence: str) -> None:
    arm = {"kind": "penalised"} | yaml.safe_load("{" + settings + "}")
    with pytest.raises(KerfError, match=rf"^(\S+ )?arms\.mine\.{sentence}"):
        recipe("ppo", tmp_path, mine=arm)


@pytest.mark.parametrize(
    ("arm", "sentence"),
    [
        ({"kind": "screened"}, "screened: what is left when episodes are left out depends on the critic's baseline"),
        ({"kind": "probe_penalty"}, "probe: probes are penalised by PPO alone"),
        ({"kind": "routed"}, "penalty_units: gradients are routed by PPO alone"),
        ({"kind": "inoculated"}, "oversight_cue: scenarios marked by lot are no fixed mixture"),
        ({"kind": "penalised", "frozen_by": "called"}, "frozen_by: only PPO can do that"),
        ({"kind": "penalised", "plasticity": 0.5}, "plasticity: only PPO can do that"),
    ],
)
def test_what_has_no_exact_gradient_is_refused(tmp_path: Path, arm: dict[str, Any], sentence: str) -> None:
    with pytest.raises(KerfError, match=rf"arms\.mine\.{sentence}"):
        recipe("exact", tmp_path, mine=arm)


def test_a_setting_at_its_usual_value_changes_no_hash(tmp_path: Path) -> None:
    from kerf.runs.recipe.model import recipe_hash

    def hashed(**settings: Any) -> str:
        return recipe_hash(Recipe.model_validate(merge(TOY, {"arms": {"penalised": settings}})))

    usual = {"oversight": 1, "grader_misses": 0, "weight_average": 1, "screened": False, "penalty_from": 1}
    usual |= {"plasticity": 1}
    assert hashed(**usual) == hashed()
    assert len({hashed(), hashed(oversight=0.5), hashed(plasticity=0.5), hashed(frozen_by="by_door")}) == 4
