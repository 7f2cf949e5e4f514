"""The tables of a store, their version, and how an older version becomes this one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from oom_suite.errors import UsageError
from oom_suite.history.recorded import Recorded, law_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Connection

VERSION = 2
"""The layout that this suite writes. Version 1 had neither `law` nor `elapsed_us`."""
_LOCK = 0x6F6F6D
"""The number by which writers of PostgreSQL agree on who makes or changes the tables."""

_METADATA = sa.MetaData()
_TYPES: Mapping[str, Any] = {
    "num_bytes": sa.BigInteger,
    "elapsed_us": sa.Float,
    "is_dirty": sa.Boolean,
}
_OPEN = frozenset({"num_bytes", "elapsed_us"})
_INDEXED = frozenset({"line", "subject"})
RESULTS = sa.Table(
    "oom_results",
    _METADATA,
    *(
        sa.Column(
            name,
            _TYPES.get(name, sa.Text),
            primary_key=name == "key",
            index=name in _INDEXED,
            nullable=name in _OPEN,
        )
        for name in Recorded.__slots__
    ),
    sa.Column("recorded_at", sa.Text, nullable=False),
)
"""A row for each result: the fields of `Recorded`, and when it was recorded."""
SCHEMA = sa.Table("oom_schema", _METADATA, sa.Column("version", sa.Integer, nullable=False))


def version_of(connection: Connection) -> int | None:
    """The version of a store's tables; None where it has none yet."""
    if not sa.inspect(connection).has_table(SCHEMA.name):
        return None
    return connection.execute(sa.select(SCHEMA.c.version)).scalar()


def prepare(connection: Connection, shown: str) -> None:
    """Nothing; afterwards the tables are of this version, with all that was in them.

    Args:
        connection: in a transaction, which holds all of it or nothing. Of several processes one
            makes or changes the tables, and the others wait for it.
        shown: what the store is called in messages.

    Raises:
        UsageError: a newer suite has made the tables.
    """
    if version_of(connection) == VERSION:
        return
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    version = version_of(connection)
    if version is None:
        _METADATA.create_all(connection)
        connection.execute(sa.insert(SCHEMA).values(version=VERSION))
        return
    if version > VERSION:
        msg = (
            f"the store {shown} was written by a newer oom-suite: its schema is {version}, and "
            f"this one knows those up to {VERSION}; update oom-suite, or name another --store"
        )
        raise UsageError(msg)
    for older in range(version, VERSION):
        _MIGRATIONS[older](connection)
    connection.execute(sa.update(SCHEMA).values(version=VERSION))


def _to_2(connection: Connection) -> None:
    """Give each result the law that its JSON has, and times, in columns of their own."""
    connection.execute(sa.text("ALTER TABLE oom_results ADD COLUMN elapsed_us FLOAT"))
    connection.execute(sa.text("ALTER TABLE oom_results ADD COLUMN law TEXT NOT NULL DEFAULT ''"))
    known = sa.select(RESULTS.c.key, RESULTS.c.body)
    laws = [
        {"of": row.key, "found": law}
        for row in connection.execute(known)
        if (law := law_of(json.loads(row.body)))
    ]
    if laws:
        change = sa.text("UPDATE oom_results SET law = :found WHERE key = :of")
        connection.execute(change, laws)


_MIGRATIONS: Mapping[int, Callable[[Connection], None]] = {1: _to_2}
"""By the version that each makes one newer."""
