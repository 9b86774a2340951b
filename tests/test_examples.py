"""The examples of the documentation are whole packages: shown in full by their pages, and built as any package is.

What they do is tested by their own tests, which pytest collects from `docs/examples/`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PACKAGES = sorted((DOCS / "examples").glob("*/pyproject.toml"))


def test_every_how_to_has_an_example_and_shows_all_of_its_files():
    assert {path.parent.name for path in PACKAGES} == {page.stem for page in (DOCS / "how-to").glob("*.md")} - {"index"}
    for path in PACKAGES:
        page = (DOCS / "how-to" / f"{path.parent.name}.md").read_text()
        shown = set(re.findall(r'^--8<-- "docs/examples/(.*)"$', page, re.MULTILINE))
        files = {
            file.relative_to(DOCS / "examples").as_posix()
            for file in path.parent.rglob("*")
            if file.suffix in (".py", ".toml", ".yaml") and file.name != "__main__.py"
        }
        assert shown == files


@pytest.mark.slow
@pytest.mark.parametrize("project", PACKAGES, ids=lambda path: path.parent.name)
def test_it_builds_into_a_wheel_with_its_code_and_entry_points(project, tmp_path):
    copy = tmp_path / "sources"
    shutil.copytree(project.parent, copy, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "."]
    done = subprocess.run([*command, "-w", tmp_path], cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        points = [archive.read(name).decode() for name in archive.namelist() if name.endswith("entry_points.txt")]
    files = [path for path in (copy / "src").rglob("*") if path.suffix in (".py", ".yaml")]
    assert held == {path.relative_to(copy / "src").as_posix() for path in files}
    for group, names in tomllib.loads(project.read_text())["project"].get("entry-points", {}).items():
        for name, target in names.items():
            assert f"[{group}]\n{name} = {target}" in points[0]
