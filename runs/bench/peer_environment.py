"""Python environment of the benchmarks' peers: made once, in its own folder, separate from the project's.

It is an overlay: packages of the project's environment (torch, numpy, ray, ...) are visible behind its own, so that
only what the peers need beyond them is downloaded. pip counts visible packages as installed and keeps the compatible
ones; where a peer needs another version, it is installed in the overlay, for the peers only.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from kerf.lab.errors import KerfError
from kerf.runs.records import atomic_io as disk

REQUIREMENTS = ("rejax==0.1.3", "gymnax==0.0.9", "jax==0.10.*", "stable-baselines3>=2.7,<3")
FOLDER = Path("out/peers")

_MADE = "made.json"
_LAST_LINES = 5


def peer_python(
    folder: Path, say: Callable[[str], None] = print, requirements: Sequence[str] = REQUIREMENTS, offline: bool = False
) -> Path:
    """The interpreter of the peers' environment in `folder`, which is created unless an equal one exists.

    Args:
        folder: Its folder, created if need be. The environment goes into `folder/environment`.
        say: Callback for messages before slow steps.
        requirements: What pip installs.
        offline: Use only packages that are visible already.

    Raises:
        KerfError: if it cannot be written or installed there; with pip's last lines.
    """
    home = folder.resolve() / "environment"
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    visible = list(dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]))
    recipe = {"requirements": list(requirements), "visible": visible, "python": sys.version}
    digest = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()
    made = home / _MADE
    if made.exists() and json.loads(made.read_text())["sha256"] == digest:
        return python
    if home.exists() and not (home / "pyvenv.cfg").exists():
        raise KerfError(f"{home} is in the way: expected no folder or an environment of peers; name another folder")
    with disk.as_disk_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
    say(f"Installing the peers ({', '.join(requirements)}) into {home}: once, some minutes and 0.6 GB.")
    visible_pip = ["--without-pip"] if find_spec("pip") else []  # one of its own takes seconds, and is not needed
    _call([sys.executable, "-m", "venv", "--clear", *visible_pip, str(home)], f"make an environment in {home}")
    packages = _call(
        [str(python), "-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], "start Python"
    )
    # `addsitedir`, unlike a bare path, reads the .pth files there too, which an editable install of Kerf needs
    lines = [f"import site; site.addsitedir({path!r})" for path in visible]
    (Path(packages.strip()) / "kerf_overlay.pth").write_text("\n".join(lines) + "\n")
    # -I: a PYTHONPATH must not hide the overlay's packages
    pip = [str(python), "-I", "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-input"]
    _call([*pip, *(["--no-index"] if offline else []), *requirements], f"install the peers into {home}")
    disk.write(made, json.dumps({"sha256": digest, **recipe}, indent=2).encode() + b"\n")
    return python


def _call(command: Sequence[str], purpose: str) -> str:
    """Standard output of a command. Raises `KerfError` with its last lines if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise KerfError(f"cannot {purpose}; leave the peers out or mend this: {' / '.join(lines[-_LAST_LINES:])}")
    return done.stdout
