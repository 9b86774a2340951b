"""Compiled kernels do not outlive a change to what they were compiled from."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numba
import pytest

from kerf import lab
from kerf.lab import compiled as module
from kerf.lab.compiled import cache_home, compiled

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


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A path that nobody can write, root neither. The code seems to lie there."""
    (tmp_path / "file").touch()
    monkeypatch.setattr(module, "LAB", tmp_path / "file" / "lab")
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    module._cache_home_or_warning.cache_clear()
    return tmp_path / "file" / "folder"


def test_kernels_are_kept_in_the_first_place_that_can_be_written(tmp_path, monkeypatch, nowhere):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "asked"))
    assert cache_home() == tmp_path / "asked"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(nowhere))
    found = cache_home()
    assert found is not None, "read-only code"
    assert found.parent.parent == tmp_path
    assert found.parent.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(module, "LAB", tmp_path / "lab")
    assert cache_home() == tmp_path / "lab" / "__pycache__"


def test_none_is_taken_from_a_folder_that_others_can_write(nowhere):
    found = cache_home()
    assert found is not None
    found.parent.chmod(0o777)
    assert cache_home() is None


def test_without_such_a_place_kernels_are_compiled_all_the_same(monkeypatch, nowhere):
    monkeypatch.setattr(tempfile, "tempdir", str(nowhere))
    first, second = compiled(_doubled), compiled(_doubled)
    with pytest.warns(RuntimeWarning, match="set NUMBA_CACHE_DIR") as told:
        assert (first(3), second(4)) == (6, 8)
    assert len(told) == 1
    assert isinstance(first._compiled, numba.core.dispatcher.Dispatcher)


def _doubled(number: int) -> int:
    return 2 * number
