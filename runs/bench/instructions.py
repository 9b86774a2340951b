"""Holding a bench, and all whom it times, to some of the processor's vector instructions.

What a processor without the newest instructions would give can then be measured on one that has them. The libraries
read these variables when they are loaded, so the command begins anew with them; processes that it starts inherit them.
Imports nothing of what reads them.
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
"""By instruction set: how numba, OpenBLAS, torch, oneDNN, MKL and XLA are told to use no newer one."""


def held_to() -> str | None:
    """The instruction set that this process is held to, by its environment."""
    return next((isa for isa, settings in SETTINGS.items() if settings.items() <= os.environ.items()), None)


def hold_to(isa: str) -> None:
    """Return if this process is held to `isa`; else begin it anew, with the same arguments, so that it is."""
    if held_to() != isa:
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **SETTINGS[isa]})
