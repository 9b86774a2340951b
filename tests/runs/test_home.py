"""A user without a home, without a name, or whose home cannot be written."""

from __future__ import annotations

import getpass
import os
import pwd
import tempfile
from pathlib import Path

import pytest

from kerf.lab.errors import KerfError
from kerf.runs.terminal.home import settle_home


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The list of users has no entry for this process, whose environment names none; the temporary folder."""

    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, "")  # so that what is set is taken back
        monkeypatch.delenv(name)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_without_one_there_is_a_home_and_a_name(nobody):
    with pytest.raises(RuntimeError, match="home"):
        Path.home()
    settle_home()
    assert Path.home() == nobody / f"kerf-{os.getuid()}" / "home"
    assert Path.home().is_dir()
    assert getpass.getuser() == f"uid-{os.getuid()}"
    assert "MPLCONFIGDIR" not in os.environ


def test_a_home_that_is_not_there_is_replaced(nobody, monkeypatch):
    monkeypatch.setenv("HOME", str(nobody / "none"))
    settle_home()
    assert Path.home().is_dir()


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_home_that_cannot_be_written_stays(nobody, monkeypatch):
    (nobody / "mine").mkdir(mode=0o500)
    monkeypatch.setenv("HOME", str(nobody / "mine"))
    settle_home()
    assert Path.home() == nobody / "mine", "credentials may be in it"
    assert Path(os.environ["MPLCONFIGDIR"]).is_dir()


def test_one_that_is_there_is_left_alone(nobody, monkeypatch):
    monkeypatch.setenv("HOME", str(nobody))
    monkeypatch.setenv("LOGNAME", "alice")
    settle_home()
    assert (os.environ["HOME"], os.environ["LOGNAME"]) == (str(nobody), "alice")


def test_without_a_temporary_folder_a_sentence_says_what_to_set(nobody, monkeypatch):
    (nobody / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(nobody / "file"))
    with pytest.raises(KerfError, match="set HOME or TMPDIR"):
        settle_home()
