"""Makes each example findable while its tests run, as if it were installed: its sources, and its entry points."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent
sys.path += [str(folder) for folder in sorted(EXAMPLES.glob("*/src"))]


@pytest.fixture(autouse=True, scope="module")
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The example's `*.dist-info`, written from its pyproject.toml, on `sys.path` during its tests and no longer."""
    example = EXAMPLES / request.path.relative_to(EXAMPLES).parts[0]
    project = tomllib.loads((example / "pyproject.toml").read_text())["project"]
    packages = tmp_path_factory.mktemp("installed")
    metadata = packages / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = []
    for group, points in project.get("entry-points", {}).items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(packages)
        yield
