"""Storage of a sweep's Optuna study: a journal in its folder, or a database, with retries while it is unavailable."""

from __future__ import annotations

import re
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from kerf.lab.errors import KerfError
from kerf.runs.records import atomic_io as disk
from kerf.runs.records.redaction import without_password, without_passwords_of
from kerf.runs.terminal.console import shell

if TYPE_CHECKING:
    import optuna
    from sqlalchemy.engine import URL

JOURNAL = "trials.journal"
"""The study's file in the sweep's folder, unless a database is used; optuna-dashboard opens it."""

PATIENCE = 60.0
"""Seconds for which an unavailable database is retried."""

CONNECTING = 10
"""Connection time-out for PostgreSQL, in seconds, unless the URL sets one. Other drivers have their own."""

_PAUSE, _LONGEST_PAUSE = 0.2, 5.0

_PACKAGES = {
    "psycopg": "'kerf-lab[postgresql]'",
    "psycopg2": "psycopg2-binary",
    "pymysql": "PyMySQL",
    "MySQLdb": "mysqlclient",
}
"""Package to install for a driver, by module name, where the two names differ."""

_ASKS_BACK = re.compile(r"\s*Is the server running[^?]*\?")
"""Text that PostgreSQL's library appends to a refused connection."""

T = TypeVar("T")


class StorageError(KerfError):
    """The storage cannot be read or written."""


class Storage:
    """The storage of a sweep's study.

    Args:
        folder: Folder of the sweep, locked by this process.
        url: URL of a database; None: the journal in `folder`.
        say: Called with a sentence when a retry waits for the database.
        patience: Seconds for which an unavailable database is retried.

    Attributes:
        name: Its name in messages, without a password.

    Raises:
        KerfError: if it cannot be opened.
    """

    def __init__(
        self,
        folder: Path,
        url: str | None = None,
        say: Callable[[str], None] = lambda sentence: None,
        patience: float = PATIENCE,
    ) -> None:
        self._url, self._say, self._patience = url, say, patience
        self._journal = folder / JOURNAL
        self.name = f"Optuna's storage {self._journal if url is None else without_password(url)}"

    def open(self) -> optuna.storages.BaseStorage:
        """The storage as an Optuna object."""
        with self._explained("cannot be opened", ImportError, RuntimeError, ValueError):
            return _journal(self._journal) if self._url is None else _database(self._url)

    def retrying(self, do: Callable[[], T], retry: bool = True) -> T:
        """Call `do` and return its result; retried while the database is unavailable, so `do` must be idempotent.

        Args:
            do: Reads or writes the study.
            patient: Whether to wait for an unavailable database.

        Raises:
            StorageError: if the database cannot be read or written, or stays unavailable.
            DiskError: if the journal cannot be written.
        """
        until = time.monotonic() + self._patience * retry
        pause, warned = _PAUSE, False
        while True:
            try:
                with self._explained("cannot be used"):
                    return do()
            except StorageError as error:
                if not _is_away(error) or time.monotonic() >= until:
                    raise
                if not warned:
                    self._say(f"{self.name} does not answer; asking again for {self._patience:g} s")
                warned = True
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    @contextmanager
    def _explained(self, what: str, *others: type[Exception]) -> Iterator[None]:
        """Turn errors of databases and disks, and `others`, into one sentence without a password."""
        from optuna.exceptions import StorageInternalError
        from sqlalchemy.exc import DBAPIError, SQLAlchemyError

        try:
            with disk.as_disk_error(self._journal):
                yield
        except (OSError, SQLAlchemyError, StorageInternalError, *others) as error:
            cause = _complaint(error)
            why = str(cause.orig if isinstance(cause, DBAPIError) and cause.orig else cause)
            if self._url is not None:
                why = without_passwords_of(self._url, why)
            why = textwrap.shorten(_ASKS_BACK.sub("", why), 400, placeholder=" ...") or type(cause).__name__
            raise StorageError(f"{self.name} {what}: {why}") from cause


def _complaint(error: BaseException) -> BaseException:
    """The database's own error within wrapped ones, if there is one; else the error itself."""
    from sqlalchemy.exc import DBAPIError

    found: BaseException | None = error
    while found is not None and not isinstance(found, DBAPIError):
        found = found.__cause__ or found.__context__
    return found or error.__cause__ or error


def check_url(url: str) -> None:
    """Refuse anything but a database URL, and one whose driver is not installed. Does not connect.

    Raises:
        KerfError: in one sentence, without a password.
    """
    made, shown = _parsed(url), without_password(url)
    from sqlalchemy.exc import NoSuchModuleError

    try:
        made.get_dialect().import_dbapi()
    except NoSuchModuleError as error:
        raise KerfError(
            f"--storage {shown}: SQLAlchemy knows no database {made.drivername!r}; expected postgresql+psycopg, "
            "mysql+pymysql, sqlite or another that it has a dialect for"
        ) from error
    except ImportError as error:
        module = (error.name or made.get_driver_name()).partition(".")[0]
        raise KerfError(
            f"--storage {shown}: its driver {module} is not installed or does not load; "
            f"`{shell('pip', 'install', _PACKAGES.get(module, module))}`"
        ) from error


def _parsed(url: str) -> URL:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    before_path = url.partition("://")[2].partition("?")[0]
    if before_path.count("@") > 1:
        raise KerfError("--storage: a user or password with an @ in it must have %40 in its place")
    try:
        return make_url(url)
    except (ArgumentError, ValueError) as error:
        raise KerfError(
            "--storage: expected the URL of a database, e.g. sqlite:///sweeps.db or "
            f"postgresql+psycopg://user@host:5432/sweeps, got {without_password(url)!r}"
        ) from error


def _database(url: str) -> optuna.storages.BaseStorage:
    """A database whose connections are tested before use: connections from before a server's restart are dead."""
    from optuna.storages import RDBStorage

    made = _parsed(url)
    kwargs: dict[str, Any] = {"pool_pre_ping": True}
    if made.get_backend_name() == "postgresql" and "connect_timeout" not in made.query:
        kwargs["connect_args"] = {"connect_timeout": CONNECTING}
    return RDBStorage(url, engine_kwargs=kwargs)


def _journal(path: Path) -> optuna.storages.BaseStorage:
    """The journal in `path`, repaired if a kill or a power cut left a partial last line or a lock behind."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)  # its holder is gone: this process holds the folder
    if path.exists():
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            with path.open("r+b") as file:
                file.truncate(whole)
    return JournalStorage(JournalFileBackend(str(path)))


def _is_away(error: StorageError) -> bool:
    """Whether the server was unreachable, disconnected or overloaded: errors that may be temporary."""
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

    cause = error.__cause__
    return isinstance(cause, OperationalError | InterfaceError) or (
        isinstance(cause, DBAPIError) and cause.connection_invalidated
    )
