"""Kubernetes backend: one RayJob per job under the KubeRay operator, with a Ray cluster that lives as long as the job.

The records go to a volume claim mounted in every pod, or to an address that all pods reach. KubeRay creates the token,
and only its pods get it.
"""

from __future__ import annotations

import importlib.metadata
import json
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import yaml

from kerf.lab.errors import KerfError
from kerf.runs.records.paths import is_address
from kerf.runs.submit.backend import State, Texts, Word
from kerf.runs.submit.job import Job
from kerf.runs.submit.render import render
from kerf.runs.submit.work import Work

MANIFEST = "rayjob.yaml"
SCHEMA = "rayjob.schema.json"

MOUNT = PurePosixPath("/kerf")
"""Mount point of the volume claim in every pod; paths below the local working folder are below it there."""

RECIPE_MOUNT = PurePosixPath("/etc/kerf")

OF_A_POD = ("file", "local", "memory")
"""Schemes of addresses that refer to a different place in each pod."""

KEEP_SECONDS = 600
"""Seconds that the pods are kept after the end, so that logs can be read."""

RETRIES = 2
"""Number of retries by KubeRay, each on a new cluster; the study resumes where it was."""

WORDS: dict[str, Word] = {
    "": "waiting",
    "PENDING": "waiting",
    "RUNNING": "running",
    "SUCCEEDED": "done",
    "FAILED": "failed",
    "STOPPED": "stopped",
}


class KubeRay:
    """Jobs under KubeRay, controlled by kubectl with its current context."""

    def texts(self, job: Job, work: Work) -> Texts:
        options = job.options
        if "image" not in options:
            raise KerfError("--image is missing: kuberay needs the image, built from the Dockerfile")
        out = work.asked.out
        if "claim" not in options and (out is None or not is_address(out) or urlsplit(out).scheme in OF_A_POD):
            raise KerfError(
                "--claim is missing: kuberay needs the volume of the records, or an address for --out that all pods "
                "reach, as s3://bucket/study"
            )
        deadline = options.get("time_limit")
        if deadline is not None and not deadline.isdecimal():
            raise KerfError(f"--time must be seconds for kuberay, got {deadline!r}")
        # MLflow's default, a database in the working folder, does not work on a volume that several pods mount
        asked = replace(work.asked, out=_there(job, work), mlflow=work.asked.mlflow or None)
        what = str(RECIPE_MOUNT / work.file_name) if work.content is not None else None
        manifest = render(
            "rayjob.yaml.j2",
            job=job.id,
            name=f"{job.id}-{len(job.attempts) + 1}",
            namespace=options.get("namespace", "default"),
            entrypoint=shlex.join(["kerf", *asked.words(what)]),
            content=work.content,
            file_name=work.file_name,
            image=options["image"],
            claim=options.get("claim"),
            secret=options.get("secret"),
            cpus=options.get("cpus", 2),
            memory=options.get("memory", "4Gi"),
            nodes=options.get("nodes", 1),
            deadline=None if deadline is None else int(deadline),
            keep_seconds=KEEP_SECONDS,
            retries=RETRIES,
            ray_version=importlib.metadata.version("ray"),
            mount=str(MOUNT),
            recipe_mount=str(RECIPE_MOUNT),
        )
        check_manifest(manifest)
        return {MANIFEST: manifest}

    def send(self, job: Job, work: Work) -> Mapping[str, str]:
        del work
        name, namespace = f"{job.id}-{len(job.attempts) + 1}", job.options.get("namespace", "default")
        _kubectl("apply", "--validate=strict", "-f", str(job.next / MANIFEST))
        return {"namespace": namespace, "rayjob": name}

    def state(self, job: Job) -> State:
        try:
            found = json.loads(_kubectl(*_namespace_option(job), "get", "rayjob", job.handle["rayjob"], "-o", "json"))
        except KerfError as error:
            if "NotFound" in str(error):
                return State("stopped") if job.was_stopped else State("lost", "the RayJob is no longer there")
            raise
        status = found.get("status", {})
        if status.get("jobDeploymentStatus") == "Failed":
            return State("failed", " ".join(filter(None, (status.get("reason"), status.get("message")))))
        if status.get("jobDeploymentStatus") == "Retrying":  # the status is still the lost one's
            return State("waiting", "Retrying")
        return State(WORDS[status.get("jobStatus", "")], status.get("jobDeploymentStatus", ""))

    def logs(self, job: Job, follow: bool) -> Iterator[str]:
        words = [
            "kubectl",
            *_namespace_option(job),
            "logs",
            f"job/{job.handle['rayjob']}",
            *(["--follow"] if follow else []),
        ]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            yield from process.stdout
            errors = process.stderr.read().strip()
        if process.returncode != 0:
            raise KerfError(f"kubectl cannot show the log: {errors.splitlines()[0] if errors else process.returncode}")

    def stop(self, job: Job) -> None:
        both = [f"{kind}/{job.handle['rayjob']}" for kind in ("rayjob", "configmap")]  # the recipe's, if there is one
        _kubectl(*_namespace_option(job), "delete", *both, "--ignore-not-found", "--wait")


def check_manifest(text: str) -> None:
    """Validate every RayJob of a manifest against the schema. Raises `KerfError` for invalid or unknown fields."""
    from jsonschema import Draft202012Validator

    schema = json.loads((files("kerf.runs.submit") / SCHEMA).read_text())
    for document in yaml.safe_load_all(text):
        if document["kind"] == "RayJob":
            for error in Draft202012Validator(schema).iter_errors(document):
                raise KerfError(f"the RayJob does not fit KubeRay's schema: {error.json_path[2:]}: {error.message}")


def _there(job: Job, work: Work) -> str:
    """Folder of a study on the volume, or its address."""
    if work.asked.out is None:
        raise KerfError("--out is missing: kuberay needs one folder for several studies or a sweep")
    if is_address(work.asked.out):
        return work.asked.out
    try:
        return str(MOUNT / Path(work.asked.out).relative_to(job.cwd))
    except ValueError as error:
        raise KerfError(
            f"--out must be below the working folder, because it becomes a folder of the volume, got {work.asked.out}"
        ) from error


def _namespace_option(job: Job) -> tuple[str, str]:
    return "--namespace", job.handle["namespace"]


def _kubectl(*words: str) -> str:
    """Output of kubectl. Raises `KerfError` if it is not installed, or fails."""
    try:
        done: Any = subprocess.run(["kubectl", *words], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise KerfError("kubectl is not found: install it and give it a context that reaches your cluster") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no output"]
        raise KerfError(f"kubectl refuses: {lines[-1]}")
    return str(done.stdout)
