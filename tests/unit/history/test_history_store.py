"""What is recorded is there once and whole, whatever happens meanwhile."""

from __future__ import annotations

import re
import signal
import sqlite3
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from fixtures.results import checked, many_files, write_results
from fixtures.writers import assert_all_there_once, writer
from oom_suite.errors import UsageError
from oom_suite.history import schema
from oom_suite.history import store as stores
from oom_suite.history.reading import read_files
from oom_suite.history.recorded import Recorded
from oom_suite.history.store import VARIABLE, Store, store_url

VERSION_1 = Path(__file__).with_name("version_1.sql")


def results_of(*paths):
    return [each for file in read_files([str(path) for path in paths]) for each in file.results]


@pytest.fixture
def store(tmp_path):
    with Store(store_url(str(tmp_path / "history.db"))) as opened:
        yield opened


@pytest.fixture
def older(tmp_path):
    """A store that version 1 of the schema wrote."""
    path = tmp_path / "history.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(VERSION_1.read_text("utf-8"))
    connection.close()
    return path


def version_in(path):
    connection = sqlite3.connect(path)
    (version,) = connection.execute("SELECT version FROM oom_schema").fetchone()
    connection.close()
    return version


def test_the_same_result_twice_is_one_row(store, tmp_path):
    """By its content: a copy of the file under another name is the same too."""
    results = [checked(), checked(num_bytes=801)]
    first = write_results(tmp_path / "a.json", results)
    second = write_results(tmp_path / "b.json", [*results, checked(num_bytes=802)])
    assert 2 == store.record(results_of(first))
    assert 0 == store.record(results_of(first))
    assert 1 == store.record(results_of(second))
    assert {800, 801, 802} == {each.num_bytes for each in store.results()}
    assert 3 == len(store.results())


@pytest.mark.parametrize(
    "made",
    [
        {"torch": "2.11.0"},
        {"triton": None},
        {"python": "3.12.1"},
        {"made_at": "2026-11-28T01:00:00.001+00:00"},
        {"working_tree": {"commit": "b" * 40, "dirty": False, "committed_at": None}},
        {"working_tree": {"commit": "a" * 40, "dirty": True, "committed_at": None}},
    ],
    ids=str,
)
def test_the_same_figures_from_elsewhere_are_another_result(store, tmp_path, made):
    """Made again, or with another torch, or of another commit."""
    store.record(results_of(write_results(tmp_path / "a.json", [checked()])))
    assert 1 == store.record(results_of(write_results(tmp_path / "b.json", [checked()], **made)))


def test_what_is_read_is_what_was_recorded(store, tmp_path):
    """All fields, and the result's own JSON by its key."""
    (given,) = results_of(write_results(tmp_path / "a.json", [checked()]))
    store.record([given])
    (found,) = store.results()
    assert {given.key: given.body} == store.bodies([given.key])
    for name in Recorded.__slots__:
        if name != "body":
            assert getattr(given, name) == getattr(found, name)


def test_a_result_of_no_known_time_has_that_of_its_recording(store, tmp_path):
    store.record(results_of(write_results(tmp_path / "a.json", [checked()], made_at=None)))
    (found,) = store.results()
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT[\d:.]{12}\+00:00", found.made_at)


def test_results_are_found_by_subject_or_life_and_what_else_is_asked(store, tmp_path):
    """`vllm` finds all its releases, and `vllm==0.21.0` that one."""
    subjects = ["vllm==0.21.0", "vllm==0.33.0", "decode.py:decode"]
    for number, subject in enumerate(subjects):
        target = f"cuda:sm_9{number % 2}"
        path = write_results(tmp_path / "a.json", [checked(subject=subject, target=target)])
        store.record(results_of(path))

    def subjects_of(**wanted):
        return sorted(each.subject for each in store.results(**wanted))

    assert ["vllm==0.21.0", "vllm==0.33.0"] == subjects_of(subject="vllm")
    assert ["vllm==0.21.0"] == subjects_of(subject="vllm==0.21.0")
    assert ["vllm==0.33.0"] == subjects_of(subject="vllm", target="cuda:sm_91")
    assert [] == subjects_of(subject="vllm", torch="2.11.0")
    assert sorted(subjects) == subjects_of(subject=None)


def test_writers_at_the_same_time_lose_and_double_nothing(tmp_path):
    """Eight of them, each file twice; at night with processes and in PostgreSQL, ten thousand."""
    files = many_files(tmp_path, 16, 5)
    url = store_url(str(tmp_path / "history.db"))
    problems = []

    def record(share):
        try:
            with Store(url) as mine:
                for file in share:
                    mine.record(results_of(file))
        except UsageError as error:
            problems.append(str(error))

    writers = [
        threading.Thread(target=record, args=([*files[one::8], *files[(one + 1) % 8 :: 8]],))
        for one in range(8)
    ]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    assert [] == problems
    assert_all_there_once(str(tmp_path / "history.db"), files)


def test_a_writer_that_is_killed_leaves_nothing_of_its_file_and_the_store_whole(tmp_path):
    """It had written all of the file and committed none of it; whoever comes later records it."""
    path = str(tmp_path / "history.db")
    before, cut = many_files(tmp_path, 2, 5)
    with Store(store_url(path)) as store:
        store.record(results_of(before))
        stopped = writer(path, [cut], stops=True)
        assert "written, and not committed\n" == stopped.stdout.readline()
        assert_all_there_once(path, [before])
        stopped.send_signal(signal.SIGKILL)
        stopped.communicate()
        assert_all_there_once(path, [before])
        assert 5 == store.record(results_of(cut))
    assert_all_there_once(path, [before, cut])


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path, monkeypatch):
    """What was there stays, the file too, and with room it is recorded."""
    first, second = many_files(tmp_path, 2, 100)
    path = str(tmp_path / "history.db")
    with Store(store_url(path)) as store:
        store.record(results_of(first))
    engine_of = stores._engine

    def small(url):
        engine = engine_of(url)

        @sa.event.listens_for(engine, "connect")
        def limit(connection, _):
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count={pages + 3}")

        return engine

    monkeypatch.setattr(stores, "_engine", small)
    with Store(store_url(path)) as store, pytest.raises(UsageError) as caught:
        store.record(results_of(second))
    assert (
        f"results cannot be recorded in {path}: database or disk is full; nothing of this file was "
        "recorded, and the file stays: free some space and record it again"
    ) == str(caught.value)
    assert_all_there_once(path, [first])
    monkeypatch.undo()
    with Store(store_url(path)) as store:
        assert 100 == store.record(results_of(second))
    assert_all_there_once(path, [first, second])


def test_an_older_schema_becomes_this_one_with_all_that_was_in_it(older, tmp_path):
    """The column that is new has what the results' own JSON says."""
    with Store(store_url(str(older))) as store:
        found = {each.subject: each for each in store.results()}
        bodies = store.bodies(each.key for each in found.values())
    assert schema.VERSION == version_in(older)
    assert {"decode.py:decode", "vllm==0.21.0", "it's.py:broken"} == set(found)
    assert 3 == len(bodies)
    assert '{"formulas":["8*num_blocks + 4096"],"inside":[]}' == found["vllm==0.21.0"].law
    assert ("", None) == (found["it's.py:broken"].law, found["it's.py:broken"].num_bytes)
    again = write_results(
        tmp_path / "again.json",
        [checked(), checked("8*num_blocks + 4096", 4896, subject="vllm==0.21.0")],
    )
    with Store(store_url(str(older))) as store:
        assert 0 == store.record(results_of(again))


def test_a_migration_that_breaks_off_leaves_the_older_schema(older, monkeypatch):
    """With its results; the next one who opens it makes it whole."""

    def broken(connection):
        schema._to_2(connection)
        connection.execute(sa.text("INSERT INTO no_such_table VALUES (1)"))

    monkeypatch.setattr(schema, "_MIGRATIONS", {1: broken})
    with Store(store_url(str(older))) as store, pytest.raises(UsageError, match="no_such_table"):
        store.results()
    assert 1 == version_in(older)
    monkeypatch.undo()
    with Store(store_url(str(older))) as store:
        assert 3 == len(store.results())


def test_a_newer_schema_is_one_clear_line_and_is_left_alone(older, tmp_path):
    newer = schema.VERSION + 1
    with sqlite3.connect(older) as connection:
        connection.execute(f"UPDATE oom_schema SET version = {newer}")
    connection.close()
    expected = (
        f"the store {older} was written by a newer oom-suite: its schema is {newer}, and this one "
        f"knows those up to {schema.VERSION}; update oom-suite, or name another --store"
    )
    given = results_of(write_results(tmp_path / "a.json", [checked()]))
    for ask in (Store.results, lambda store: store.record(given)):
        with Store(store_url(str(older))) as store, pytest.raises(UsageError) as caught:
            ask(store)
        assert expected == str(caught.value)
    assert newer == version_in(older)


def test_readers_do_not_wait_for_a_writer(store, tmp_path):
    """A transaction is open, and what was recorded before is read."""
    first, second = many_files(tmp_path, 2, 1)
    store.record(results_of(first))
    with store._transaction("recorded in", stores._WRITES), Store(store._url) as reader:
        assert 1 == len(reader.results())
    store.record(results_of(second))
    assert 2 == len(store.results())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("/data/h.db", "sqlite:////data/h.db"),
        ("sqlite:////data/h.db", "sqlite:////data/h.db"),
        ("postgresql://u@h/d", "postgresql+psycopg://u@h/d"),
        ("postgres://u@h/d", "postgresql+psycopg://u@h/d"),
        ("postgresql+psycopg://u@h/d", "postgresql+psycopg://u@h/d"),
    ],
)
def test_a_store_is_a_file_or_a_url(given, expected):
    assert expected == store_url(given).render_as_string(hide_password=False)
    assert expected == store_url(None, {VARIABLE: given}).render_as_string(hide_password=False)


def test_without_a_store_it_is_a_file_of_the_user_s(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    expected = str(tmp_path / "oom-suite" / "history.db")
    assert expected == store_url(None, {}).database
    assert expected == store_url(None, {VARIABLE: " "}).database


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("mysql://u:secret@h/d", "the store mysql://u:***@h/d cannot be used: give a file, "),
        ("sqlite://", "the store sqlite:// cannot be used: give a file, "),
        ("sqlite:///:memory:", "the store :memory: cannot be used: give a file, "),
        ("postgresql://u:secret@h", "the store postgresql://u:***@h cannot be used: give a "),
        ("://x", "the store ://... is no URL"),
    ],
)
def test_what_is_no_store_is_refused_without_its_password(given, expected):
    with pytest.raises(UsageError) as caught:
        store_url(given)
    assert str(caught.value).startswith(expected)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_store_is_one_line(tmp_path):
    other = tmp_path / "other.db"
    other.write_text("not a database, and long enough to be looked at" * 100)
    before = other.read_bytes()
    with Store(store_url(str(other))) as store, pytest.raises(UsageError) as caught:
        store.results()
    assert (
        f"results cannot be read from {other}: file is not a database; see that it can be reached "
        "and written, or name another with --store"
    ) == str(caught.value)
    assert before == other.read_bytes()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    given = results_of(write_results(tmp_path / "a.json", [checked()]))
    path = tmp_path / "file" / "history.db"
    with Store(store_url(str(path))) as store, pytest.raises(UsageError) as caught:
        store.record(given)
    assert str(caught.value).startswith(f"the store {path} cannot be made: ")


def test_a_database_that_does_not_answer_is_one_line_without_its_password():
    """Nobody listens on that port of loopback."""
    url = store_url("postgresql://u:secret@127.0.0.1:1/d")
    with Store(url) as store, pytest.raises(UsageError) as caught:
        store.results()
    assert str(caught.value).startswith(
        "results cannot be read from postgresql://u:***@127.0.0.1:1/d: connection "
    )
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
