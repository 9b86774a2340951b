"""A sweep on Ray workers, as `kerf` runs it: killed as a whole, and the same records as in one process."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from runs.recipe_file import merge
from runs.study import DONE
from tests.runs.sweep.asking import RECIPE, asked, recipe
from tests.runs.sweep.test_sweep import TINY, records, stamps, sweep

KERF = Path(sys.executable).with_name("kerf")


@pytest.mark.slow
def test_killed_on_ray_the_same_command_finishes_with_the_records_of_one_process(tmp_path):
    base = recipe(tmp_path, TINY)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert sweep(base, asked(base, "dose", "strength=0:1:0.25"), tmp_path / "here")[0] == DONE
    torch.set_num_threads(threads)
    file, out = tmp_path / "sweep.yaml", tmp_path / "on-ray"
    (tmp_path / "toy-sweep.yaml").write_text(yaml.safe_dump(merge(RECIPE, TINY), sort_keys=False))
    file.write_text("{sweep: dose, recipe: toy-sweep.yaml, over: {strength: '0:1:0.25'}}")
    command = [str(KERF), "sweep", "run", str(file), "--no-mlflow", "--workers", "2", "--out", str(out)]
    moments, kills, seen = random.Random(3), 0, dict[str, int]()
    for _ in range(3):
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        try:
            output, _ = process.communicate(timeout=moments.uniform(9.0, 13.0) if kills < 2 else 300.0)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
        for path, stamp in stamps(out).items():
            assert seen.setdefault(path, stamp) == stamp, f"{path} was done twice"
        if process.returncode != -signal.SIGKILL:
            assert process.returncode == DONE, output
            break
    assert kills >= 1, "the sweep was faster than the kills: nothing was shown"
    assert records(out) == records(tmp_path / "here")
