"""A study that is kept elsewhere: in a real S3 server on this machine, and in what fsspec takes for elsewhere."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fsspec.core import url_to_fs
from rich.console import Console

from kerf.lab.errors import KerfError
from kerf.runs.execution.processes import JOB_MARK, end_marked
from kerf.runs.recipe.files import load_recipe
from kerf.runs.recipe.model import recipe_hash
from kerf.runs.records import atomic_io as disk
from kerf.runs.records.atomic_io import DiskError
from kerf.runs.records.checkpoints import Checkpoints
from kerf.runs.records.paths import folder_of
from kerf.runs.records.remote import Remote
from kerf.runs.records.store import ALIGNED, Store, Unit
from kerf.runs.study import DONE, run_study
from tests.runs.submit.calls import refused
from tests.runs.test_study import records

KERF = Path(sys.executable).with_name("kerf")
UNIT = Unit("penalised", 0)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A study's folder with two units, as far as they matter."""
    store = Store(tmp_path / "here")
    store.path.mkdir()
    store.write_json("study", {"recipe_hash": "1", "name": "x"})
    for unit in (Unit(ALIGNED, 0), UNIT):
        with store.unit(unit) as folder:
            folder.write_text("a.txt", unit.name)
            folder.write_bytes("b.bin", bytes(1000))
    return store.path


def elsewhere(tmp_path: Path, name: str = "here") -> Remote:
    """The place that a folder stands for."""
    remote = Store.kept_at(tmp_path / name, f"file://{tmp_path}/there/").remote
    assert isinstance(remote, Remote)
    return remote


def test_what_was_sent_comes_back_and_only_what_is_missing_is_sent(here, tmp_path):
    remote = elsewhere(tmp_path)
    remote.push()
    assert records(tmp_path / "there") == records(here)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "there" / UNIT.name).iterdir()}
    remote.push()
    remote.push_unit(UNIT.name)
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "there" / UNIT.name).iterdir()}
    elsewhere(tmp_path, "other").pull()
    assert records(tmp_path / "other") == records(here)
    assert Store(tmp_path / "other").units(verify=True) == [Unit(ALIGNED, 0), UNIT]


def test_a_torn_upload_is_as_good_as_none_and_a_damaged_one_is_named(here, tmp_path):
    remote, there = elsewhere(tmp_path), tmp_path / "there" / UNIT.name
    remote.push()
    done = (there / "done.json").read_bytes()
    for torn in (None, done[:-20]):
        (there / "done.json").unlink() if torn is None else (there / "done.json").write_bytes(torn)
        other = elsewhere(tmp_path, f"other-{torn is None}")
        other.pull()
        assert Store(other.root).units() == [Unit(ALIGNED, 0)]
        remote.push_unit(UNIT.name)
        assert (there / "done.json").read_bytes() == done
    (there / "b.bin").write_bytes(b"\1" + bytes(999))
    other = elsewhere(tmp_path, "third")
    with pytest.raises(KerfError, match=r"there/cells/penalised/seed-0 is damaged: the SHA-256 of b.bin .* remove it"):
        other.pull_unit(UNIT.name)
    assert not (other.root / UNIT.name).exists()


def test_other_records_and_other_studies_are_refused(here, tmp_path):
    elsewhere(tmp_path).push()
    Store(tmp_path / "other").path.mkdir()
    Store(tmp_path / "other").write_json("study", {"recipe_hash": "2", "name": "y"})
    with pytest.raises(KerfError, match=r"mirrors file://.*, which holds another study"):
        elsewhere(tmp_path, "other").pull()
    with Store(tmp_path / "third").unit(UNIT) as folder:
        folder.write_text("a.txt", "something else")
    with pytest.raises(KerfError, match="differs from the copy in"):
        elsewhere(tmp_path, "third").push_unit(UNIT.name)


def test_other_versions_and_other_studies_are_not_overwritten_there(here, tmp_path):
    elsewhere(tmp_path).push()
    for name, change in (("study", "study.json"), ("unit", f"{UNIT.name}/done.json")):
        shutil.copytree(tmp_path / "here", tmp_path / name)
        content = (tmp_path / name / change).read_text()
        (tmp_path / name / change).write_text(content.replace('"recipe_hash": "1"', '"recipe_hash": "2"') + "\n")
    with pytest.raises(KerfError, match=r"mirrors file://.*, which holds another study.*give --out another address"):
        elsewhere(tmp_path, "study").push()
    with pytest.raises(KerfError, match=r"cells/penalised/seed-0 differs from the copy in .*move one of them away"):
        elsewhere(tmp_path, "unit").push()
    assert records(tmp_path / "there") == records(here)


def test_many_processes_of_one_machine_fetch_the_same_at_once(here, tmp_path):
    elsewhere(tmp_path).push()
    script = (
        "import sys; from pathlib import Path\n"
        "from kerf.runs.records.store import Store, Unit, open_records\n"
        "root = Path(sys.argv[1]); print('here', flush=True); sys.stdin.readline()\n"
        "Store.kept_at(root, sys.argv[2]).fetch([Unit('penalised', 0)]); open_records(root)\n"
    )
    for number in range(4):
        root = tmp_path / f"other-{number}"
        several = [
            subprocess.Popen(
                [sys.executable, "-c", script, root, f"file://{tmp_path}/there"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
            for _ in range(4)
        ]  # fmt: skip
        for process in several:
            assert process.stdout is not None
            assert process.stdout.readline() == "here\n", process.communicate()[0]
        for process in several:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        for process in several:
            said, _ = process.communicate(timeout=600)
            assert process.returncode == 0, said
        assert records(root) == records(here)


def test_records_that_a_process_is_at_work_on_are_not_overwritten(here, tmp_path):
    remote = elsewhere(tmp_path)
    remote.push()
    (here / "trials.journal").write_text("newer")
    (tmp_path / "there" / "trials.journal").write_text("older")
    (tmp_path / "there" / "table.txt").write_text("a table")
    with disk.file_lock(here / ".lock", "the study"):
        remote.pull()
        assert (here / "trials.journal").read_text() == "newer"
    assert (here / "table.txt").read_text() == "a table", "what is missing is fetched"
    remote.pull()
    assert (here / "trials.journal").read_text() == "older"


def test_a_variant_is_kept_below_the_address(tmp_path):
    Store.kept_at(tmp_path / "many", "memory://kept/here/")
    one = Store(tmp_path / "many" / "one")
    assert isinstance(one.remote, Remote)
    assert one.address == one.remote.address == "memory://kept/here/one"
    assert one.remote.root == tmp_path / "many" / "one"
    assert Store(tmp_path).address is None


def test_a_password_in_an_address_is_refused_and_not_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (("run", "smoke"), ("submit", "smoke", "--to", "local")):
        sentence = refused(*words, "--out", "sftp://me:canary-3@host/study")
        assert "--out holds a password" in sentence
        assert "canary-3" not in sentence
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("address", ["s3://", "s3:///", "s3://bucket/../other", "s3://bucket/x?version=1"])
def test_an_address_without_a_place_is_refused(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KerfError, match="expected a folder or an address like s3://bucket/study, got"):
        folder_of(address)
    assert list(tmp_path.iterdir()) == []


def test_a_scheme_that_nobody_knows_and_a_place_that_is_not_there_are_explained(here, tmp_path):
    with pytest.raises(KerfError, match="expected an address that fsspec knows"):
        Remote(here, "nowhere://x/y")
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match=r"file:///.* cannot be used \(NotADirectoryError: .*the records so far"):
        Remote(here, f"file://{tmp_path}/file/below").push()


def names(address: str) -> set[str]:
    """What is kept at an address."""
    fs, base = url_to_fs(address, use_listings_cache=False, skip_instance_cache=True)
    return {name.removeprefix(f"{base}/") for name in fs.find(base)}


def test_a_bucket_that_is_not_there_and_a_package_that_is_not_installed_are_explained(s3, here):
    with pytest.raises(DiskError, match=r"s3://absent/x cannot be used \(FileNotFoundError: .*bucket"):
        Remote(here, "s3://absent/x").push()
    with pytest.raises(KerfError, match=r"gs://b/x: .*gcsfs.*; for s3:// it is pip install 'kerf-lab\[s3\]'"):
        Remote(here, "gs://b/x")


def test_checkpoints_are_sent_fetched_elsewhere_and_removed(s3, here, tmp_path):
    first = Checkpoints(Store.kept_at(here, f"{s3}/x"), UNIT, recipe_hash(load_recipe("smoke")), every=0.0)
    for iteration in (1, 2, 3):
        first.keep(iteration, {"part": ({"a": np.arange(3)}, {"iteration": iteration})})
    other = Checkpoints(Store.kept_at(tmp_path / "other", f"{s3}/x"), UNIT, recipe_hash(load_recipe("smoke")))
    found = other.newest()
    assert found is not None
    assert found["part"][1] == {"iteration": 3}
    (other.path / "000000003" / "state.json").write_text("")
    assert other.newest()["part"][1] == {"iteration": 2}, "the damaged one is not fetched again"
    assert not any("000000003" in name for name in names(f"{s3}/x"))
    other.remove()
    assert names(f"{s3}/x") == set()


@pytest.mark.slow
def test_a_study_in_s3_is_killed_and_continued_on_another_machine_with_the_records_of_a_local_one(s3, tmp_path):
    address = f"{s3}/deep/smoke"
    sets = ("arms={frozen: null}", "iterations=8", "measure_every=4")
    options = ["--seeds", "1", "--no-mlflow", "--checkpoint-every", "0"]
    options += [word for text in sets for word in ("--set", text)]

    def begin(machine: str, out: str, workers: int) -> subprocess.Popen[str]:
        (tmp_path / machine).mkdir(exist_ok=True)
        environment = os.environ | {JOB_MARK: str(tmp_path / machine)}
        return subprocess.Popen(
            [KERF, "run", "smoke", "--out", out, "--workers", str(workers), *options], cwd=tmp_path / machine,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
        )  # fmt: skip

    first = begin("first", address, 1)
    deadline = time.monotonic() + 400.0
    try:
        while time.monotonic() < deadline and first.poll() is None:
            found = {name for name in names(address) if name.endswith("/done.json")}
            if "aligned/seed-0/done.json" in found and any(name.startswith("checkpoints/cells/") for name in found):
                break
            time.sleep(0.2)
    finally:
        end_marked(JOB_MARK, str(tmp_path / "first"), grace=0.0)  # with its workers, as a machine that loses its power
        output, _ = first.communicate()
    kept = {name for name in names(address) if name.endswith("done.json")}
    assert any(name.startswith("checkpoints/cells/") for name in kept), output
    shutil.rmtree(tmp_path / "first")

    second = begin("second", address, 2)
    output, _ = second.communicate(timeout=600)
    assert second.returncode == DONE, output
    assert "are done already" in output
    assert "goes on after" in output
    assert f"kept at   {address}" in output
    said = Console(file=io.StringIO(), width=140)
    recipe, local = load_recipe("smoke", seeds=1, sets=sets), tmp_path / "local" / "study"
    assert run_study(recipe, local, None, 2, said) == DONE, said.file.getvalue()

    expected = records(local)
    fs, base = url_to_fs(address, skip_instance_cache=True)
    assert names(address) == {*expected, "timing.jsonl"}, "checkpoints are gone, all else is there"
    for name in expected:
        assert fs.cat_file(f"{base}/{name}") == (local / name).read_bytes(), name
    (tmp_path / "third").mkdir()
    words = [KERF, "show", address, "--full"]
    shown = subprocess.run(words, cwd=tmp_path / "third", capture_output=True, text=True, check=True)
    table = (local / "table.txt").read_text()
    assert [line.rstrip() for line in shown.stdout.splitlines()] == table.splitlines()
