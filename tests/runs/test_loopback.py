"""Nothing that a study starts listens beyond this machine."""

from __future__ import annotations

import ipaddress
import json
import subprocess
import sys

import pytest

LISTENING = """
import json, os, psutil, ray
from kerf.runs.execution.local_ray import local_ray

with local_ray(1):
    ray.get(ray.remote(lambda: None).remote())  # so that there is a worker too
    here = psutil.Process()
    family = {process.pid for process in (here, *here.children(recursive=True))}
    print(json.dumps([
        connection.laddr.ip for connection in psutil.net_connections("tcp")
        if connection.pid in family and connection.status == psutil.CONN_LISTEN
    ]))
"""


@pytest.mark.slow
def test_the_private_ray_listens_on_the_loopback_address_alone():
    done = subprocess.run([sys.executable, "-c", LISTENING], capture_output=True, text=True, timeout=600, check=True)
    addresses = [ipaddress.ip_address(address) for address in json.loads(done.stdout.splitlines()[-1])]
    assert len(addresses) > 3, "Ray's servers are seen at all"
    for address in addresses:
        assert (getattr(address, "ipv4_mapped", None) or address).is_loopback, f"{address} can be reached from outside"
