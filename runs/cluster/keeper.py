"""Keeper process of a local cluster: starts its nodes, publishes their addresses, and stops them on request."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

from kerf.runs.cluster.local import DESCRIPTION
from kerf.runs.execution.local_ray import LOOPBACK, OBJECT_STORE_BYTES
from kerf.runs.records import atomic_io as disk


def keep(folder: Path, num_nodes: int, cpus: int) -> None:
    """Start a cluster, write its description into `folder`, and stop it at SIGTERM or SIGINT."""
    stop_requested = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop_requested.set())
    node: dict[str, Any] = {
        "node_ip_address": LOOPBACK,
        "num_cpus": cpus,
        "object_store_memory": OBJECT_STORE_BYTES,
        "dashboard_agent_listen_port": None,  # any free port: by default all heads on a machine use the same one
    }
    head = {"include_dashboard": True, "dashboard_host": LOOPBACK, "dashboard_port": 0}
    cluster = Cluster(initialize_head=True, head_node_args={**node, **head})
    try:
        for _ in range(num_nodes - 1):
            if not stop_requested.is_set():
                cluster.add_node(**node)
        described = {
            "address": f"http://{cluster.webui_url}",
            "gcs": cluster.gcs_address,
            "nodes": num_nodes,
            "cpus": cpus,
            "scratch": os.environ["RAY_TMPDIR"],
        }
        disk.write(folder / DESCRIPTION, json.dumps(described, indent=2, sort_keys=True).encode())
        stop_requested.wait()
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    keep(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
