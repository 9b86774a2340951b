"""A PostgreSQL of the tests' own: an empty one on a free loopback port, which can be stopped and started again."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

CANARY = "canary-0b5e1"
"""The password of its user."""

USER, DATABASE = "kerf", "postgres"


def programs() -> Path | None:
    """The folder of `initdb` and `pg_ctl`: on the path, or where Debian has them; None if they are not installed."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "pg_ctl").exists()), None)


class Postgres:
    """The server. It refuses to run as root: then it runs as whom Debian's package made for it, or as nobody."""

    def __init__(self) -> None:
        found = programs()
        assert found is not None
        self._programs = found
        self._user = None
        self.folder = Path(tempfile.mkdtemp(prefix="kerf-postgres-"))
        if os.geteuid() == 0:
            known = {entry.pw_name for entry in pwd.getpwall()}
            self._user = "postgres" if "postgres" in known else "nobody"
            shutil.chown(self.folder, self._user)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        password = self.folder / "password"
        password.write_text(CANARY)
        password.chmod(0o644)
        data = str(self.folder / "data")
        self._run("initdb", "-D", data, "-U", USER, f"--pwfile={password}", "-A", "scram-sha-256", "--no-sync")

    def url(self, password: str = CANARY, database: str = DATABASE, port: int | None = None) -> str:
        """The address of the server's database."""
        return f"postgresql+psycopg://{USER}:{password}@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder} -c fsync=off"
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-o", settings, "-l", log, "start")

    def stop(self) -> None:
        """Let it fall: connections are cut, what was not committed is lost."""
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", "immediate", "stop")

    def remove(self) -> None:
        """Remove all that it wrote."""
        shutil.rmtree(self.folder)

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *words],
            user=self._user,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # the server inherits a pipe, and would keep it open
            stderr=subprocess.DEVNULL,
            timeout=120,
        )
        assert done.returncode == 0, f"{program} ended with {done.returncode}; see {self.folder}/log"
