"""The revision in a study's manifest is that of our code, or none."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from kerf.runs.records.provenance import processor, revision


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
    changed = []
    for content in ("x = 1\n", "x = 2\n", "x = 1\n"):
        (folder / "new.py").write_text(content)
        changed.append(revision(folder))
    assert re.fullmatch(re.escape(clean) + r"\+changed-[0-9a-f]{8}", changed[0] or "")
    assert changed[0] == changed[2] != changed[1], "two versions of it are not taken for one"


def test_a_copy_installed_within_another_project_has_not_that_ones_revision(tmp_path):
    packages = checkout(tmp_path / "theirs") / ".venv" / "lib" / "site-packages"
    packages.mkdir(parents=True)
    assert revision(packages) is None


def test_outside_any_checkout_there_is_none(tmp_path):
    assert revision(tmp_path) is None


def test_an_installed_copy_has_the_revision_that_it_was_built_from(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "revision.txt").write_text("abc+changed\n")
    assert revision(tmp_path) == "abc+changed"


def test_a_checkout_has_its_own_revision_whatever_was_written_into_it(tmp_path):
    folder = checkout(tmp_path / "ours")
    (folder / "runs").mkdir()
    (folder / "runs" / "revision.txt").write_text("another\n")
    assert re.fullmatch("[0-9a-f]{40}", revision(folder) or "")


def test_the_processor_is_named_with_what_decides_how_libraries_add(tmp_path):
    told = "processor : 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t\t: fpu sse2 avx2 {}\n\nprocessor : 1\n"
    for flags, named in (("avx512f", "Some CPU @ 2 GHz (avx512f)"), ("avx", "Some CPU @ 2 GHz (avx2)")):
        (tmp_path / "cpuinfo").write_text(told.format(flags))
        assert processor(tmp_path / "cpuinfo") == named
    (tmp_path / "arm").write_text("processor : 0\nFeatures : fp asimd\n")
    assert processor(tmp_path / "arm").endswith(" (asimd)")
    assert processor(tmp_path / "nothing")
