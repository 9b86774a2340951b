"""What KubeRay makes of a RayJob: the commands and settings of its pods, as its operator (1.6) puts them together."""

from __future__ import annotations

import shlex
from typing import Any

PORT, DASHBOARD, AGENT = 6379, 8265, 52365
RESERVED = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def container(group: dict[str, Any]) -> dict[str, Any]:
    (one,) = group["template"]["spec"]["containers"]
    return dict(one)


def start_command(group: dict[str, Any], head: str | None) -> list[str]:
    """The command of a pod: of the head's if `head` is None, else of a worker's."""
    limits = container(group)["resources"]["limits"]
    amount, unit = limits["memory"][:-2], limits["memory"][-2:]
    settings = {
        **group["rayStartParams"],
        "metrics-export-port": "8080",
        "dashboard-agent-listen-port": str(AGENT),
        "num-cpus": limits["cpu"],
        "memory": str(int(amount) * RESERVED[unit]),
        **({} if head is None else {"address": f"{head}:{PORT}"}),
    }
    words = ["ray", "start", *(["--head"] if head is None else []), "--block"]
    words += [f"--{key}={value}" for key, value in settings.items()]
    return ["/bin/bash", "-c", "--", f"ulimit -n 65536; {shlex.join(words)}"]


def environment(group: dict[str, Any], token: str, head: str | None) -> dict[str, str]:
    """What KubeRay sets in a pod, and what the manifest sets."""
    return {
        **{entry["name"]: entry["value"] for entry in container(group)["env"]},
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,
        "RAY_ADDRESS": f"{'127.0.0.1' if head is None else head}:{PORT}",
        "RAY_PORT": str(PORT),
        "RAY_USAGE_STATS_KUBERAY_IN_USE": "1",
        "REDIS_PASSWORD": "",
    }


def submitter_environment(token: str) -> dict[str, str]:
    """What KubeRay sets in the pod that submits."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "PYTHONUNBUFFERED": "1"}


def submit_command(entrypoint: str, head: str, submission: str) -> list[str]:
    """The command of the pod that submits: it waits, submits unless that was done before, and follows the log."""
    to = f"--address http://{head}:{DASHBOARD}"
    healthy = f"wget --tries 1 -T 5 -q -O- http://{head}:{DASHBOARD}/api/gcs_healthz | grep success"
    return [
        "/bin/bash", "-ce", "--",
        f"until {healthy} >/dev/null 2>&1 ; do sleep 2 ; done ; "
        f"if ! ray job status {to} {submission} >/dev/null 2>&1 ; "
        f"then ray job submit {to} --no-wait --submission-id {submission} -- {entrypoint} ; fi ; "
        f"ray job logs {to} --follow {submission}",
    ]  # fmt: skip
