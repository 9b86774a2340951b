"""The papers say what is so: their commands run, their links lead somewhere, their tables name what there is."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from contextlib import chdir
from itertools import chain
from pathlib import Path
from typing import Any

import click
import pytest

from kerf.lab.worlds import get_world
from kerf.runs.cli import main
from kerf.runs.recipe.arm_kinds import ARMS
from kerf.runs.recipe.collection import is_collection, load_collection
from kerf.runs.recipe.files import load_recipe, load_recipes
from tests.test_layering import name_of

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").rglob("*.md"))
PAPERS = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *PAGES]
COMMANDS = ROOT / "docs" / "guides" / "commands.md"
KERF = Path(sys.executable).with_name("kerf")
TIMEOUT = 900


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks in one language, without those that have a title: they are files, or parts of files."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", path.read_text(), re.DOTALL | re.MULTILINE)


def test_a_block_is_found_whole_beside_blocks_with_titles(tmp_path):
    page = tmp_path / "page.md"
    page.write_text('```python title="a.py"\n1\n```\n\n```python\nx = 1\ny = 2\n```\n\n```sh\nls\n```\n')
    assert blocks(page, "python") == ["x = 1\ny = 2\n"]


def files_shown() -> dict[str, str]:
    """The files that papers write out, by name: fenced blocks with a title."""
    pattern = re.compile(r'^```\w+ title="([\w.-]+)"\n(?!--8<--)(.*?)^```$', re.DOTALL | re.MULTILINE)
    return {name: text for path in PAPERS for name, text in pattern.findall(path.read_text())}


def commands(*paths: Path) -> list[list[str]]:
    """Every command line in the sh blocks of some papers, as words."""
    lines = chain.from_iterable(
        block.replace("\\\n", " ").splitlines() for path in paths for block in blocks(path, "sh")
    )
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def kerf_commands(*paths: Path) -> list[list[str]]:
    """The words after `kerf`, each command line once."""
    found = (words[1:] for words in commands(*paths) if Path(words[0]).name == "kerf")
    return [list(words) for words in dict.fromkeys(map(tuple, found))]


def is_quick(words: list[str]) -> bool:
    return words[0] in ("recipes", "check", "show", "sync") or words[:2] == ["run", "smoke"]


def parsed(words: list[str]) -> click.Context:
    """What click makes of a command line; raises if it is none."""
    context: click.Context = main.make_context("kerf", list(words))
    command: Any = main
    while isinstance(command, click.Group):
        name, command, words = command.resolve_command(context, words)
        context = command.make_context(name, list(words), parent=context)
        words = [*context._protected_args, *context.args]
    return context


@pytest.fixture(scope="module")
def files_there(tmp_path_factory):
    """The files that papers write out, in the working folder."""
    folder = tmp_path_factory.mktemp("shown")
    for name, text in files_shown().items():
        (folder / name).write_text(text)
    with chdir(folder):
        yield folder


def test_the_page_of_commands_shows_every_command():
    shown = kerf_commands(COMMANDS)
    assert {words[0] for words in shown} == set(main.commands)
    assert any(is_quick(words) for words in shown)
    assert not all(is_quick(words) for words in shown)


@pytest.mark.parametrize("words", kerf_commands(*PAPERS), ids=" ".join)
def test_a_kerf_command_line_is_valid(words, files_there):
    if words[0] == "show" and "://" in words[1]:
        words = ["show", *words[2:], "out"]  # an address is fetched from as it is read
    given = parsed(words).params
    if "recipe" in given:
        if is_collection(given["recipe"]):
            assert load_collection(given["recipe"], given["preset"], given["sets"], given["seeds"]).studies
            return
        assert load_recipes(given["recipe"], given["preset"], given["sets"], given["seeds"], given["variant"])


@pytest.mark.slow
def test_the_quick_commands_run_in_their_order(tmp_path):
    for words in filter(is_quick, kerf_commands(README, COMMANDS)):
        done = subprocess.run([KERF, *words], cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT)
        assert done.returncode == 0, f"kerf {shlex.join(words)}: {done.stdout}{done.stderr}"
        assert done.stdout.strip()
    assert (tmp_path / "out" / "smoke" / "table.txt").is_file()


@pytest.mark.parametrize("words", [words for words in commands(*PAPERS) if words[0] == "make"], ids=" ".join)
def test_make_has_the_target(words):
    clean = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS")}  # as under `-s`
    done = subprocess.run([*words, "--dry-run"], cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, env=clean)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_plain_commands_are_those_of_the_makefile():
    text = (ROOT / "Makefile").read_text().replace("\\\n\t", "")
    recipe = text.replace("$(BIN)", ".venv/bin").replace("$(PYTHON)", "python3").replace("$(PIP_OPTIONS) ", "")
    plain = next(block for block in blocks(README, "sh") if "pip install" in block)
    make, install, run = plain.splitlines()
    assert f"; {make}; }}\n" in recipe
    by_uv = install.replace("bin/pip install", "bin/python uv_install.py")
    assert f"\t@{by_uv} || {install}\n" in recipe, "uv is asked for the same, and pip where it cannot"
    assert f"\t@{run}\n" in recipe


def test_no_command_is_mentioned_that_does_not_exist():
    mentioned = set()
    for path in PAPERS:
        mentioned |= set(re.findall(r"`kerf ([a-z][a-z ]*)", path.read_text()))
    assert {words.strip() for words in mentioned} >= {"run", "check", "bench train"}
    for words in mentioned:
        command: Any = main
        for word in words.split():
            if not isinstance(command, click.Group):
                break  # the rest is an argument
            assert word in command.commands, f"kerf {words}"
            command = command.commands[word]


def test_the_recipe_of_the_guide_is_one(files_there):
    recipe = load_recipe("doubled.yaml")
    assert recipe.resolve()["twice"].penalty == 2 * recipe.resolve()["penalised"].penalty
    assert load_recipe("doubled.yaml", "quick").seeds == 3


@pytest.mark.parametrize("path", [path for path in PAPERS if blocks(path, "python")], ids=name_of)
def test_the_code_of_a_page_runs(path):
    known: dict[str, Any] = {}
    for code in blocks(path, "python"):
        exec(compile(code, str(path), "exec"), known)


@pytest.mark.parametrize("path", PAPERS, ids=name_of)
def test_links_within_the_repository_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", PAPERS, ids=name_of)
def test_files_that_are_named_exist(path):
    for named in re.findall(r"`((?:lab|generators|agents|runs|tests|docs)/[\w/.]*)`", path.read_text()):
        assert (ROOT / named).exists(), named


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= 200


def test_the_concepts_name_every_arm_value_and_family():
    text = "\n".join((ROOT / "docs" / "concepts" / f"{page}.md").read_text() for page in ("arms", "values"))
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE))
    station = get_world("station")
    assert set(ARMS) <= set(rows)
    for value in station.values:
        families = {family.name.split("/")[1] for family in station.families if family.value == value.name}
        if value.skill:
            assert f"`{value.name}`" in text
        else:
            trained = {name for name in families if not name.endswith("-crowded")}
            assert set(re.findall(r"`(\w+)`", rows[value.name].split(" | ")[1])) == trained
