"""The revision in a study's manifest is that of our code, or none."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from runs.study import revision


def checkout(folder: Path) -> Path:
    """A git repository with one commit."""
    folder.mkdir()
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *words], cwd=folder, check=True, timeout=30)
    return folder


def test_a_checkout_has_its_revision_and_says_whether_it_was_changed(tmp_path):
    folder = checkout(tmp_path / "ours")
    clean = revision(folder)
    assert clean is not None
    assert re.fullmatch("[0-9a-f]{40}", clean)
    (folder / "new.py").write_text("")
    subprocess.run(["git", "add", "new.py"], cwd=folder, check=True, timeout=30)
    assert revision(folder) == f"{clean}+changed"


def test_a_copy_installed_within_another_project_has_not_that_ones_revision(tmp_path):
    packages = checkout(tmp_path / "theirs") / ".venv" / "lib" / "site-packages"
    packages.mkdir(parents=True)
    assert revision(packages) is None


def test_outside_any_checkout_there_is_none(tmp_path):
    assert revision(tmp_path) is None
