"""The grammar of metric names: every name that is built, or that a battery measures, is parsed and given back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerf.lab.battery import Battery
from kerf.lab.errors import KerfError
from kerf.lab.exact.exact_battery import ExactBattery
from kerf.lab.metrics import (
    COLLATERAL,
    COMPETENCE,
    FORMS,
    OF_FORGERIES,
    ROBUSTNESS,
    UTILITY,
    Kind,
    Metric,
    attack_metric,
    exit_metric,
    exits_by_strength,
    family_metric,
    held_out_metric,
    in_full,
    of_kind,
    value_metric,
    way_metric,
)
from kerf.lab.worlds import get_world
from kerf.runs.execution.training_log import REPORTED
from tests.test_layering import PACKAGES, ROOT, name_of, sources

WORDS = st.text(st.characters(exclude_characters="/"), min_size=1).filter(lambda word: word not in OF_FORGERIES)
SHARES = st.floats(0.0, 1.0)
STRENGTHS = (0.0, 0.25, 1 / 3, 1e-7, 1.0)


def parsed(name: str) -> Metric:
    """The metric called `name`, which is made sure to give the name back."""
    metric = Metric.parse(name)
    assert str(metric) == name
    assert Metric(metric.kind, metric.words) == metric
    return metric


@given(word=WORDS, skill=st.booleans())
def test_values_and_skills(word: str, skill: bool) -> None:
    metric = parsed(value_metric(word, skill))
    assert (metric.kind, metric.value, metric.strength) == (Kind.SKILL if skill else Kind.VALUE, word, None)
    alone = parsed(held_out_metric(word))
    assert (alone.kind, alone.value) == (Kind.HELD_OUT, word)


@given(value=WORDS, variant=WORDS)
def test_families(value: str, variant: str) -> None:
    metric = parsed(family_metric(f"{value}/{variant}"))
    assert (metric.kind, metric.value, metric.words) == (Kind.FAMILY, value, (value, variant))


@given(strength=SHARES)
def test_exits_keep_their_strength_to_the_last_digit(strength: float) -> None:
    name = exit_metric(strength)
    assert (parsed(name).kind, parsed(name).strength, parsed(name).value) == (Kind.FALSE_EXIT, strength, None)
    for part, kind in ((family_metric(name), Kind.FAMILY), (held_out_metric(name), Kind.HELD_OUT)):
        assert (parsed(part).kind, parsed(part).strength, parsed(part).value) == (kind, strength, None)


@given(event=WORDS)
def test_ways(event: str) -> None:
    assert parsed(way_metric(event)).words == (event,)
    for part in (family_metric(way_metric(event)), held_out_metric(way_metric(event))):
        assert (parsed(part).value, parsed(part).words) == (None, (Kind.WAY, event))


@given(generator=WORDS, at=SHARES, figure=st.lists(WORDS, max_size=1))
def test_attacks(generator: str, at: float, figure: list[str]) -> None:
    assert parsed(attack_metric(generator, at, *figure)).words == (generator, f"{at:g}", *figure)


@given(strengths=st.sets(SHARES))
def test_exits_are_found_among_all_metrics_and_put_in_order(strengths: set[float]) -> None:
    names = [*map(exit_metric, strengths), family_metric(exit_metric(0.5)), value_metric("care"), COMPETENCE]
    assert exits_by_strength(names) == {strength: exit_metric(strength) for strength in strengths}
    assert list(exits_by_strength(names)) == sorted(strengths)


@pytest.mark.parametrize("world", ["tests.toy_world:Lever", "station", "dilemma", "kerf.runs.bench.cartpole:CartPole"])
def test_all_that_a_battery_measures(world: str) -> None:
    names = list(Battery(get_world(world), 1, 0, STRENGTHS).num_scenarios)
    metrics = list(map(parsed, names))
    assert {metric.strength for metric in metrics} == {None, *STRENGTHS}
    values = {value.name: value.skill for value in get_world(world).values}
    assert {metric.value for metric in metrics} == {None, *values}
    for kind, skill in ((Kind.VALUE, False), (Kind.SKILL, True)):
        assert of_kind(names, kind) == [
            value_metric(name, skill) for name, is_skill in values.items() if is_skill == skill
        ]
    assert UTILITY in names


def test_all_that_an_exact_battery_measures() -> None:
    assert list(map(parsed, ExactBattery(get_world("dilemma_two"), STRENGTHS).num_scenarios))


def test_all_that_is_derived_or_reported() -> None:
    for name in (COMPETENCE, ROBUSTNESS, COLLATERAL, UTILITY):
        assert name.startswith(parsed(name).kind)
    for kind, figures in REPORTED.items():
        assert [parsed(str(Metric(Kind(kind), (figure,)))).kind for figure in figures] == [kind] * len(figures)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("valeu/care", "unknown kind of metric 'valeu'; did you mean 'value'?"),
        ("", "unknown kind of metric ''"),
        ("value", "metric 'value': expected value/<value>"),
        ("value/", "metric 'value/': expected value/<value>"),
        ("value/care/yard", "metric 'value/care/yard': expected value/<value>"),
        ("value/way", "metric 'value/way': expected value/<value>"),
        ("false_exit/hard", "metric 'false_exit/hard': expected false_exit/<strength>"),
        ("false_exit/1.5", "metric 'false_exit/1.5': expected false_exit/<strength>"),
        ("family/false_exit/hard", "expected family/<value or skill>/<variant> or family/false_exit/<strength> or"),
        ("family/care", "expected family/<value or skill>/<variant> or family/false_exit/<strength> or"),
        ("utility/real", "metric 'utility/real': expected utility/ideal"),
        ("competence/care", "metric 'competence/care': expected competence"),
    ],
)
def test_what_is_no_metric_is_refused_in_a_sentence(name: str, said: str) -> None:
    with pytest.raises(KerfError) as refused:
        Metric.parse(name)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_word_that_would_be_two_is_refused() -> None:
    with pytest.raises(KerfError, match="expected family/<value"):
        Metric(Kind.FAMILY, ("care/yard",))
    with pytest.raises(KerfError, match="expected value/<value>"):
        value_metric("care/yard")


def test_every_kind_has_a_form_that_begins_with_it() -> None:
    assert list(FORMS) == list(Kind)
    assert all(form.split("/")[0] == kind for kind, forms in FORMS.items() for form in forms)


def test_users_may_leave_out_what_is_plain() -> None:
    known = [value_metric("care"), value_metric("handling", skill=True), UTILITY, COMPETENCE, exit_metric(0.5)]
    assert in_full("care", known) == in_full("value/care", known) == "value/care"
    assert in_full("handling", known) == "skill/handling"
    assert in_full("ideal", known) == "utility/ideal"
    assert in_full("competence", known) == "competence"
    assert in_full("false_exit/0.5", known) == "false_exit/0.5"
    with pytest.raises(
        KerfError, match=r"^unknown metric 'cary'; did you mean 'care'\? \(known: care, utility/ideal\)$"
    ):
        in_full("cary", known, [UTILITY])


TAKES_OTHER_NAMES_APART = {
    "generators/adversary.py": "what a checkpoint calls the notes of an adversary",
    "generators/mixture.py": "what a checkpoint calls the arrays of a mixture's parts",
    "runs/records/checkpoints.py": "what a checkpoint calls the arrays of its parts",
    "runs/records/remote.py": "paths",
    "runs/records/paths.py": "addresses",
    "runs/report/scene_drawings.py": "what the branches of an episode are called",
}
APART = {"split", "rsplit", "partition", "rpartition"}
BEGINS = re.compile(rf"({'|'.join(Kind)})/")


def grammar_elsewhere(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and reason of all that builds or takes apart a metric's name, or may: docstrings are not looked at."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            if BEGINS.match(node.value):
                yield node.lineno, f"spells {node.value!r}"
        elif isinstance(node, ast.JoinedStr):
            if any(isinstance(part, ast.Attribute) and ast.unparse(part.value) == "Kind" for part in ast.walk(node)):
                yield node.lineno, f"builds {ast.unparse(node)}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            given = ast.unparse(node.args[0])
            if node.func.attr in APART and given == "'/'":
                yield node.lineno, f"takes apart {ast.unparse(node)}"
            if node.func.attr in ("startswith", "removeprefix") and given.startswith("Kind."):
                yield node.lineno, f"looks at the beginning: {ast.unparse(node)}"


@pytest.mark.parametrize(
    "code",
    [
        "f'value/{name}'",
        "metric == 'false_exit/1.0'",
        "metric.startswith('skill/')",
        "frame['metric'].str.startswith('family/')",
        "metric.split('/')[0] == 'value'",
        "metric.partition('/')",
        "f'{Kind.HELD_OUT}/{name}'",
        "metric.removeprefix(Kind.VALUE)",
    ],
)
def test_the_guard_sees_what_it_must(code: str) -> None:
    assert len(list(grammar_elsewhere(ast.parse(code)))) == 1
    assert not list(grammar_elsewhere(ast.parse('def f():\n    """`value/care` and so on."""')))


def test_nothing_else_builds_a_name_or_takes_one_apart() -> None:
    found = {
        f"{name_of(path)}:{line} {why}"
        for path in sources(*PACKAGES)
        if name_of(path) not in ("lab/metrics.py", *TAKES_OTHER_NAMES_APART)
        for line, why in grammar_elsewhere(ast.parse(path.read_text()))
    }
    assert found == set()


def test_those_who_take_other_names_apart_build_no_metric() -> None:
    for name in TAKES_OTHER_NAMES_APART:
        found = list(grammar_elsewhere(ast.parse((ROOT / name).read_text())))
        assert found, f"{name} takes nothing apart: it needs no leave"
        assert all(why.startswith("takes apart") for _, why in found)
