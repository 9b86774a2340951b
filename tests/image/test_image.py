"""The image, really built, and what `kerf submit --to kuberay` sends, done in it pod by pod as KubeRay would."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from kerf.runs.records.store import Store
from tests.image import kuberay
from tests.image.building import ROOT, Builder, why_not
from tests.image.pods import Pod, pods
from tests.runs.submit.calls import SMALL, files_that_hold, kerf, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

REVISION = "0123456789abcdef0123456789abcdef01234567"
PATIENCE = 300.0
"""Seconds for pods to come up and do their work: each compiles the kernels first."""

ENOUGH = 3_000_000_000
"""Bytes: with GPU libraries, or all packages twice, it would be far more."""

ASKED = """
import importlib.metadata, json, os, pwd, torch, kerf.runs.records.provenance
print(json.dumps({
    "user": [os.getuid(), os.getgid(), pwd.getpwuid(os.getuid()).pw_dir],
    "gpu": torch.version.cuda,
    "revision": kerf.runs.records.provenance.code()["revision"],
    "versions": {one.name.lower().replace("_", "-"): one.version for one in importlib.metadata.distributions()},
}))
"""


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    folder = tmp_path_factory.mktemp("image")
    builder = Builder(folder)
    try:
        builder.base(folder)
        yield builder
    finally:
        builder("rm", "--all")
        builder("rmi", "--all", "--force")


@pytest.fixture(scope="module")
def image(builder: Builder) -> str:
    return builder.kerf("named", KERF_REVISION=REVISION)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """What the volume claim mounts, handed to the pods' group as `fsGroup` does."""
    folder = tmp_path / "volume"
    folder.mkdir()
    os.chown(folder, 0, 100)
    folder.chmod(0o2775)
    return folder


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The RayJob that is sent for a small study on two nodes."""
    monkeypatch.chdir(tmp_path)
    where = ["--to", "kuberay", "--image", "localhost/kerf", "--claim", "records", "--nodes", "2", "--cpus", "1"]
    printed = kerf("submit", "smoke", *SMALL, "--out", "there", *where, "--dry-run")
    return dict(yaml.safe_load(printed.partition("\n")[2]))


class Cluster:
    """The pods of a RayJob, whose head and worker have been started."""

    def __init__(self, members: dict[str, Pod], job: dict[str, Any], image: dict[str, Any], logs: Path) -> None:
        self.pods = members
        self._job = job
        self._own = dict(entry.split("=", 1) for entry in image["Env"])
        self._logs = logs
        self.token = secrets.token_hex(16)
        spec = job["spec"]["rayClusterSpec"]
        for name, head in (("head", None), ("worker", "head")):
            group = spec["headGroupSpec"] if head is None else spec["workerGroupSpecs"][0]
            self._start(name, kuberay.start_command(group, head), kuberay.environment(group, self.token, head))

    def _start(self, name: str, words: list[str], given: dict[str, str]) -> subprocess.Popen[bytes]:
        with self.log(name).open("wb") as log:
            return self.pods[name].start(words, {**self._own, **given}, log)

    def log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def submit(self, submission: str) -> subprocess.Popen[bytes]:
        """Start the pod that submits, once all others are ready; it ends with the job."""
        for name in ("head", "worker"):
            wait_for(lambda name=name: "success" in self.asks("api/healthz", name, kuberay.AGENT), PATIENCE)
        words = kuberay.submit_command(self._job["spec"]["entrypoint"], "head", submission)
        return self._start("submitter", words, kuberay.submitter_environment(self.token))

    def asks(self, path: str, name: str = "head", port: int = kuberay.DASHBOARD) -> str:
        """What a probe hears, which has no token."""
        words = ["wget", "--tries=1", "-T5", "-qO-", f"http://{self.pods[name].address}:{port}/{path}"]
        words = ["ip", "netns", "exec", self.pods["submitter"].network, "chroot", str(self.pods["head"].root), *words]
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout

    def kill(self) -> None:
        for pod in self.pods.values():
            pod.kill()


@contextmanager
def cluster(builder: Builder, image: str, job: dict[str, Any], volume: Path, logs: Path) -> Iterator[Cluster]:
    head = job["spec"]["rayClusterSpec"]["headGroupSpec"]
    spec = head["template"]["spec"]
    one = kuberay.container(head)
    logs.mkdir()
    settings = {
        "volume": volume,
        "mount": one["volumeMounts"][0]["mountPath"],
        "cwd": one["workingDir"],
        "uid": spec["securityContext"]["runAsUser"],
        "gid": 100,
        "fs_group": spec["securityContext"]["fsGroup"],
    }
    with pods(builder, image, ["head", "worker", "submitter"], settings) as members:
        yield Cluster(members, job, builder.configuration(image), logs)


def test_the_image_has_what_kerf_needs_and_little_else(builder, image):
    said = json.loads(builder.run(image, "python", "-c", ASKED))
    assert said["user"] == [1000, 100, "/home/kerf"]
    assert said["gpu"] is None
    assert said["revision"] == REVISION
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    wanted = dict(line.lower().replace("_", "-").split("==") for line in lines if "==" in line and line[0] != "#")
    found = {name: version.partition("+")[0] for name, version in said["versions"].items()}
    others = set(found) - set(wanted)
    assert others == {"kerf-lab", "pip", "setuptools"}
    assert {name: found[name] for name in set(found) - others} == {name: wanted[name] for name in set(found) - others}
    assert "pytest" not in found
    assert builder.run(image, "pip", "check") == "No broken requirements found."
    assert builder.run(image, "sh", "-c", "ls -A /opt/kerf /root/.cache /tmp /kerf 2>/dev/null | grep -v :") == ""
    assert builder.size(image) < ENOUGH


def test_without_a_revision_a_digest_of_the_code_stands_for_it_and_what_kerf_needs_is_kept(builder, image):
    layers = builder.layers(image)
    nameless = builder.kerf("nameless")
    said = json.loads(builder.run(nameless, "python", "-c", ASKED))
    assert re.fullmatch("sources-[0-9a-f]{64}", said["revision"])
    assert builder.layers(nameless)[:-1] == layers[:-1], "only the layer with Kerf itself is made anew"


def test_a_job_that_lost_its_cluster_goes_on_with_the_records_of_kerf_run(builder, image, job, volume, tmp_path):
    there = volume / "there"
    with cluster(builder, image, job, volume, tmp_path / "first") as first:
        lost = first.submit("first")
        assert first.asks("api/gcs_healthz") == "success"
        assert first.asks("api/local_raylet_healthz", "worker", kuberay.AGENT) == "success"
        assert first.asks("api/jobs/") == "", "who has no token learns nothing"
        aligned = there / "aligned" / "seed-0" / "done.json"
        wait_for(lambda: aligned.exists() or lost.poll() is not None, PATIENCE)
    log = first.log("submitter").read_text()
    assert aligned.exists(), log
    assert "4 units of work on 2 workers" in log
    before = aligned.stat()
    assert len(Store(there).units()) < 4
    with cluster(builder, image, job, volume, tmp_path / "second") as second:
        exit_code = second.submit("second").wait(timeout=PATIENCE)
        log = second.log("submitter").read_text()
        assert exit_code == 0, log
        assert "done already)" in log
    assert aligned.stat() == before, "what was done is not done again"
    ran = [sys.executable, "-P", "-m", "kerf.runs", "run", "smoke", *SMALL, "--out", "here", "--no-mlflow"]
    subprocess.run(ran, check=True, capture_output=True, timeout=PATIENCE)
    here, stored = Store("here"), Store(there)
    assert {unit: here.digest(unit) for unit in here.units()} == {unit: stored.digest(unit) for unit in stored.units()}
    assert len(stored.units()) == 4
    assert stored.manifest()["revision"] == REVISION
    for name in ("effects.parquet", "primaries.json", "table.txt"):
        assert (tmp_path / "here" / name).read_bytes() == (there / name).read_bytes()
    shown = {line.rstrip() for line in kerf("show", there, "--full").splitlines()}
    assert {line.rstrip() for line in (there / "table.txt").read_text().splitlines()} <= shown
    for token in (first.token, second.token):
        assert files_that_hold(volume, token) == []
