"""A sweep on workers of Ray, as `kerf` runs it: killed as a whole, and the same records as in one process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from kerf.runs.recipe.files import merge
from kerf.runs.study import DONE
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
    command = [
        str(KERF),
        "sweep",
        "run",
        str(file),
        "--ray",
        "local",
        "--no-mlflow",
        "--workers",
        "2",
        "--out",
        str(out),
    ]
    seen: dict[str, int] = {}
    for kills in (2, 0):  # units that are done when it is killed; then it may finish
        with (tmp_path / "printed.txt").open("w+") as printed:
            process = subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT, start_new_session=True)
            while kills and len(stamps(out)) < len(seen) + kills:
                assert process.poll() is None, (tmp_path / "printed.txt").read_text()
                time.sleep(0.005)
            if kills:
                os.killpg(process.pid, signal.SIGKILL)
            assert process.wait(timeout=900.0) == (-signal.SIGKILL if kills else DONE), (
                tmp_path / "printed.txt"
            ).read_text()
        for path, stamp in stamps(out).items():
            assert seen.setdefault(path, stamp) == stamp, f"{path} was done twice"
    assert records(out) == records(tmp_path / "here")
