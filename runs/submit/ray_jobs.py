"""Backend for a running Ray cluster: Ray Jobs, authenticated by a token, with an id derived from the job's.

The cluster's nodes must see Kerf and, unless the study is kept elsewhere, its folder under the same paths as this
machine.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shlex
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kerf.lab.errors import KerfError
from kerf.runs.cluster.local import local_cluster
from kerf.runs.execution.processes import JOB_MARK, end_marked
from kerf.runs.records.redaction import refuse_password
from kerf.runs.submit.backend import State, Texts, Word
from kerf.runs.submit.job import Job
from kerf.runs.submit.local import kerf_words
from kerf.runs.submit.work import Work

REQUEST = "request.json"

WORDS: dict[str, Word] = {
    "PENDING": "waiting",
    "RUNNING": "running",
    "SUCCEEDED": "done",
    "FAILED": "failed",
    "STOPPED": "stopped",
}

PATIENCE = 60.0
"""Seconds within which a job must be accepted, and within which it must stop."""

TIMEOUT = 10.0
"""Seconds within which a head must respond."""


class RayJobs:
    """Jobs on a Ray cluster."""

    def texts(self, job: Job, work: Work) -> Texts:
        command = shlex.join([*kerf_words(job.options.get("python")), *work.asked.words()])
        request = {
            "address": _address(job),
            "submission_id": f"{job.id}-{len(job.attempts) + 1}",
            "entrypoint": f"cd {shlex.quote(job.cwd)} && exec {command}",
            "runtime_env": {"env_vars": {"KERF_RAY": "auto", JOB_MARK: str(job.folder), "PYTHONUNBUFFERED": "1"}},
            "metadata": {"kerf": job.id},
        }
        return {REQUEST: json.dumps(request, indent=2) + "\n"}

    def send(self, job: Job, work: Work) -> Mapping[str, str]:
        del work
        request = json.loads((job.next / REQUEST).read_bytes())
        address = request.pop("address")
        client = _client(address)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                client.submit_job(**request)
            except (RuntimeError, ValueError) as error:
                if "try again later" in str(error) and time.monotonic() < deadline:
                    time.sleep(1.0)  # a head that has just started has no agent yet that accepts jobs
                    continue
                if "already" not in str(error):  # else an earlier submission arrived before it was recorded here
                    raise KerfError(f"{address} rejected the job: {str(error).splitlines()[0]}") from error
            break
        found = local_cluster()
        ours = {"local_cluster": found.scratch} if found is not None and found.address == address else {}
        return {"address": address, "submission_id": request["submission_id"], **ours}

    def state(self, job: Job) -> State:
        found, ours = local_cluster(), job.handle.get("local_cluster")
        if ours is not None and (found is None or found.scratch != ours):
            return State("lost", "its local cluster is stopped")
        try:
            info = _client(job.handle["address"]).get_job_info(job.handle["submission_id"])
        except RuntimeError as error:
            if "does not exist" in str(error):
                return State("lost", "the head does not know the job: the cluster is another one, or was restarted")
            raise
        lines = [line.strip() for line in (info.message or "").splitlines() if line.strip()]
        last = f", {lines[-1]}" if len(lines) > 1 else ""  # of a failure: the last line of its log
        failed = info.status == "FAILED" and lines
        return State(WORDS[info.status], f"{lines[0].partition(', last available')[0]}{last}" if failed else "")

    def logs(self, job: Job, follow: bool) -> Iterator[str]:
        client, submission_id = _client(job.handle["address"]), job.handle["submission_id"]
        if not follow:
            yield client.get_job_logs(submission_id)
            return
        with asyncio.Runner() as runner:
            chunks = client.tail_job_logs(submission_id)

            async def next_chunk() -> str | None:
                return await anext(chunks, None)

            while (chunk := runner.run(next_chunk())) is not None:
                yield chunk

    def stop(self, job: Job) -> None:
        client, submission_id = _client(job.handle["address"]), job.handle["submission_id"]
        client.stop_job(submission_id)
        deadline = time.monotonic() + PATIENCE
        while WORDS[client.get_job_status(submission_id)] not in ("stopped", "done", "failed"):
            if time.monotonic() > deadline:
                raise KerfError(f"{job.id} is still running {PATIENCE:g} s after the request to stop")
            time.sleep(0.2)
        end_marked(JOB_MARK, str(job.folder))  # end its processes on this machine that are still running


def _address(job: Job) -> str:
    """Address of the head for a job: the requested one, or the local cluster's."""
    address: str | None = job.options.get("address")
    if address is None:
        found = local_cluster()
        if found is None:
            raise KerfError(
                "--address is missing and no local cluster is up: give a head's address, or kerf cluster up"
            )
        return found.address
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise KerfError(f"--address must be a head's http address, e.g. http://127.0.0.1:8265, got {address!r}")
    refuse_password(address, "--address")
    return address.rstrip("/")


def _headers(address: str) -> dict[str, str]:
    """Authentication headers for `address`. The local cluster's token is sent to the local cluster only."""
    found = local_cluster()
    if found is not None and found.address == address:
        return {"Authorization": f"Bearer {found.token_file.read_text().strip()}"}
    if os.environ.get("RAY_AUTH_MODE") == "disabled":
        return {}
    token, path = os.environ.get("RAY_AUTH_TOKEN"), os.environ.get("RAY_AUTH_TOKEN_PATH")
    if not token and path:
        try:
            token = Path(path).read_text().strip()
        except OSError as error:
            raise KerfError(f"RAY_AUTH_TOKEN_PATH: {path} cannot be read: {error.strerror}") from error
    if not token:
        raise KerfError(
            f"there is no token for {address}: set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to its file (a head "
            "without a token runs whatever anybody sends; RAY_AUTH_MODE=disabled uses it nevertheless)"
        )
    return {"Authorization": f"Bearer {token}"}


def _client(address: str) -> Any:
    """An authenticated client of the head at `address`. Raises `KerfError` if the head refuses."""
    import requests

    headers = _headers(address)
    try:
        answer = requests.get(f"{address}/api/version", headers=headers, timeout=TIMEOUT, allow_redirects=False)
    except requests.RequestException as error:
        raise KerfError(f"no Ray head answers at {address} ({type(error).__name__})") from error
    if answer.status_code in (401, 403):
        which = "a" if answer.status_code == 401 else "another"
        raise KerfError(
            f"{address} refuses access: it requires {which} token, in RAY_AUTH_TOKEN or "
            "in the file that RAY_AUTH_TOKEN_PATH names"
        )
    if answer.status_code != 200:
        raise KerfError(f"no Ray head answers at {address}: the server there returned HTTP {answer.status_code}")
    from ray.job_submission import JobSubmissionClient

    logging.getLogger("ray.dashboard.modules.job.sdk").setLevel(logging.WARNING)  # it logs every closed connection
    return JobSubmissionClient(address, headers=headers)
