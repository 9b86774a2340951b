"""Kernels are compiled ahead once, visibly, and then a study compiles nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kerf.lab.compiled import cache_home
from kerf.runs.execution.compile_ahead import compile_ahead, is_compiled

CALLS = """
import json, sys
from pathlib import Path

import numba
from kerf.lab.compiled import Kernel, _uncompiled

called = {}
plain = Kernel.__call__

def call(self, *args):
    if _uncompiled.get():  # as plain Python
        return plain(self, *args)
    types = ", ".join(str(numba.typeof(arg)) for arg in args)
    called.setdefault(f"{self.__module__}.{self.__qualname__}({types})", None)
    return plain(self, *args)

Kernel.__call__ = call

from kerf.runs.execution.compile_ahead import PARTS
for part in PARTS.values():
    part()
ahead = set(called)
called.clear()

from kerf.runs.execution.unit import run_unit
from kerf.runs.recipe.files import load_recipe
from kerf.runs.records.store import ALIGNED, Store, Unit
from kerf.runs.study import prepare_study
recipe, out = load_recipe("smoke", seeds=1), Path(sys.argv[1])
prepare_study(recipe, out)
for unit in (Unit(ALIGNED, 0), Unit("penalised", 0)):
    for _ in run_unit(recipe, unit, Store(out), 1):
        pass
print(json.dumps({"needed": sorted(called), "lacking": sorted(set(called) - ahead)}))
"""


def test_what_a_study_calls_is_what_was_compiled_ahead(tmp_path: Path) -> None:
    """With the same types: a kernel is compiled for each combination."""
    done = subprocess.run(
        [sys.executable, "-c", CALLS, tmp_path / "out"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert done.returncode == 0
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found["needed"]) >= 10
    assert found["lacking"] == []


def test_it_is_said_and_done_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = cache_home()
    assert home is not None
    for folder in home.glob("compiled-*"):  # so that nothing takes long
        shutil.copytree(folder, tmp_path / folder.name, ignore=shutil.ignore_patterns("ahead-*"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert not is_compiled()
    command = [sys.executable, "-m", "kerf.runs.execution.compile_ahead"]
    first, second = (subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2))
    assert first == "Compiling kernels, once per installation (about 30 s) ...\n"
    assert second == ""
    assert is_compiled()
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "+avx2")
    assert not is_compiled(), "for other instructions"


def test_where_it_fails_a_warning_says_why_and_it_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numba").mkdir()
    (tmp_path / "numba" / "__init__.py").write_text("raise ImportError('no compiler here')")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kernels"))
    lines: list[str] = []
    compile_ahead(lines.append)
    assert lines[1:] == [
        "warning: kernels could not be compiled ahead, so each worker compiles its own: ImportError: no compiler here"
    ]
    assert not is_compiled()


def test_nothing_is_compiled_where_numba_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    compile_ahead(pytest.fail)
    assert os.listdir(tmp_path) == []
