"""Compiled kernels do not outlive a change to what they were compiled from."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from kerf import lab

KERNEL = """
from kerf.lab.compiled import compiled
from kerf.lab.constant import NUMBER

@compiled
def number():
    return NUMBER
"""


def test_a_constant_of_another_file_is_compiled_anew(tmp_path: Path) -> None:
    """As the horizon of `station` stands in its `fields.py`, and a kernel that divides by it in `kernel.py`."""
    package = tmp_path / "kerf" / "lab"
    shutil.copytree(Path(lab.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "kernel.py").write_text(KERNEL)

    def told(number: int) -> int:
        (package / "constant.py").write_text(f"NUMBER = {number}")
        program = "from kerf.lab.kernel import number; print(number())"
        words = [sys.executable, "-B", "-c", program]  # bytecode is told apart by the second, which has hardly passed
        return int(subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True).stdout)

    assert [told(24), told(28)] == [24, 28]
    assert len(list((package / "__pycache__").glob("compiled-*"))) == 2
