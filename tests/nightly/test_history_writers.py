"""Eight writers of ten thousand results, one of them killed, in SQLite and in PostgreSQL.

A push tries fewer of them, in SQLite alone (tests/unit/history/test_store.py).
"""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from fixtures.results import many_files
from fixtures.writers import assert_all_there_once, record_at_once, writer
from oom_suite.history.schema import VERSION
from oom_suite.history.store import Store, store_url

VERSION_1 = Path(__file__).parents[1] / "unit/history/version_1.sql"
NUM_FILES, NUM_RESULTS = 80, 125
NUM_WRITERS = 8


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request, tmp_path):
    if request.param == "sqlite":
        return str(tmp_path / "history.db")
    return request.getfixturevalue("postgresql_url")


def test_nothing_is_lost_or_doubled(store, tmp_path):
    """Each file is recorded by two writers, and what the killed one left by whoever comes later."""
    files = many_files(tmp_path, NUM_FILES, NUM_RESULTS)
    own, shared = files[:8], files[8:]
    shares = [
        [file for place, file in enumerate(shared) if place % NUM_WRITERS in {one, one - 1}]
        for one in range(1, NUM_WRITERS)
    ]
    record_at_once(store, shares, killed=own)
    assert_all_there_once(store, [file for file in files if any(file in each for each in shares)])
    again = writer(store, files)
    assert "" == again.communicate()[1]
    assert_all_there_once(store, files)
    assert NUM_FILES * NUM_RESULTS == 10_000


def test_an_older_schema_in_postgresql_becomes_this_one(postgresql_url):
    """With all that was in it; a push tries SQLite's."""
    name = "older"
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    older = postgresql_url.replace("/postgres", f"/{name}")
    with psycopg.connect(older) as connection:
        connection.execute(VERSION_1.read_text("utf-8"))
    with Store(store_url(older)) as store:
        found = {each.subject: each for each in store.results()}
        assert 3 == len(found)
        assert '{"formulas":["8*num_blocks + 4096"],"inside":[]}' == found["vllm==0.21.0"].law
    with psycopg.connect(older) as connection:
        assert (VERSION,) == connection.execute("SELECT version FROM oom_schema").fetchone()
