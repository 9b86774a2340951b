"""Recipes: what they come to, and what their hash covers."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
import yaml
from pydantic import ValidationError

from kerf.generators.registry import make_generator
from kerf.lab.battery import Battery
from kerf.lab.errors import KerfError
from kerf.lab.grader import make_grader
from kerf.lab.rollout import rollout
from kerf.lab.worlds import get_world
from kerf.runs.recipe.arm_kinds import ARMS, Arm
from kerf.runs.recipe.arms import resolve_arm
from kerf.runs.recipe.files import built_in_recipes, load_recipe, load_recipes, read_recipe
from kerf.runs.recipe.model import Recipe, check_against_world, known_metrics, recipe_hash, resolved_recipe
from kerf.runs.records.schema import MEASURES
from tests.runs.conftest import TOY

CURES = {
    "noisy", "overseen", "inoculated", "early", "late", "screened", "early_stop", "routed", "weight_average",
    "probe_penalty",
}  # fmt: skip
"""Kinds that the recipes `cures` and `feedback-quality` compare."""


class Uniform:
    """Takes every action equally often."""

    def __init__(self, world):
        self.num_actions = len(world.actions)

    def logits(self, observations):
        return np.zeros((len(observations), self.num_actions), np.float32)


# ---- arms


def test_the_kinds_of_arm_come_to_what_they_are_named_for():
    recipe = load_recipe("turner")
    got = {
        arm.name: (
            arm.train,
            arm.generator.kind,
            arm.generator.strength,
            arm.strength,
            arm.adversarial_share,
            arm.grader,
            arm.signed_penalty,
            arm.yoked_to,
            arm.shaping,
            arm.training.anchor_coeff > 0,
            arm.iterations > 0,
        )
        for arm in recipe.resolve().values()
    }
    assert got == {
        "frozen": (False, "natural", 1.0, 1.0, 1.0, "ex_post", 0.0, None, 0.0, False, False),
        "continued": (True, "natural", 1.0, 1.0, 1.0, "ex_post", 0.0, None, 0.0, False, True),
        "exposure": (True, "scripted", 1.0, 1.0, 0.25, "ex_post", 0.0, None, 0.0, False, True),
        "penalised-2": (True, "scripted", 1.0, 1.0, 0.25, "ex_post", 2.0, None, 0.0, False, True),
        "penalised-6": (True, "scripted", 1.0, 1.0, 0.25, "ex_post", 6.0, None, 0.0, False, True),
        "penalised": (True, "scripted", 1.0, 1.0, 0.25, "ex_post", 10.0, None, 0.0, False, True),
        "exposure-tells": (True, "scripted", 0.75, 0.75, 0.25, "ex_post", 0.0, None, 0.0, False, True),
        "penalised-tells": (True, "scripted", 0.75, 0.75, 0.25, "ex_post", 10.0, None, 0.0, False, True),
        "exposure-tenth": (True, "scripted", 1.0, 1.0, 0.1, "ex_post", 0.0, None, 0.0, False, True),
        "penalised-tenth": (True, "scripted", 1.0, 1.0, 0.1, "ex_post", 10.0, None, 0.0, False, True),
        "exposure-alone": (True, "scripted", 1.0, 1.0, 1.0, "ex_post", 0.0, None, 0.0, False, True),
        "penalised-alone": (True, "scripted", 1.0, 1.0, 1.0, "ex_post", 10.0, None, 0.0, False, True),
        "penalised-watched": (True, "scripted", 1.0, 1.0, 0.25, "ex_post_watched", 10.0, None, 0.0, False, True),
        "yoked": (True, "scripted", 1.0, 1.0, 0.25, "ex_post", 10.0, "penalised", 0.0, False, True),
        "unrelated-act": (True, "scripted", 1.0, 1.0, 0.25, "ex_post", 10.0, "penalised", 0.0, False, True),
        "other-family": (True, "family", 1.0, 1.0, 0.25, "ex_post", 0.0, None, 0.0, False, True),
        "sham": (True, "scripted", 1.0, 1.0, 0.25, "ex_post", 0.0, None, 10.0, False, True),
        "placebo": (True, "natural", 1.0, 1.0, 1.0, "ex_post", 10.0, None, 0.0, False, True),
        "sign_flip": (True, "scripted", 1.0, 1.0, 0.25, "ex_post", -10.0, None, 0.0, False, True),
        "ex_ante": (True, "scripted", 1.0, 1.0, 0.25, "ex_ante", 10.0, None, 0.0, False, True),
        "anchor": (True, "scripted", 1.0, 1.0, 0.25, "ex_post", 10.0, None, 0.0, True, True),
        "relearn": (True, "natural", 1.0, 1.0, 1.0, "ex_post", 0.0, None, 0.0, False, True),
    }
    kinds = {arm.kind for arm in recipe.resolve().values()}
    assert set(ARMS) - {"latent", "mixed"} - CURES == kinds, "the flagship has every kind of arm but these"


def test_the_latent_arm_is_the_penalised_one_with_a_radius_of_its_strength(write):
    sets = [
        "strength=0.75",
        "training.latent_radius=0.125",
        "arms.latent={}",
        "arms.own={kind: latent, strength: 0.5}",
        "arms.said={kind: latent, latent: 2}",
        "arms.none={kind: latent, latent: 0}",
    ]
    arms = load_recipe(write(), sets=sets).resolve()
    radii = {name: arms[name].training.latent_radius for name in ("latent", "own", "said", "none", "penalised")}
    assert radii == {"latent": 0.75, "own": 0.5, "said": 2.0, "none": 0.0, "penalised": 0.125}
    same = load_recipe(write(), sets=["strength=0.75", "arms.none={kind: latent, latent: 0}"]).resolve()
    none, penalised = (same[name].model_dump(exclude={"name", "kind"}) for name in ("none", "penalised"))
    assert none == penalised


def test_a_latent_adversary_where_there_is_nothing_to_perturb_is_refused(write):
    with pytest.raises(KerfError, match=r"arms\.latent\.latent must be 0 for a network without hidden layers .*got 1:"):
        load_recipe(write(), sets=["arms.latent={}", "network.hidden=[]"])
    assert load_recipe(write(), sets=["arms.latent={latent: 0}", "network.hidden=[]"]).resolve()
    with pytest.raises(KerfError, match=r"arms\.latent\.latent must be 0 where training is by exact gradients, got 1"):
        load_recipes("dilemma", sets=["arms.latent={latent: 1}"])


@pytest.mark.parametrize("kind", list(ARMS))
def test_nothing_hangs_on_an_arms_name(kind):
    recipe = load_recipe("turner", sets=[f"arms={{zebra: {{kind: {kind}}}, plain: {{kind: {kind}}}}}"])
    zebra, plain = (recipe.resolve()[name].model_dump(exclude={"name"}) for name in ("zebra", "plain"))
    assert zebra == plain


def test_without_its_penalty_the_penalised_arm_is_the_exposure_arm(write):
    arms = load_recipe(write(), sets=["arms.penalised.penalty=0"]).resolve()
    penalised, exposure = (arms[name].model_dump(exclude={"name", "kind"}) for name in ("penalised", "exposure"))
    assert penalised == exposure
    assert np.copysign(1.0, arms["penalised"].signed_penalty) == 1.0


def test_no_flipped_penalty_is_no_minus_zero():
    arm = load_recipe("turner", sets=["arms.sign_flip.penalty=0"]).resolve()["sign_flip"]
    assert np.copysign(1.0, arm.signed_penalty) == 1.0


def test_a_yoked_arm_has_the_penalty_of_its_partner_unless_it_says_otherwise(write):
    sets = [
        "arms.before={kind: yoked, yoked_to: other}",
        "arms.other={kind: sign_flip, penalty: 3}",
        "arms.own={kind: yoked, penalty: 0}",
        "arms.yoked={}",
    ]
    arms = load_recipe(write(), sets=sets).resolve()
    assert arms["before"].signed_penalty == arms["other"].signed_penalty == -3.0
    assert arms["yoked"].signed_penalty == arms["penalised"].signed_penalty == 10.0
    own, exposure = (arms[name].model_dump(exclude={"name", "kind", "yoked_to"}) for name in ("own", "exposure"))
    assert own == exposure


def test_without_its_shaping_the_sham_arm_is_the_exposure_arm(write):
    arms = load_recipe(write(), sets=["penalty=7", "arms.sham={}", "arms.none={kind: sham, shaping: 0}"]).resolve()
    none, exposure = (arms[name].model_dump(exclude={"name", "kind"}) for name in ("none", "exposure"))
    assert none == exposure
    assert (arms["sham"].shaping, arms["sham"].signed_penalty) == (7.0, 0.0)


def test_an_arm_wins_over_its_kind_and_its_kind_over_the_recipe(write):
    sets = [
        "penalty=7",
        "strength=0.75",
        "training.anchor_coeff=0.125",
        "arms.own={kind: anchor, anchor: 2, penalty: 1, strength: 0.25, generator: {strength: 0.5}}",
        "arms.own.adversarial_share=0",
        "arms.anchor={}",
    ]
    arms = load_recipe(write(), sets=sets).resolve()
    own, kind, plain = arms["own"], arms["anchor"], arms["penalised"]
    assert (plain.penalty, plain.strength, plain.training.anchor_coeff) == (7.0, 0.75, 0.125)
    assert (kind.penalty, kind.strength, kind.training.anchor_coeff) == (7.0, 0.75, ARMS["anchor"].anchor)
    assert (own.penalty, own.strength, own.training.anchor_coeff, own.adversarial_share) == (1.0, 0.25, 2.0, 0.0)
    assert (own.generator.kind, own.generator.strength) == ("scripted", 0.5)
    assert plain.generator.strength == 0.75


def test_an_arm_may_take_another_generator(write):
    arm = load_recipe(write(), sets=["arms.penalised.generator.kind=natural"]).resolve()["penalised"]
    assert (arm.generator.kind, arm.generator.strength, arm.penalty) == ("natural", 1.0, 10.0)


def test_an_adversarys_settings_are_kept_and_told_from_another_ones(write):
    of_kind = "arms.penalised.generator={kind: illuminate, strength: 0.7, cells: 5}"
    recipe = load_recipe(write(), sets=[of_kind, "arms.penalised.objective=regret"])
    arm = recipe.resolve()["penalised"]
    assert (arm.generator.strength, arm.generator.cells, arm.objective) == (0.7, 5, "regret")
    plain = resolved_recipe(recipe)["arms"]
    assert plain["penalised"]["generator"]["cells"] == 5
    assert plain["penalised"]["objective"] == "regret"
    hashes = {recipe_hash(load_recipe(write(), sets=sets)) for sets in ([], [of_kind], [of_kind.replace("5", "6")])}
    assert len(hashes) == 3


def test_replay_may_go_by_the_critic(write):
    replayed = "arms.penalised={generator: {kind: replay, priority: score}, objective: positive_value_loss}"
    assert load_recipe(write(), sets=[replayed]).resolve()["penalised"].objective == "positive_value_loss"


def test_what_attacks_finished_agents_may_not_go_by_the_critic(write):
    with pytest.raises(KerfError, match="objective positive_value_loss: needs the rewards"):
        load_recipe(write(), sets=["fresh={generators: [replay], objective: positive_value_loss}"])


def test_settings_that_came_later_are_not_in_what_older_recipes_come_to():
    """Else a study that an older version began could not be continued."""
    for arm in resolved_recipe(load_recipe("turner"))["arms"].values():
        assert set(arm["generator"]) - {"family"} == {"kind", "strength"}
        assert "objective" not in arm
        assert ("yoked_event" in arm) == (arm["name"] == "unrelated-act")


def test_resolving_an_explicit_arm_changes_nothing():
    """What `resolve` fills in is what it would be if it had been written down."""
    recipe = load_recipe("turner", sets=["arms.latent={strength: 0.5}"])
    for name, arm in recipe.resolve().items():
        if not arm.train:
            continue
        written = Arm(
            kind=arm.kind,
            generator=arm.generator.model_dump(),
            strength=arm.strength,
            adversarial_share=arm.adversarial_share,
            grader=arm.grader,
            penalty=arm.penalty,
            yoked_to=arm.yoked_to,
            yoked_event=arm.yoked_event,
            after=arm.after,
            shaping=arm.shaping,
            anchor=arm.training.anchor_coeff,
            latent=arm.training.latent_radius,
        )
        again = resolve_arm(
            name,
            written,
            penalty=99,
            strength=0,
            adversarial_share=0.5,
            training=recipe.training,
            iterations=recipe.iterations,
        )
        assert again == arm


def test_every_resolved_arm_can_be_played_and_graded():
    recipe = load_recipe("turner")
    world = get_world(recipe.world)
    asked = {}  # by what is asked for: many arms ask for the same
    for arm in recipe.resolve().values():
        key = (arm.generator.model_dump_json(), arm.adversarial_share)
        if key not in asked:
            asked[key] = make_generator(world, arm.generator, arm.adversarial_share).ask(8, np.random.default_rng(0))
        scenarios = asked[key]
        assert len(scenarios) == 8
        played = rollout(Uniform(world), world, scenarios, np.random.default_rng(1))
        assert make_grader(arm.grader, arm.strength).grade(played).penalised.shape == played.events.shape


# ---- what a recipe says


@pytest.mark.parametrize("name", list(built_in_recipes()))
def test_built_in_recipes_load_with_each_preset(name):
    presets = [None, *read_recipe(name).get("presets", {})]
    for preset in presets:
        loaded = load_recipes(name, preset)
        assert len({recipe_hash(recipe) for recipe in loaded.values()}) == len(loaded)
        controls = [recipe.resolve()[recipe.control_arm] for recipe in loaded.values() if recipe.control_arm]
        assert len(controls) == len(loaded)
        assert {control.kind for control in controls} <= {"continued", "exposure"}


def test_the_presets_of_the_flagship():
    base, full, quick = (load_recipe("turner", preset) for preset in (None, "full", "quick"))
    assert base == full
    assert (full.seeds, quick.seeds) == (16, 8)
    assert quick.iterations == full.iterations
    assert (quick.primaries, quick.threshold) == (full.primaries, full.threshold)
    assert quick.arms.items() < full.arms.items()


def test_seeds_are_counted_from_the_first(write):
    recipe = load_recipe(write({"first_seed": 5}), seeds=3)
    assert list(recipe.seed_numbers) == [5, 6, 7]


def test_the_phases_of_alignment_come_in_their_order():
    assert [name for name, _ in load_recipe("smoke").align.phases] == ["imitation", "ppo"]


def test_the_known_metrics_are_those_that_the_battery_measures():
    """Checked by playing one."""
    world, settings = get_world("station"), load_recipe("smoke").battery
    battery = Battery(world, 1, settings.seed, settings.strengths)
    assert set(battery.measure(Uniform(world))) == set(known_metrics(world, settings))


def test_a_recipe_that_owns_up_may_lack_a_control(write):
    recipe = load_recipe(write(), sets=["uncontrolled=true", "arms.continued=null"])
    assert recipe.control_arm is None
    recipe = load_recipe(write(), sets=["uncontrolled=true", "control=penalised"])
    assert recipe.control_arm == "penalised"


def test_a_recipe_is_immutable(write):
    recipe = load_recipe(write())
    with pytest.raises(ValidationError, match="frozen"):
        recipe.penalty = 3.0


def test_changing_one_setting_of_a_phase_leaves_its_others(write):
    """`TOY` says nothing of alignment: the defaults of the phase must not be lost with the first override."""
    default = load_recipe(write()).align
    changed = load_recipe(write(), sets=["align.imitation.training.gamma=0.5", "align.ppo.iterations=7"]).align
    assert changed.imitation.training == default.imitation.training.model_copy(update={"gamma": 0.5})
    assert changed.imitation.training.imitation_coeff == 1.0
    assert changed.imitation.iterations == default.imitation.iterations
    assert changed.ppo == default.ppo.model_copy(update={"iterations": 7})


# ---- the hash


def test_the_hash_passes_over_order_comments_presets_and_about(write):
    first = recipe_hash(load_recipe(write()))
    assert recipe_hash(load_recipe(write(backwards=True))) == first
    assert recipe_hash(load_recipe(write({"about": "something else", "presets": {"p": {"seeds": 1}}}))) == first


@pytest.mark.parametrize(
    "said", ["penalty=10.0", "arms.penalised.penalty=10", "arms.half.generator.kind=scripted", "control=continued"]
)
def test_the_hash_passes_over_how_a_setting_was_said(write, said):
    assert recipe_hash(load_recipe(write(), sets=[said])) == recipe_hash(load_recipe(write()))


@pytest.mark.parametrize(
    "change",
    [
        "name=toy2",
        "seeds=3",
        "first_seed=1",
        "penalty=11",
        "iterations=41",
        "measure_every=11",
        "strength=0.9",
        "network.hidden=[64]",
        "align.ppo.iterations=1",
        "align.imitation.training.gamma=0.5",
        "training.clip=0.3",
        "gate.fooled=0.8",
        "battery.seed=1",
        "battery.scenarios_per_family=3",
        "design={worked: 1}",
        "arms.half.strength=0.4",
        "arms.half=null",
        "arms.new={kind: exposure}",
        "arms.half.yoked_to=penalised",
        "arms.half.shaping=1",
        "control=exposure",
        "uncontrolled=true",
    ],
)
def test_the_hash_sees_whatever_decides_the_records(write, change):
    assert recipe_hash(load_recipe(write(), sets=[change])) != recipe_hash(load_recipe(write()))


@pytest.mark.parametrize("field", list(TOY["primaries"][0]))
def test_the_hash_sees_every_word_of_a_prediction(write, field):
    changed = {
        "name": "other",
        "arm": "half",
        "against": "continued",
        "metric": "value/discernment",
        "direction": "increase",
        "falsified_by": "something else altogether",
    }
    primaries = [TOY["primaries"][0] | {field: changed[field]}]
    assert recipe_hash(load_recipe(write({"primaries": primaries}))) != recipe_hash(load_recipe(write()))


def test_the_hash_sees_what_a_kind_of_arm_means(write, monkeypatch):
    before = recipe_hash(load_recipe(write()))
    monkeypatch.setattr(
        "kerf.runs.recipe.arms.ARMS",
        ARMS | {"penalised": ARMS["penalised"].model_copy(update={"adversarial_share": 0.9})},
    )
    assert recipe_hash(load_recipe(write())) != before


def test_the_resolved_recipe_is_json_and_names_every_arm(write):
    recipe = load_recipe(write({"about": "why"}))
    resolved = resolved_recipe(recipe)
    assert json.loads(json.dumps(resolved, allow_nan=False)) == resolved
    assert list(resolved["arms"]) == list(recipe.arms)
    assert "about" not in resolved


@pytest.mark.parametrize("exclude_unset", [True, False])
@pytest.mark.parametrize("name", list(built_in_recipes()))
def test_a_recipe_that_was_written_out_is_the_same_recipe(name, exclude_unset, tmp_path):
    for recipe in load_recipes(name).values():
        path = tmp_path / "again.yaml"
        unused = None if recipe.exact is None else {"align", "training"}  # refused where they would do nothing
        plain = recipe.model_dump(mode="json", exclude_unset=exclude_unset, exclude=unused)
        path.write_text(yaml.safe_dump(plain, sort_keys=False))
        assert recipe_hash(load_recipe(str(path))) == recipe_hash(recipe)


def test_the_largest_numbers_fit_into_the_records():
    largest = ["first_seed=2000000000", "align.imitation.iterations=1000000", "align.ppo.iterations=1000000"]
    recipe = load_recipe("smoke", sets=largest, seeds=1000)
    seeds = pa.array(list(recipe.seed_numbers), MEASURES.field("seed").type)  # raises where they do not fit
    assert seeds[-1].as_py() == 2_000_000_999
    pa.scalar(sum(phase.iterations for _, phase in recipe.align.phases), MEASURES.field("iteration").type)


def test_a_recipe_made_in_python_is_checked_alike():
    recipe = Recipe.model_validate(TOY)
    check_against_world(recipe)
    with pytest.raises(KerfError, match="unknown arm 'penalized'; did you mean 'penalised'"):
        Recipe.model_validate(TOY | {"arms": {"continued": {}, "penalized": {}}})
