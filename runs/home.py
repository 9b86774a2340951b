"""The home folder and the user name that libraries ask for, where a container or a batch job gives neither.

A process whose user has no entry in the list of users and that has no `HOME` ends in a traceback in whatever asks
first: pathlib, MLflow, matplotlib, Ray, getpass.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from kerf.lab.compiled import own_folder
from kerf.lab.errors import KerfError


def settle_home() -> None:
    """Set `HOME`, `LOGNAME` and `MPLCONFIGDIR` for this process and those that it starts, where they are needed.

    `HOME` becomes a folder of this user's in the temporary folder if there is none; one that cannot be written stays,
    for credentials may be in it, and matplotlib alone, which would complain, is sent elsewhere.

    Raises:
        KerfError: if there is no home and no temporary folder can be written.
    """
    try:
        user: pwd.struct_passwd | None = pwd.getpwuid(os.getuid())
    except KeyError:
        user = None
    if user is None and not any(os.environ.get(name) for name in ("LOGNAME", "USER", "LNAME", "USERNAME")):
        os.environ["LOGNAME"] = f"uid-{os.getuid()}"
    home = os.environ.get("HOME") or (user.pw_dir if user is not None else "")
    if not Path(home).is_absolute() or not Path(home).is_dir():
        home = _folder("home")
    os.environ["HOME"] = home
    if "MPLCONFIGDIR" not in os.environ and not os.access(home, os.W_OK | os.X_OK):
        os.environ["MPLCONFIGDIR"] = _folder("matplotlib")


def _folder(name: str) -> str:
    folder = own_folder(name)
    if folder is None:
        raise KerfError(
            "there is no home folder that can be written, and no temporary folder to make one in: set HOME or TMPDIR "
            "to a folder that can be written"
        )
    return str(folder)
