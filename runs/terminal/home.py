"""Home folder and user name for libraries that need them, in containers and batch jobs that provide neither.

Without `HOME` and an entry for the user in the user database, several libraries raise: pathlib, MLflow, matplotlib,
Ray, getpass.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from kerf.lab.compiled import own_folder
from kerf.lab.errors import KerfError


def settle_home() -> None:
    """Set `HOME`, `LOGNAME` and `MPLCONFIGDIR` for this process and its children, if needed.

    Without a home, `HOME` is set to a folder of this user in the temporary folder. A home that is not writable is kept,
    since it may contain credentials; only matplotlib, which would print warnings, gets another folder.

    Raises:
        KerfError: if there is no home and no temporary folder is writable.
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
