"""Pods without a cluster: containers of an image in namespaces of their own, with addresses and without rights."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import psutil

from tests.image.building import Builder

GATEWAY = "10.211.0.254"

START = """
hostname {name}
mount -t proc proc {root}/proc
mount --rbind /dev {root}/dev
mount -t tmpfs -o size=2g tmpfs {root}/dev/shm
mount --bind {volume} {root}{mount}
exec env -i {environment} chroot {root} \\
    setpriv --reuid {uid} --regid {gid} --groups {fs_group} --no-new-privs --bounding-set=-all --inh-caps=-all \\
    env -C {cwd} {command}
"""


class Pod:
    """One container that may be started in, and dies as a whole."""

    def __init__(self, name: str, root: Path, network: str, address: str, settings: Mapping[str, object]) -> None:
        self.name = name
        self.root = root
        self.address = address
        self.network = network
        self._settings = settings
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, words: list[str], environment: Mapping[str, str], log: IO[bytes] | int) -> subprocess.Popen[bytes]:
        """A process that is the pod's first; when it ends, or is killed, so do all that it started."""
        given = shlex.join(f"{key}={value}" for key, value in environment.items())
        script = START.format(
            name=self.name, root=self.root, environment=given, command=shlex.join(words), **self._settings
        )
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--ipc", "--uts"]
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.network, *namespaces, "sh", "-ec", script],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self._processes.append(process)
        return process

    def kill(self) -> None:
        """As when its node is lost: nobody is told."""
        for process in self._processes:
            if process.poll() is None:
                for first in psutil.Process(process.pid).children():  # of its namespace: the others go with it
                    first.kill()
            process.wait(timeout=30)


@contextmanager
def pods(builder: Builder, image: str, names: list[str], settings: Mapping[str, object]) -> Iterator[dict[str, Pod]]:
    """Pods of these names on a network of their own, which find each other by name."""
    switch = f"kerf-{os.getpid()}"
    addresses = {name: f"10.211.0.{number}" for number, name in enumerate(names, 1)}
    found: dict[str, Pod] = {}
    with ExitStack() as stack:
        _namespace(stack, switch)
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "address", "add", f"{GATEWAY}/24", "dev", "bridge")
        _ip("-n", switch, "link", "set", "bridge", "up")
        for name in names:
            network = f"{switch}-{name}"
            _namespace(stack, network)
            _ip("-n", network, "link", "add", "eth0", "type", "veth", "peer", "name", name, "netns", switch)
            _ip("-n", switch, "link", "set", name, "master", "bridge", "up")
            _ip("-n", network, "address", "add", f"{addresses[name]}/24", "dev", "eth0")
            for link in ("eth0", "lo"):
                _ip("-n", network, "link", "set", link, "up")
            _ip("-n", network, "route", "add", "default", "via", GATEWAY)  # Ray asks the routes for its address
            root = stack.enter_context(builder.container(image))
            hosts = [f"{address} {of}" for of, address in addresses.items()]
            (root / "etc" / "hosts").write_text("\n".join(["127.0.0.1 localhost", *hosts, ""]))
            (root / "etc" / "resolv.conf").write_text("")  # or names that nobody knows would be asked for in vain
            found[name] = Pod(name, root, network, addresses[name], settings)
            stack.callback(found[name].kill)
        yield found


def _namespace(stack: ExitStack, name: str) -> None:
    _ip("netns", "add", name)
    stack.callback(_ip, "netns", "delete", name)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
