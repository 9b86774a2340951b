"""`--isa`: a command begins anew with what holds its libraries to an instruction set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from kerf.runs.bench.instructions import SETTINGS, held_to

PROGRAM = """
import json, os, sys
from kerf.runs.bench.instructions import hold_to, held_to
early = [name for name in ("numpy", "torch", "numba") if name in sys.modules]
print(os.getpid(), held_to(), flush=True)
hold_to("avx2")
import numpy, torch
from numba.core import codegen, registry
features = registry.cpu_target.target_context.codegen().magic_tuple()
print(json.dumps([early, sys.argv[1:], torch.backends.cpu.get_cpu_capability(), features]))
"""


def ran(program: str) -> list[Any]:
    environment = {name: value for name, value in os.environ.items() if name not in SETTINGS["avx2"]}
    command = [sys.executable, "-c", program, "--isa", "a b"]
    lines = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.splitlines()
    before, again, told = lines
    assert before.split()[0] == again.split()[0], "one process, begun anew"
    assert (before.split()[1], again.split()[1]) == ("None", "avx2")
    found: list[Any] = json.loads(told)
    return found


def test_everything_is_held_to_it_before_it_is_loaded() -> None:
    early, arguments, torchs, (_, cpu, features) = ran(PROGRAM)
    assert early == []
    assert arguments == ["--isa", "a b"]
    assert torchs in ("AVX2", "DEFAULT")  # the latter where there is nothing as new
    assert cpu == "haswell"
    assert "+avx2" in features
    assert "avx512" not in features


def test_a_process_is_held_by_all_of_its_variables_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SETTINGS["avx2"].items():
        monkeypatch.setenv(name, value)
    assert held_to() == "avx2"
    monkeypatch.delenv("OPENBLAS_CORETYPE")
    assert held_to() is None
