"""Sizes of files and functions, which stay small enough to be read at once."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.test_layering import PACKAGES, name_of, sources

MOST_LINES = 350
"""Of a file."""
MOST_CODE = 60
"""Lines of a function, without its docstring."""

EXCEPTIONS: dict[str, tuple[int, str]] = {}
"""What is longer: the most lines that it may have, and the reason why."""


def functions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Name of each function, at any depth, and its lines without decorators and docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            num_lines = node.end_lineno - node.lineno + 1
            first = node.body[0]
            if ast.get_docstring(node) is not None:
                assert first.end_lineno is not None
                num_lines -= first.end_lineno - first.lineno + 1
            yield node.name, num_lines


def longer() -> dict[str, int]:
    """All files and functions that are longer than allowed, with their lines."""
    found = {}
    for path in sources(*PACKAGES):
        source = path.read_text()
        if source.count("\n") > MOST_LINES:
            found[name_of(path)] = source.count("\n")
        for name, num_lines in functions(ast.parse(source)):
            if num_lines > MOST_CODE:
                found[f"{name_of(path)}: {name}"] = num_lines
    return found


def test_files_and_functions_are_small_but_for_those_that_have_a_reason() -> None:
    allowed = {name: most for name, (most, _) in EXCEPTIONS.items()}
    assert {name: lines for name, lines in longer().items() if lines > allowed.get(name, 0)} == {}


def test_no_exception_is_kept_that_is_not_needed() -> None:
    assert set(EXCEPTIONS) - set(longer()) == set()


def test_lines_of_a_function_do_not_count_its_docstring() -> None:
    code = 'def f():\n    """One.\n\n    Two.\n    """\n    def g():\n        return 1\n    return g\n'
    assert dict(functions(ast.parse(code))) == {"f": 4, "g": 2}
