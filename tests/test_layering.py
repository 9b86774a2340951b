"""Who may import whom, read from the source of every file, whether or not the line ever runs."""

from __future__ import annotations

import ast
import functools
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


CIRCLES = {
    "a world is played by rollout, and what it and its trades score are rollout's trajectories (annotations)": {
        "lab.world",
        "lab.dilemma",
        "lab.rollout",
        "lab.trade",
    },
    "a generator asked on workers makes the generator of each part (imported when one is made)": {
        "generators.registry",
        "generators.distributed",
    },
    "a network holds its packed form, which is made of it (annotations)": {"agents.network", "agents.packed"},
    "RLlib's config names the classes that it configures, and they read it": {
        "agents.config",
        "agents.algorithm",
        "agents.env_runner",
        "agents.learner",
        "agents.player",
        "agents.scenario_loop",
    },
}
"""The circles of imports that stay, by the reason why. Imports within functions and for annotations count too."""

FLOORS = 24
"""Modules above one another, circles taken as one: the longest way down through imports."""

ROOMS = (
    {"terminal"},
    {"records"},
    {"options"},
    {"recipe"},
    {"execution"},
    {"tracking", "report"},
    {"exact", "attacks", "after", "compare"},
    {"revealed"},
    {"study"},
    {"sweep", "collection"},
    {"cluster", "submit"},
    {"bench"},
    {"oracles", "reproduce"},
    {"doctor", "new", "viewing"},
    {"cli"},
    {"__main__"},
)
"""What lies in `runs`, lowest first. Nothing imports from above, and rooms on a floor do not import each other, except
that jobs go to the local cluster, which is kept beside them."""


def modules() -> dict[str, Path]:
    """All modules of ours by dotted name, without `kerf.`."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sources(*PACKAGES)
    }


def arrows() -> dict[str, set[str]]:
    """Which modules of ours each one imports, wherever in the file."""
    ours = modules()
    found = {}
    for name, path in ours.items():
        targets = {word if word in ours else word.rpartition(".")[0] for word in imported(path)}
        found[name] = (targets & set(ours)) - {name}
    return found


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Strongly connected components of more than one module (Kosaraju), those imported by others first."""
    order: list[str] = []
    seen: set[str] = set()

    def visit(name: str, of: dict[str, set[str]], into: list[str]) -> None:
        seen.add(name)
        for target in sorted(of[name]):
            if target not in seen:
                visit(target, of, into)
        into.append(name)

    for name in graph:
        if name not in seen:
            visit(name, graph, order)
    users: dict[str, set[str]] = {name: set() for name in graph}
    for name, targets in graph.items():
        for target in targets:
            users[target].add(name)
    seen.clear()
    found = []
    for name in reversed(order):
        if name not in seen:
            together: list[str] = []
            visit(name, users, together)
            found.append(set(together))
    return [component for component in found if len(component) > 1]


def floors(graph: dict[str, set[str]]) -> int:
    """Modules on the longest way down; a circle is one."""
    one = {name: min(circle) for circle in circles(graph) for name in circle}
    below: dict[str, set[str]] = {}
    for name, targets in graph.items():
        at = one.get(name, name)
        below.setdefault(at, set()).update({one.get(target, target) for target in targets} - {at})

    @functools.cache
    def height(name: str) -> int:
        return 1 + max(map(height, below[name]), default=0)

    return max(map(height, below))


def test_circles_of_imports_are_those_that_have_a_reason() -> None:
    assert sorted(map(sorted, circles(arrows()))) == sorted(map(sorted, CIRCLES.values()))


def test_circles_and_floors_are_found_in_a_graph_that_has_some() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"e2"}, "e2": {"e"}}
    assert circles(graph) in ([{"b", "c"}, {"e", "e2"}], [{"e", "e2"}, {"b", "c"}])
    assert floors(graph) == 3


def test_there_are_no_more_floors_than_said() -> None:
    assert floors(arrows()) <= FLOORS


def test_nothing_in_runs_imports_from_above() -> None:
    floor = {room: number for number, rooms in enumerate(ROOMS) for room in rooms}
    up = [
        (name, target)
        for name, targets in arrows().items()
        for target in targets
        if name.count(".") and target.startswith("runs.") and name.startswith("runs.")
        for below, above in [((*name.split("."), "__init__")[1], (*target.split("."), "__init__")[1])]
        if below != above and floor[above] >= floor[below] and {above, below} != {"cluster", "submit"}
    ]
    assert sorted(up) == []


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("ray.rllib", ("agents/",)),
        ("ray", ("agents/", "runs/", "generators/distributed.py")),
        ("torch", ("agents/", "runs/", "generators/learned_policy.py", "lab/torch_threads.py")),
        ("mlflow", ("runs/tracking",)),
        ("fsspec", ("runs/records/remote.py",)),
        ("optuna", ("runs/sweep/trials.py", "runs/sweep/storage.py")),
        ("matplotlib", ("runs/sweep/figures.py", "runs/compare/figure.py", "runs/report/drawing.py")),
    ],
)
def test_heavy_libraries_stay_where_they_belong(module: str, allowed: tuple[str, ...]) -> None:
    users = [name_of(path) for path in sources(*PACKAGES) if any(within(name, module) for name in imported(path))]
    assert [user for user in users if not user.startswith(allowed)] == []
    assert users, f"nobody imports {module}: is it still needed?"


REMOTE = "runs.records.remote"


def test_only_records_know_of_places_elsewhere() -> None:
    """Whoever has a store reads and writes through it; it alone fetches and sends."""
    users = {name for name, targets in arrows().items() if REMOTE in targets}
    assert users == {"runs.records.store"}
    remote = next(
        node
        for node in ast.parse(modules()[REMOTE].read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == "Remote"
    )
    transfers = {
        node.name
        for node in remote.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith(("pull", "push"))
    }
    assert len(transfers) > 5
    callers = {
        name
        for name, path in modules().items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in transfers
    }
    assert callers == {REMOTE, "runs.records.store", "runs.records.checkpoints"}


def test_what_only_tests_need_is_imported_by_no_package() -> None:
    """The conformance kit is run by pytest, and needs none."""
    kit = [path for path in sources(*PACKAGES) if "testing" in name_of(path)]
    assert len(kit) > 10
    users = [name_of(path) for path in sources(*PACKAGES) if {"pytest", "hypothesis"} & imported(path)]
    assert users == []


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


QUESTIONS = {"what", "how", "who", "whose", "whom", "where", "which", "when", "why", "whether"}


def test_docstrings_of_modules_open_with_no_question_word() -> None:
    """A noun says what a module is; a question has to be answered first."""
    openings = {
        name_of(path): (ast.get_docstring(ast.parse(path.read_text())) or "").split(maxsplit=1)[:1]
        for path in sources(*PACKAGES)
    }
    assert [name for name, opening in openings.items() if not opening] == []
    assert [name for name, (word, *_) in openings.items() if word.rstrip(",:").lower() in QUESTIONS] == []
