"""Contract of compiled kernels: the same results as uncompiled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerf.lab.reward import reward
from kerf.lab.rollout import rollout
from kerf.lab.testing.checks import expect
from kerf.lab.testing.episodes import Softened, try_out
from kerf.lab.testing.subject import WorldSubject
from kerf.lab.world import natural

PROGRAM = """
import importlib, json, sys
path, module, name, file = json.loads(sys.argv[1])
sys.path[:] = path
import numpy as np
contract = importlib.import_module(module)
for part in name.split("."):
    contract = getattr(contract, part)
np.savez(file, **contract().fingerprint())
"""


class UncompiledContract(WorldSubject):
    """A world plays and draws the same with `NUMBA_DISABLE_JIT=1`, in a process of its own. A subclass must be
    importable. It takes some seconds, and is no part of `WorldContract`, so that it can be marked as slow.

    Attributes:
        rounding: Relative and absolute tolerance of observations and rewards; 0: equal bytes.
    """

    rounding: float = 1e-6

    def fingerprint(self) -> dict[str, NDArray[Any]]:
        """Fixed draws, and fixed episodes of them."""
        world, rng = self.world, self.rng(61)
        scenarios = np.concatenate([self.scenarios(self.num_episodes, rng), natural(world, self.num_episodes, rng)])
        held_out = [
            world.dilemma.forge(8, strength, rng, True)
            for strength in (self.strengths if world.dilemma.has_forgeries else ())
        ]
        tried = try_out(world, scenarios, rng)
        played = rollout(Softened(world), world, scenarios, rng)
        return {
            "scenarios": np.concatenate([scenarios, *held_out]),
            "observations": np.stack([tried.observations, played.observations]),
            "actions": np.stack([tried.actions, played.actions]),
            "events": np.stack([tried.events, played.events]),
            "rewards": reward(played.events, np.arange(1.0, len(world.events) + 1.0)),
            "random numbers": rng.random(4),
        }

    def test_it_plays_and_draws_the_same_uncompiled(self) -> None:
        compiled = self.fingerprint()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "fingerprint.npz"
            asked = json.dumps([sys.path, type(self).__module__, type(self).__qualname__, str(file)])
            done = subprocess.run(
                [sys.executable, "-c", PROGRAM, asked],
                env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
                capture_output=True,
                text=True,
                check=False,
            )
            expect(done.returncode == 0, f"uncompiled, it fails: {done.stderr}")
            with np.load(file) as kept:
                plain = {name: kept[name] for name in kept.files}
        for name, array in compiled.items():
            same = np.array_equal(array, plain[name])
            if not same and name in ("observations", "rewards"):
                same = np.allclose(array, plain[name], rtol=self.rounding, atol=self.rounding)
            expect(same, f"{name} differ uncompiled")
