"""Limit on the vector instructions that a benchmark and all its contenders use.

It allows measuring, on a newer processor, the speed of one without the newest instructions. The libraries read these
variables when they are loaded, so the command restarts itself with them; child processes inherit them. Imports none of
these libraries.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

SETTINGS: Mapping[str, Mapping[str, str]] = {
    "avx2": {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+avx2,+fma,+bmi,+bmi2,+f16c,+lzcnt,+popcnt",
        "OPENBLAS_CORETYPE": "Haswell",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    },
}
"""By instruction set: environment variables that limit numba, OpenBLAS, torch, oneDNN, MKL and XLA to it."""


def held_to() -> str | None:
    """The instruction set that this process's environment limits it to, or None."""
    return next((isa for isa, settings in SETTINGS.items() if settings.items() <= os.environ.items()), None)


def hold_to(isa: str) -> None:
    """Return if this process is limited to `isa`; else restart it with the same arguments and that limit."""
    if held_to() != isa:
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **SETTINGS[isa]})
