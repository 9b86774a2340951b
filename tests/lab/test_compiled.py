"""Compiled kernels do not outlive a change to what they were compiled from."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from kerf import lab

TOLD = """
import numpy as np
from kerf.lab.worlds import get_world
world = get_world("station")
play = world.begin(world.families[0].sample(1, np.random.default_rng(0)))
seen = np.empty((1, len(world.observations)), np.float32)
play.step(np.array([0]), np.zeros(1, np.uint64))
play.observe(seen)
print(round(1 / float(seen[0, world.observations.index("time")])))
"""


def test_a_constant_of_another_file_is_compiled_anew(tmp_path: Path) -> None:
    """The horizon stands in `fields.py`, the kernel that divides by it in `kernel.py`."""
    shutil.copytree(Path(lab.__file__).parent, tmp_path / "kerf" / "lab", ignore=shutil.ignore_patterns("__pycache__"))

    def horizon() -> int:
        told = subprocess.run([sys.executable, "-c", TOLD], cwd=tmp_path, capture_output=True, text=True, check=True)
        return int(told.stdout)

    assert horizon() == 24
    fields = tmp_path / "kerf" / "lab" / "worlds" / "station" / "fields.py"
    fields.write_text(fields.read_text().replace("HORIZON = 24", "HORIZON = 28"))
    assert horizon() == 28
    assert len(list((tmp_path / "kerf" / "lab" / "__pycache__").glob("compiled-*"))) == 2
