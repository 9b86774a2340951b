"""The files that people and platforms expect of a repository are valid and agree with the project."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from kerf.runs.cli import main
from tests.test_layering import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FORMS = ("bug_report", "feature_request")
SECTIONS = {"markdown", "textarea", "input", "dropdown", "checkboxes"}
"""What a form of GitHub's consists of."""


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_the_citation_is_that_of_the_project():
    cited = read("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(cited), "what the format asks for"
    assert cited["cff-version"] == "1.2.0"
    assert cited["authors"] == [{"name": "The Kerf authors"}]
    assert [cited[name] for name in ("version", "license", "keywords")] == [
        PROJECT[name] for name in ("version", "license", "keywords")
    ]
    assert cited["abstract"].startswith("Adversarial training penalises one thing")


@pytest.mark.parametrize("path", ["CHANGELOG.md", "Dockerfile", "docs/clusters.md"])
def test_a_file_that_names_a_version_names_the_present_one(path):
    """Of a changelog the newest entry, of the others the tag of the image that they say how to build."""
    found = re.findall(r"^## \[([\d.]+)\]|registry\.example/kerf:([\d.]+) ", (ROOT / path).read_text(), re.MULTILINE)
    assert found, path
    assert "".join(found[0]) == PROJECT["version"]


def test_the_workflow_runs_what_must_pass_on_the_oldest_python_and_a_newer_one():
    workflow = read(".github/workflows/ci.yml")
    assert {"push", "pull_request"} <= set(workflow[True]), "`on` is a truth value in YAML 1.1"
    assert workflow["permissions"] == {"contents": "read"}
    (job,) = workflow["jobs"].values()
    assert ".ci/run" in [step.get("run") for step in job["steps"]]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    pythons = job["strategy"]["matrix"]["python"]
    assert PROJECT["requires-python"] == f">={pythons[0]}"
    assert len(pythons) > 1
    assert all(isinstance(python, str) for python in pythons), "3.10 would be 3.1"
    (setup,) = [step for step in job["steps"] if step.get("uses", "").startswith("actions/setup-python@")]
    assert setup["with"]["cache"] == "pip"
    for file in setup["with"]["cache-dependency-path"].split():
        assert (ROOT / file).is_file()


@pytest.mark.parametrize("name", FORMS)
def test_forms_of_issues_are_complete_and_ask_for_the_doctor(name):
    form = read(f".github/ISSUE_TEMPLATE/{name}.yml")
    assert form["name"]
    assert form["description"]
    asked = [part for part in form["body"] if part["type"] != "markdown"]
    assert {part["type"] for part in form["body"]} <= SECTIONS
    assert len({part["id"] for part in asked}) == len(asked) > 1
    assert all(part["attributes"]["label"] for part in asked)
    (doctor,) = [part for part in asked if part["id"] == "doctor"]
    assert "`kerf doctor`" in doctor["attributes"]["label"]
    assert doctor.get("validations", {}).get("required", False) is (name == "bug_report")
    for command in re.findall(r"`kerf (\w+)", (ROOT / f".github/ISSUE_TEMPLATE/{name}.yml").read_text()):
        assert command in main.commands


def test_there_are_no_other_forms():
    assert isinstance(read(".github/ISSUE_TEMPLATE/config.yml")["blank_issues_enabled"], bool)
    found = {path.stem for path in (ROOT / ".github" / "ISSUE_TEMPLATE").iterdir()}
    assert found == {*FORMS, "config"}


def test_hooks_before_a_commit_use_what_the_project_has():
    local, *others = read(".pre-commit-config.yaml")["repos"]
    assert local["repo"] == "local"
    assert [hook["id"] for hook in local["hooks"]] == ["ruff-check", "ruff-format", "mypy"]
    for hook in local["hooks"]:
        assert hook["language"] == "system"
        program, *words = hook["entry"].split()
        if program == "make":
            assert set(words) <= make_targets()
        else:
            assert Path(program).parent == Path(".venv/bin")
            assert Path(program).name in {name.split(">")[0] for name in PROJECT["optional-dependencies"]["dev"]}
    assert all(re.fullmatch(r"v\d+\.\d+\.\d+", repo["rev"]) for repo in others), "pinned"


def test_security_says_how_to_report_without_an_address_of_anybody():
    text = (ROOT / "SECURITY.md").read_text()
    assert "Report a vulnerability" in text
    assert not re.search(r"[\w.]+@[\w.]+", text)
