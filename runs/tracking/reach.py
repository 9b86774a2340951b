"""Reachability check of an MLflow tracking store, which takes a second or two and does not import MLflow."""

from __future__ import annotations

import socket
import sqlite3
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path
from threading import Thread
from urllib.parse import SplitResult, urlsplit, urlunsplit
from urllib.request import url2pathname

PATIENCE = 1.5
"""Seconds to wait for an answer of a store."""

PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
"""Default ports of databases."""


def reach(uri: str, patience: float = PATIENCE) -> str:
    """Describe in words, without any part of the address, whether the store at `uri` answers.

    Checks the health endpoint of a server, the schema of a SQLite file (which is not created or changed), or a
    connection to the port of another database.

    Args:
        uri: A tracking URI.
        patience: Seconds to wait for an answer.
    """
    answers: list[str] = []
    # In a thread, since a DNS look-up has no time-out.
    checking = Thread(target=lambda: answers.append(_check(uri, patience)), daemon=True)
    checking.start()
    checking.join(patience + 0.1)
    return answers[0] if answers else f"does not answer within {patience:g} s"


def _check(uri: str, patience: float) -> str:
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:  # its message would contain the address
        return "is not a valid address"
    scheme = parts.scheme.partition("+")[0]
    try:
        if scheme in ("http", "https"):
            return _server(parts, host, port, patience)
        if scheme == "sqlite":
            return _sqlite(Path(uri.removeprefix(f"{parts.scheme}:///").partition("?")[0]), patience)
        if scheme in ("", "file"):
            folder = Path(url2pathname(parts.path) if scheme else uri)
            return "is an existing folder" if folder.is_dir() else "is a folder that does not exist"
        if host and (port or scheme in PORTS):
            with socket.create_connection((host, port or PORTS[scheme]), timeout=patience):
                return "accepts connections"
    except TimeoutError:
        return f"does not answer within {patience:g} s"
    except (OSError, ValueError, sqlite3.Error) as error:
        reason = getattr(error, "reason", error)
        return f"does not answer ({getattr(reason, 'strerror', None) or type(reason).__name__})"
    return f"was not checked: addresses that begin with {scheme} are unknown"


def _server(parts: SplitResult, host: str | None, port: int | None, patience: float) -> str:
    """Check a tracking server, without sending the user and password that the address may contain."""
    name = f"[{host}]" if host and ":" in host else host or ""
    address = urlunsplit((parts.scheme, f"{name}:{port}" if port else name, f"{parts.path.rstrip('/')}/health", "", ""))
    try:
        with urllib.request.urlopen(address, timeout=patience) as answer:
            return f"answers (HTTP {answer.status})"
    except urllib.error.HTTPError as error:
        with error:
            return f"answers (HTTP {error.code})"


def _sqlite(file: Path, patience: float) -> str:
    if not file.exists():
        return "is a file that does not exist yet"
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=patience)) as database:
        database.execute("PRAGMA schema_version").fetchone()
    return "answers"
