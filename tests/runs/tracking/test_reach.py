"""Whether a tracking store answers: real servers, files and sockets, and none."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from kerf.runs.tracking.reach import reach


class Server(BaseHTTPRequestHandler):
    """Is healthy at `/health`, wants a password at `/private/health`, and keeps the headers that it was sent."""

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers))  # type: ignore[attr-defined]
        self.send_response({"/health": 200, "/private/health": 401}.get(self.path, 404))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Server) as serving:
        serving.asked = []  # type: ignore[attr-defined]
        thread = Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def test_a_server_is_asked_for_its_health_without_the_password(server):
    address = f"127.0.0.1:{server.server_port}"
    assert reach(f"http://alice:hunter2@{address}") == "answers (HTTP 200)"
    assert reach(f"http://{address}/private/") == "answers (HTTP 401)"
    assert [path for path, _ in server.asked] == ["/health", "/private/health"]
    assert all("hunter2" not in str(headers) for _, headers in server.asked)


def test_one_that_takes_connections_and_never_answers_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert reach(f"http://127.0.0.1:{port}", 0.1) == "does not answer within 0.1 s"
        assert reach(f"postgresql+psycopg://bob:hunter2@127.0.0.1:{port}/runs") == "accepts connections"
    assert reach(f"postgresql://bob:hunter2@127.0.0.1:{port}/runs") == "does not answer (Connection refused)"


def test_a_sqlite_file_is_neither_made_nor_taken_for_one_that_is_not(tmp_path):
    file = tmp_path / "mlflow.db"
    assert reach(f"sqlite:///{file}") == "is a file that does not exist yet"
    assert not file.exists()
    sqlite3.connect(file).execute("CREATE TABLE runs (id)").connection.close()
    assert reach(f"sqlite:///{file}") == "answers"
    file.write_text("this is no database, however long one reads in it\n" * 100)
    assert reach(f"sqlite:///{file}") == "does not answer (DatabaseError)"


def test_a_folder_is_there_or_not(tmp_path):
    assert reach(tmp_path.as_uri()) == reach(str(tmp_path)) == "is an existing folder"
    assert reach(f"{tmp_path}/none") == "is a folder that does not exist"


@pytest.mark.parametrize("uri", ["http://bob:hunter2@host:hunter2/", "http://[hunter2", "databricks://hunter2"])
def test_what_cannot_be_asked_is_said_without_the_address(uri):
    assert reach(uri).startswith(("is not a valid address", "was not checked"))
    assert "hunter2" not in reach(uri)
