"""Every mistake of a user ends in one sentence on stderr, exit code 2, and nothing written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from kerf.lab.errors import KerfError
from kerf.runs.cli import main
from kerf.runs.execution import preflight
from kerf.runs.recipe.files import built_in_recipes, load_recipe, read_recipe
from kerf.runs.recipe.model import recipe_hash
from kerf.runs.recipe.plain_yaml import MAX_BYTES, parse
from kerf.runs.records.store import FORMAT

KERF = Path(sys.executable).with_name("kerf")


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """Runs `kerf` in an empty folder, and gives the sentence with which it was refused."""
    monkeypatch.chdir(tmp_path)

    def refused(*words, command="run"):
        before = tree(tmp_path)
        result = CliRunner().invoke(main, [command, *map(str, words)])
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        assert tree(tmp_path) == before
        sentence = result.stderr
        assert sentence.startswith("kerf: ")
        assert sentence.count("\n") == 1
        assert "Traceback" not in sentence
        assert "pydantic" not in sentence
        return sentence.removeprefix("kerf: ").strip()

    return refused


@pytest.fixture
def recipe(tmp_path):
    """Writes a recipe file: text or bytes as they are."""

    def recipe(content):
        path = tmp_path / "mine.yaml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return recipe


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def one_over_zero():
    """A world that cannot be made."""
    return 1 / 0


class Half:
    """A world that lacks nearly everything."""

    name = "half"


RECIPES = ", ".join(built_in_recipes())
SMOKE = yaml.safe_load(Path(__file__, "../../../../runs/recipe/builtin/smoke.yaml").resolve().read_text())

MISTAKES = {
    # unknown fields, wherever they stand
    "penality=1": "smoke: unknown field 'penality'; did you mean 'penalty'? (known: about, adversarial_share,",
    "arms.penalised.penality=1": "arms.penalised: unknown field 'penality'; did you mean 'penalty'?",
    "align.ppo.training.gama=1": "align.ppo.training: unknown field 'gama'; did you mean 'gamma'?",
    "arms.penalised.generator.strenght=1": (
        "arms.penalised.generator: unknown setting of generator 'scripted' 'strenght'; did you mean 'strength'?"
    ),
    "network={width: 3}": "network: unknown field 'width'",
    "primaries=[{nam: x}]": "primaries.0: unknown field 'nam'; did you mean 'name'?",
    # wrong types
    "seeds=many": 'seeds must be a whole number, got "many"',
    "seeds=2.5": "seeds must be a whole number, got 2.5",
    "seeds=true": "seeds must be a whole number, got true",
    "penalty=no": 'penalty must be a number, got "no"',
    "penalty=true": "penalty must be a number, got true",
    "penalty='1e-3'": 'penalty must be a number, got "1e-3"',
    "penalty=[1, 2]": "penalty must be a number, got a list ([1, 2])",
    "uncontrolled=no": 'uncontrolled must be true or false, got "no"',
    "arms=3": "arms must be a mapping, got 3",
    "arms.penalised=3": "arms.penalised must be a mapping, got 3",
    "arms.penalised.generator={kind: illuminate, cels: 4}": (
        "arms.penalised.generator: unknown setting of generator 'illuminate' 'cels'; did you mean 'cells'?"
    ),
    "arms.penalised.generator={kind: illuminate, cells: 0}": "arms.penalised.generator.cells: Input should be greater",
    "arms.penalised.objective=regrett": "arms.penalised.objective: unknown objective 'regrett'; did you mean 'regret'?",
    "arms.penalised={objective: regret, train: false}": "arms.penalised.objective: this arm does not train, so",
    "arms.penalised.generator=scripted": 'arms.penalised.generator must be a mapping, got "scripted"',
    "network.hidden=64": "network.hidden must be a list, got 64",
    "network.activation=relo": "network.activation must be 'tanh' or 'relu', got \"relo\"",
    "align.ppo.training.advantage_scaling=frozen": (
        "align.ppo.training.advantage_scaling must be 'none' or 'batch', got \"frozen\""
    ),
    "primaries.0.arm=frozen": "primaries must be a list, got a mapping",
    "primaries=[3]": "primaries.0 must be a mapping, got 3",
    "world=7": "world must be text, got 7",
    # out of range
    "strength=1.5": "strength must be <= 1.0, got 1.5",
    "strength=-0.1": "strength must be >= 0.0, got -0.1",
    "arms.penalised.strength=2": "arms.penalised.strength must be <= 1.0, got 2",
    "arms.penalised.generator.strength=2": "arms.penalised.generator.strength must be <= 1.0, got 2",
    "arms.penalised.replay=0.25": "unknown field 'replay': it is called `adversarial_share` (1 - replay) now",
    "arms.old={kind: replay}": "arms.old.kind: unknown arm 'replay': it is called `mixed` now",
    "arms.penalised.generator={kind: illuminate, measures: [cues]}": "it is called `descriptors` now",
    "arms.penalised.adversarial_share=1.01": "arms.penalised.adversarial_share must be <= 1.0, got 1.01",
    "battery.strengths=[0, 2]": "battery.strengths.1 must be <= 1.0, got 2",
    "battery.strengths=[0.5, 0, 1]": "battery.strengths must be strictly ascending and end with 1, got",
    "battery.strengths=[0, 0.5]": "battery.strengths must be strictly ascending and end with 1, got",
    "penalty=-1": "penalty must be >= 0.0, got -1",
    "arms.penalised.penalty=-1.0": "arms.penalised.penalty must be >= 0.0, got -1.0",
    "arms.penalised.anchor=-1": "arms.penalised.anchor must be >= 0.0, got -1",
    "seeds=0": "seeds must be >= 1, got 0",
    "seeds=1001": "seeds must be <= 1000, got 1001",
    "iterations=0": "iterations must be >= 1, got 0",
    "primaries=[]": "primaries must have 1 or more entries, got a list ([])",
    "first_seed=2000000001": "first_seed must be <= 2000000000, got 2000000001",
    "iterations=1000001": "iterations must be <= 1000000, got 1000001",
    "measure_every=1000001": "measure_every must be <= 1000000, got 1000001",
    "align.imitation.iterations=1000001": "align.imitation.iterations must be <= 1000000, got 1000001",
    "align.ppo.iterations=1000001": "align.ppo.iterations must be <= 1000000, got 1000001",
    "seeds=99999999999999999999": "--set seeds, line 1, column 1: a whole number may have at most 18 digits",
    # what cannot be shared out evenly
    "training.num_env_runners=3": "training.num_env_runners must be 0 or a divisor of num_scenarios=64, got 3",
    "training.num_learners=128": "training.num_learners must be 0 or a divisor of num_scenarios=64, got 128",
    "align.ppo.training={num_scenarios: 65, num_learners: 2}": (
        "align.ppo.training.num_learners must be 0 or a divisor of num_scenarios=65, got 2"
    ),
    # not numbers at all
    "penalty=.nan": "penalty must be a finite number, got NaN",
    "strength=.nan": "strength must be a finite number, got NaN",
    "arms.penalised.penalty=.inf": "arms.penalised.penalty must be a finite number, got Infinity",
    "penalty=1e999": "penalty must be a finite number, got Infinity",
    "training.learning_rate=.nan": "training.learning_rate must be a finite number, got NaN",
    "design={rescued: .nan}": "design.rescued must be a finite number, got NaN",
    # names of things that are not there
    "arms.penalized={}": "arms.penalized: unknown arm 'penalized'; did you mean 'penalised'?",
    "arms.mine={kind: exposur}": "arms.mine.kind: unknown arm 'exposur'; did you mean 'exposure'?",
    "world=statoin": "world: unknown world 'statoin'; did you mean 'station'?",
    "world=nowhere.to:Be": "world 'nowhere.to:Be': cannot load",
    "world=os:getcwd": "world 'os:getcwd': 'os:getcwd' made a str, which is no world: it lacks name, space, horizon,",
    "world=sys:exit": "'sys:exit' must make a world without arguments, got SystemExit(",
    "world=os:mkdir": "'os:mkdir' must make a world without arguments, got TypeError(",
    "world=tests.runs.recipe.test_bad_input:one_over_zero": "got ZeroDivisionError('division by zero')",
    "world=tests.runs.recipe.test_bad_input:Half": "made a Half, which is no world: it lacks space, horizon, actions,",
    "world=../x": "world must match the pattern",
    "arms.penalised.generator.kind=scriptd": (
        "arms.penalised.generator.kind: unknown generator 'scriptd'; did you mean 'scripted'?"
    ),
    "arms.penalised.grader=expost": "arms.penalised.grader: unknown grader 'expost'; did you mean 'ex_post'?",
    "design={rescud: 1}": "design.rescud: unknown event 'rescud'; did you mean 'rescued'?",
    "control=continud": "control: unknown arm 'continud'; did you mean 'continued'?",
    # names that cannot be folders
    "name=a/b": 'name must match the pattern ^[a-z0-9][a-z0-9_.\\-]*$, got "a/b"',
    "name=..": "name must match the pattern",
    "arms.A={kind: exposure}": "arms.A must match the pattern",
    "arms.aligned={kind: exposure}": "arms.aligned: this name is reserved for the aligned agents",
    # what would do nothing, or hide what is looked for
    "arms.frozen.penalty=1": "arms.frozen.penalty: this arm does not train, so the setting has no effect",
    "control=penalised": "control: arm 'penalised' is penalised itself",
    "arms.continued=null": "control: a recipe without a control arm cannot separate the effect of the penalty",
    "arms={yoked: {}, penalised: null}": "arms.yoked.yoked_to: unknown arm 'penalised'",
    "arms.yoked={yoked_to: penalized}": "arms.yoked.yoked_to: unknown arm 'penalized'; did you mean 'penalised'?",
    "arms.yoked={yoked_to: exposure}": "arms.yoked.yoked_to: arm 'exposure' is never penalised, so there are",
    "arms={yoked: {}, penalised: {train: false}}": "arms.yoked.yoked_to: arm 'penalised' is never penalised",
    "arms.yoked={yoked_to: yoked}": "arms.yoked.yoked_to: arm 'yoked' is yoked itself; name an arm that is penalised",
    "arms={yoked: {}, again: {kind: yoked, yoked_to: yoked}}": "arms.again.yoked_to: arm 'yoked' is yoked itself",
    "arms.frozen.yoked_to=penalised": "arms.frozen.yoked_to: this arm does not train",
    "arms.sham.shaping=-1": "arms.sham.shaping must be >= 0.0, got -1",
    # the overrides themselves
    "penalty": "--set penalty: expected FIELD=VALUE",
    "penalty=": "--set penalty=: expected FIELD=VALUE",
    "arms..penalty=1": "--set arms..penalty=1: expected FIELD=VALUE",
    "penalty=[1": "--set penalty, line 1, column 3:",
    "penalty=*x": "--set penalty, line 1, column 1: aliases (*x) are not allowed",
    "penalty=!!python/name:os.system": "--set penalty, line 1, column 1: tags (!!python/name:os.system) are not",
    "presets.full.seeds=1": "presets.full.seeds: presets are merged already",
}


@pytest.mark.parametrize("mistake", list(MISTAKES))
@pytest.mark.parametrize("command", ["run", "check"])
def test_a_mistake_in_a_field(refused, command, mistake):
    assert MISTAKES[mistake] in refused("smoke", "--set", mistake, command=command)


PREDICTION = SMOKE["primaries"][0]


@pytest.mark.parametrize(
    ("patch", "sentence"),
    [
        ({"arm": "penalized"}, "primaries.0.arm: unknown arm 'penalized'; did you mean 'penalised'?"),
        ({"against": "nothing"}, "primaries.0.against: unknown arm 'nothing'"),
        ({"against": "penalised"}, "primaries.0.against must be another arm than 'penalised'"),
        ({"metric": "value/car"}, "primaries.0.metric: unknown metric 'value/car'; did you mean 'value/care'?"),
        ({"metric": "false_exit/0.5"}, "primaries.0.metric: unknown metric 'false_exit/0.5'"),
        ({"direction": "down"}, "primaries.0.direction must be 'decrease', 'increase' or 'none', got \"down\""),
        ({"falsified_by": "no"}, 'primaries.0.falsified_by must have at least 10 characters, got "no"'),
    ],
)
def test_a_mistake_in_a_prediction(refused, recipe, patch, sentence):
    path = recipe(yaml.safe_dump(SMOKE | {"primaries": [PREDICTION | patch]}))
    assert sentence in refused(path)


def test_missing_and_surplus_predictions(refused, recipe):
    without = {key: value for key, value in PREDICTION.items() if key != "falsified_by"}
    assert "primaries.0.falsified_by is missing" in refused(recipe(yaml.safe_dump(SMOKE | {"primaries": [without]})))
    seven = [PREDICTION | {"name": f"p{i}"} for i in range(7)]
    assert "primaries must have 6 or fewer entries" in refused(recipe(yaml.safe_dump(SMOKE | {"primaries": seven})))
    twice = [PREDICTION, dict(PREDICTION)]
    assert "is given to two predictions" in refused(recipe(yaml.safe_dump(SMOKE | {"primaries": twice})))


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)

FILES = {
    "empty": ("", "is empty, expected a recipe"),
    "comments only": ("# nothing\n", "is empty, expected a recipe"),
    "plain text": ("hello there", 'must hold a mapping of fields, got "hello there"'),
    "a list": ("- 1\n- 2\n", "must hold a mapping of fields, got a list ([1, 2])"),
    "not YAML": ("arms: [1, 2\n", "line 2, column 1: expected ',' or ']'"),
    "a tab": ("arms:\n\t- x", "line 2, column 1: found character '\\t'"),
    "a YAML bomb": (BOMB, "line 1, column 4: anchors (&a) are not allowed"),
    "a cycle": ("a: &a [*a]", "anchors (&a) are not allowed"),
    "a python tag": (
        "name: !!python/object/apply:os.system ['touch pwned']",
        "line 1, column 7: tags (!!python/object/apply:os.system) are not allowed",
    ),
    "a tag of YAML's own": ("name: !!binary aGVsbG8=", "tags (!!binary) are not allowed"),
    "a key twice": ("seeds: 1\nname: x\nseeds: 2\n", "line 3, column 1: 'seeds' is given twice"),
    "a key twice, deep": ("arms: {a: {}, a: {}}", "line 1, column 15: 'a' is given twice"),
    "a key that is no name": ("1: 2", "line 1, column 1: keys must be names"),
    "two documents": ("name: x\n---\nname: y\n", "line 2, column 1: expected one document, got a second one"),
    "too deep": ("[" * 5000, "nested more than 32 deep"),
    "too many": ("- 1\n" * 30_000, "more than 20000 entries"),
    "too large": ("#" * (MAX_BYTES + 1), "is larger than 262144 bytes"),
    "a control character": ("name: \x00", "the character U+0000 is not allowed in YAML"),
    "half a character": ('name: "\\ud800"', "an escape in a quoted text is not a character"),
    "beyond Unicode": ('name: "\\UFFFFFFFF"', "an escape in a quoted text is not a character"),
    "not UTF-8": (b"name: caf\xe9\n", "is not UTF-8 text (byte 9)"),
    "UTF-16": ("name: x\n".encode("utf-16"), "is not UTF-8 text (byte 0)"),
    "an image": (b"\x89PNG\r\n\x1a\n\x00\x00", "is not UTF-8 text (byte 0)"),
    "no name": (yaml.safe_dump({k: v for k, v in SMOKE.items() if k != "name"}), "name is missing"),
    "no arms": (yaml.safe_dump({k: v for k, v in SMOKE.items() if k != "arms"}), "arms is missing"),
    "arms without settings": (
        yaml.safe_dump(SMOKE | {"arms": {"continued": None}}),
        "arms.continued must be a mapping",
    ),
    "no arm at all": (yaml.safe_dump(SMOKE | {"arms": {}}), "arms must have 1 or more entries"),
    "no control arm": (
        yaml.safe_dump(SMOKE | {"arms": {"exposure": {}, "penalised": {}}}),
        "control: a recipe without a control arm cannot separate the effect of the penalty from",
    ),
    "control: null": (
        yaml.safe_dump(SMOKE | {"control": None}),
        "control: a recipe without a control arm cannot separate",
    ),
    "presets that are a list": (yaml.safe_dump(SMOKE | {"presets": [1]}), "presets must be a mapping, got a list"),
    "a preset that is nothing": (yaml.safe_dump(SMOKE | {"presets": {"p": None}}), "presets.p must be a mapping"),
    "a preset with a misspelt field": (
        yaml.safe_dump(SMOKE | {"presets": {"p": {"sedes": 3}}}),
        "presets.p: unknown field 'sedes'; did you mean 'seeds'?",
    ),
    "a preset that renames": (yaml.safe_dump(SMOKE | {"presets": {"p": {"name": "x"}}}), "cannot change 'name'"),
}


@pytest.mark.parametrize("kind", list(FILES))
def test_a_file_that_is_no_recipe(refused, recipe, tmp_path, kind):
    content, sentence = FILES[kind]
    started = time.process_time()
    assert sentence in refused(recipe(content))
    assert time.process_time() - started < 5.0, "refusing must not take the time that the bomb would"
    assert not (tmp_path / "pwned").exists()


def test_recipes_that_are_not_there(refused, tmp_path):
    assert "unknown recipe 'turnr'; did you mean 'turner'?" in refused("turnr")
    assert f"nowhere.yaml: no such file (built-in recipes: {RECIPES})" in refused("nowhere.yaml")
    assert "is a folder, expected a recipe file" in refused(tmp_path)
    assert "unknown preset 'quik'; did you mean 'quick'?" in refused("turner", "--preset", "quik")
    assert refused("smoke", "--preset", "quick") == "smoke: unknown preset 'quick'; this recipe has none"
    assert "seeds must be >= 1, got 0" in refused("turner", "--seeds", 0)
    assert "cannot be read" in refused("x" * 300 + ".yaml")


def test_options_that_exclude_each_other(refused):
    assert "exclude each other" in refused("smoke", "--no-mlflow", "--mlflow", "sqlite:///x.db")


# ---- the folder that the study would go to


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_folder_that_holds_another_recipes_study(refused, tmp_path, command):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "study.json").write_text(
        json.dumps(
            {
                "records_format": FORMAT,
                "name": "other",
                "recipe_hash": "f" * 64,
                "battery_hash": "",
                "seeds": [],
                "arms": {},
            }
        )
    )
    sentence = refused("smoke", "--out", out, command=command)
    assert f"{out} holds another study: recipe_hash is {'f' * 64} there (other) and " in sentence
    assert "give --out another folder" in sentence


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_folder_that_holds_something_else(refused, tmp_path, command):
    (tmp_path / "thesis.tex").write_text("")
    sentence = refused("smoke", "--out", tmp_path, command=command)
    assert f"{tmp_path} holds files but no study (thesis.tex, ...): give --out a new folder" in sentence


def test_a_folder_with_a_damaged_manifest(refused, tmp_path):
    (tmp_path / "study.json").write_text("{")
    assert "is damaged" in refused("smoke", "--out", tmp_path)


def test_a_file_where_the_folder_would_go(refused, tmp_path):
    (tmp_path / "file").write_text("")
    assert "is not a folder; give --out another one" in refused("smoke", "--out", tmp_path / "file")
    assert "is not a folder; give --out another one" in refused("smoke", "--out", tmp_path / "file" / "deeper")


def test_a_folder_whose_name_is_too_long(refused):
    assert "cannot be written" in refused("smoke", "--out", "x" * 5000)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder in which nobody may write")
def test_a_folder_in_which_nobody_may_write(refused):
    assert "/proc/mine cannot be written" in refused("smoke", "--out", "/proc/mine")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(refused, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    assert "cannot be written" in refused("smoke", "--out", closed / "mine")


def test_a_disk_without_room(refused, monkeypatch, tmp_path):
    monkeypatch.setattr(preflight, "ROOM", 2**62)
    sentence = refused("smoke", "--out", tmp_path / "mine")
    assert "MiB are free on its disk, expected at least" in sentence


def test_a_good_folder_is_left_as_it_was(tmp_path):
    out, smoke = tmp_path / "a" / "b", load_recipe("smoke")
    preflight.check_out(out, smoke)
    assert tree(tmp_path) == []
    out.mkdir(parents=True)
    found = {
        "records_format": FORMAT,
        "name": "x",
        "recipe_hash": recipe_hash(smoke),
        "battery_hash": "",
        "seeds": [],
        "arms": {},
    }
    (out / "study.json").write_text(json.dumps(found))
    preflight.check_out(out, smoke)
    assert tree(tmp_path) == ["a", "a/b", "a/b/study.json"]


# ---- the real command, as a process of its own


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["run", "turner", "--set", "penalty=-1"], "kerf: turner: penalty must be >= 0.0, got -1\n"),
        (["check", "turnr"], f"kerf: unknown recipe 'turnr'; did you mean 'turner'? (known: {RECIPES})\n"),
        (["run", "smoke", "--out", "/dev/null"], "kerf: /dev/null cannot be written"),
    ],
)
def test_the_command_itself(tmp_path, words, sentence):
    done = subprocess.run([KERF, *words], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert done.stderr.startswith(sentence)
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert tree(tmp_path) == []


# ---- whatever comes


@given(st.text(st.sampled_from("ab:-?!&*|>%@'\"[]{},# \n\t\\u0.~<="), max_size=60) | st.text(max_size=60))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_text_is_plain_values_or_a_sentence(text):
    sentence = None
    try:
        json.dumps(parse(text, "text")).encode()
    except KerfError as error:
        sentence = str(error)
    assert sentence is None or sentence.startswith("text")


leaves = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text("ab/.", max_size=4)
values = st.recursive(
    leaves,
    lambda below: st.lists(below, max_size=2) | st.dictionaries(st.sampled_from(["kind", "x"]), below, max_size=2),
)


def paths(value, path=()):
    yield path
    if isinstance(value, dict):
        for key, below in value.items():
            yield from paths(below, (*path, key))


@given(st.sampled_from([path for path in paths(SMOKE) if path]), values, st.booleans())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_value_anywhere_is_a_recipe_or_a_sentence(path, value, new):
    """Also under a field that does not exist, at any depth."""
    where = ".".join((*path, "odd") if new else path)
    sentence = "accepted"
    try:
        load_recipe("smoke", sets=[f"{where}={json.dumps(value)}"])
    except KerfError as error:
        sentence = str(error)
    assert len(sentence.splitlines()) == 1


def test_the_built_in_recipes_say_what_they_ask():
    for name in ("turner", "smoke"):
        assert read_recipe(name)["about"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_refused(refused):
    for field in ("training", "align.imitation.training"):
        sentence = refused("smoke", "--set", f"{field}.num_gpus_per_learner=1")
        assert sentence == "num_gpus_per_learner: expected a GPU here, and torch sees none; set it to 0"
