"""Who may import whom, read from the source of every file, whether or not the line ever runs."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("lab", "generators", "agents", "runs")
MAY_IMPORT = {
    "lab": {"lab"},
    "generators": {"lab", "generators"},
    "agents": {"lab", "agents"},
    "runs": set(PACKAGES),
}
NOT_PROJECT = {"out", "build", "dist", "mlruns", "__pycache__"}
NOT_SAID = ("shared" + "/", "DESIGN" + ".md", "SCIENCE" + ".md")
"""Papers that no reader of the repository has."""


def sources(*packages: str) -> list[Path]:
    found = [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
    assert len(found) >= len(packages)
    return found


def imports(tree: ast.AST) -> Iterator[str]:
    """Dotted names of all modules, and of the names taken from them, that a file imports at any depth."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported(path: Path) -> set[str]:
    """What a file imports; of ours without `kerf.`, as the folders are called."""
    return {name.removeprefix("kerf.") for name in imports(ast.parse(path.read_text(), str(path)))}


def within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", sources(*PACKAGES), ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    tops = {name.split(".")[0] for name in imported(path)}
    assert tops & {*PACKAGES, "tests"} <= MAY_IMPORT[package]


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("ray.rllib", ("agents/",)),
        ("ray", ("agents/", "runs/", "generators/distributed.py")),
        ("torch", ("agents/", "runs/", "generators/learned_policy.py")),
        ("mlflow", ("runs/tracking",)),
        ("fsspec", ("runs/records/remote.py",)),
        ("optuna", ("runs/sweep/trials.py", "runs/sweep/storage.py")),
        ("matplotlib", ("runs/sweep/figures.py",)),
    ],
)
def test_heavy_libraries_stay_where_they_belong(module: str, allowed: tuple[str, ...]) -> None:
    users = [name_of(path) for path in sources(*PACKAGES) if any(within(name, module) for name in imported(path))]
    assert [user for user in users if not user.startswith(allowed)] == []
    assert users, f"nobody imports {module}: is it still needed?"


def test_the_walk_sees_every_kind_of_import() -> None:
    code = "import a.b\nfrom c import d\ndef f():\n    from e.g import h as i\nif TYPE_CHECKING:\n    import j as k\n"
    assert set(imports(ast.parse(code))) == {"a.b", "c.d", "e.g.h", "j"}
    with pytest.raises(AssertionError, match="relative"):
        list(imports(ast.parse("from . import x")))


def project_files() -> list[Path]:
    """Every file of the project, as a clone would have it."""
    files = []
    for folder, subfolders, names in os.walk(ROOT):
        kept = [name for name in subfolders if not name.startswith(".") and not name.endswith(".egg-info")]
        subfolders[:] = sorted(set(kept) - NOT_PROJECT) + [name for name in subfolders if name in (".ci", ".github")]
        files += [Path(folder) / name for name in sorted(names)]
    return files


def test_no_file_cites_what_a_reader_does_not_have() -> None:
    files = project_files()
    assert {ROOT / "pyproject.toml", Path(__file__), ROOT / "lab" / "world.py"} <= set(files)
    saying = []
    for path in files:
        content = path.read_bytes().decode("utf-8", errors="replace")
        saying += [f"{name_of(path)}: {word}" for word in NOT_SAID if word in content]
    assert saying == []
