"""A store of results: a SQLite file or a PostgreSQL database, by SQLAlchemy."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import platformdirs
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from oom_suite.errors import UsageError
from oom_suite.history.recorded import Recorded
from oom_suite.history.schema import RESULTS, VERSION, prepare, version_of
from oom_suite.report.rows import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Engine

VARIABLE = "OOM_SUITE_STORE"
"""Names the store of a machine or a repository where no option does."""
_BUSY_S = 60
"""Seconds that a writer of SQLite waits for another one's transaction."""
_KEYS_AT_ONCE = 200
_DRIVERS = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}
_FULL = ("full", "No space left")
_READS, _WRITES = "BEGIN", "BEGIN IMMEDIATE"
"""How a transaction of SQLite begins. One that writes takes the one right to at once: one that
asked for it later could be refused instead of waiting."""


def store_url(given: str | None, environ: Mapping[str, str] = os.environ) -> sa.URL:
    """The store that was asked for, else the one of `VARIABLE`, else a file of the user's.

    Args:
        given: a URL, or a SQLite file.
        environ: has the variable.

    Raises:
        UsageError: it is neither.
    """
    text = (given if given is not None else environ.get(VARIABLE, "")).strip()
    if not text:
        text = str(platformdirs.user_data_path("oom-suite") / "history.db")
    if "://" not in text:
        return sa.URL.create("sqlite", database=str(Path(text).expanduser().absolute()))
    try:
        url = sa.make_url(text)
    except (ArgumentError, ValueError):
        raise UsageError(
            f"the store {printable(text.partition('://')[0])}://... is no URL"
        ) from None
    kind = url.drivername.partition("+")[0]
    if kind not in {"sqlite", *_DRIVERS} or not url.database or url.database == ":memory:":
        msg = f"the store {_shown(url)} cannot be used: give a file, sqlite:///FILE, or "
        raise UsageError(msg + "postgresql://USER@HOST/DATABASE")
    return url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))


def _shown(url: sa.URL) -> str:
    """How messages name a store: without its password."""
    kind = url.drivername.partition("+")[0]
    if kind == "sqlite" and url.database:
        return printable(url.database)
    return printable(url.set(drivername=kind).render_as_string(hide_password=True))


class Store:
    """What was recorded, and the way to record more.

    A context manager. Whatever is recorded together is there as a whole or not at all, whoever
    writes at the same time, and also where the writer is killed or the disk is full.

    Args:
        url: from `store_url`.

    Raises:
        UsageError: it cannot be opened; the driver is not installed.
    """

    def __init__(self, url: sa.URL) -> None:
        self._url = url
        self.shown = _shown(url)
        try:
            self._engine = _engine(url)
        except ModuleNotFoundError as error:
            raise missing(error.name or "psycopg") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._engine.dispose()

    def exists(self) -> bool:
        """Whether there is a file to read; a database by URL is asked itself."""
        return self._engine.dialect.name != "sqlite" or Path(self._url.database or "").exists()

    def record(self, results: Sequence[Recorded]) -> int:
        """The number of results that were not there before; afterwards all of them are.

        Raises:
            UsageError: they cannot be written; none of them is there then.
        """
        self._make_folder()
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        kind = sqlite if self._engine.dialect.name == "sqlite" else postgresql
        insert = kind.insert(RESULTS).on_conflict_do_nothing()
        # In one order: writers of the same results wait for each other, and not in a circle.
        rows = [_row(each, now) for each in sorted(results, key=lambda each: each.key)]
        with self._transaction("recorded in", _WRITES) as connection:
            return connection.execute(insert, rows).rowcount if rows else 0

    def results(self, **wanted: str | None) -> list[Recorded]:
        """What was recorded, without each result's own JSON.

        Args:
            wanted: a value for columns of those names; None for any. A `subject` is one or the
                life that it is part of.

        Raises:
            UsageError: it cannot be read.
        """
        names = [name for name in Recorded.__slots__ if name != "body"]
        query = sa.select(*(RESULTS.c[name] for name in names))
        for name, value in wanted.items():
            if value is None:
                continue
            is_wanted = RESULTS.c[name] == value
            if name == "subject":
                is_wanted |= RESULTS.c.line == value
            query = query.where(is_wanted)
        with self._reading() as connection:
            return [Recorded(**row) for row in connection.execute(query).mappings()]

    def bodies(self, keys: Iterable[str]) -> dict[str, str]:
        """The JSON of these results by their keys.

        Raises:
            UsageError: it cannot be read.
        """
        found: dict[str, str] = {}
        wanted = sorted(set(keys))
        with self._reading() as connection:
            for start in range(0, len(wanted), _KEYS_AT_ONCE):
                some = wanted[start : start + _KEYS_AT_ONCE]
                query = sa.select(RESULTS.c.key, RESULTS.c.body).where(RESULTS.c.key.in_(some))
                found |= {row.key: row.body for row in connection.execute(query)}
        return found

    def _make_folder(self) -> None:
        if self._engine.dialect.name != "sqlite":
            return
        folder = Path(self._url.database or "").parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"the store {self.shown} cannot be made: {error.strerror}; name another with "
                f"--store or {VARIABLE}"
            ) from error

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A connection to read by, which waits for no writer and needs no right to write."""
        with self._transaction("read from") as connection:
            is_current = version_of(connection) == VERSION
        if not is_current:
            with self._transaction("read from", _WRITES):
                pass
        with self._transaction("read from") as connection:
            yield connection

    @contextlib.contextmanager
    def _transaction(self, done: str, begin: str = _READS) -> Iterator[Connection]:
        """A connection whose work holds as a whole; to write, on tables of this version."""
        try:
            with self._engine.connect().execution_options(oom_begin=begin) as connection:
                if begin == _WRITES:
                    prepare(connection, self.shown)
                yield connection
                connection.commit()
        except SQLAlchemyError as error:
            raise UsageError(f"results cannot be {done} {self.shown}: {_reason(error)}") from error


def _reason(error: SQLAlchemyError) -> str:
    """Why a store did not do as asked, and what to do about it."""
    cause: object = getattr(error, "orig", None) or error
    why = printable((str(cause).strip() or type(cause).__name__).splitlines()[0])
    if any(word in why for word in _FULL):
        return (
            f"{why}; nothing of this file was recorded, and the file stays: free some space and "
            "record it again"
        )
    return f"{why}; see that it can be reached and written, or name another with --store"


def missing(package: str) -> UsageError:
    """The error where a package of the extra is not installed."""
    return UsageError(
        f"a history needs {package}, which is not installed: pip install oom-suite[history]"
    )


def _row(result: Recorded, now: str) -> dict[str, Any]:
    row = {name: getattr(result, name) for name in Recorded.__slots__}
    return {**row, "made_at": result.made_at or now, "recorded_at": now}


def _engine(url: sa.URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(url)
    # Transactions begin where SQLAlchemy says so, and not where Python's driver sees a change.
    engine = sa.create_engine(url, connect_args={"timeout": _BUSY_S, "isolation_level": None})

    @sa.event.listens_for(engine, "connect")
    def _waits_its_turn(connection: Any, _: object) -> None:
        # What is written goes to a log beside the file: readers do not wait for writers.
        connection.execute("PRAGMA journal_mode=WAL")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options()["oom_begin"])

    return engine
