"""One memory's requests and frees, as storages come and go."""

from __future__ import annotations

import gc

import torch

from oom_suite.records import Allocation, Event, Frame, Trace
from oom_suite.torch_compat.dispatch import storage_key
from oom_suite.tracing.book import NOT_RECORDED, Book

STACK = (Frame("a.py", 1, "f"),)


def storage_of(num_bytes):
    return torch.UntypedStorage(num_bytes)


def test_what_is_there_when_a_recording_begins_is_input():
    book = Book()
    kept, gone = storage_of(3), storage_of(50)
    book.keep(kept, NOT_RECORDED, 3)
    book.keep(gone, NOT_RECORDED, 50)
    del gone
    gc.collect()
    assert (0, False) == (book.input_bytes, book.is_open)
    book.begin()
    assert (3, True) == (book.input_bytes, book.is_open)
    del kept
    gc.collect()
    assert ([], False) == (book.events, book.has_live)


def test_a_storages_end_is_its_free_while_the_book_is_open():
    book = Book()
    book.begin()
    first, second = storage_of(3), storage_of(4)
    for storage, num_bytes in ((first, 3), (second, 4)):
        book.keep(storage, book.request(num_bytes, "op", STACK), num_bytes)
    assert book.has_live
    assert (1, 4) == book.find(storage_key(second))
    key = storage_key(first)
    del first
    gc.collect()
    assert book.find(key) is None
    assert [("alloc", 0), ("alloc", 1), ("free", 0)] == book.events
    assert book.has_live
    book.end()
    del second
    gc.collect()
    assert 3 == len(book.events)
    assert Trace(
        "shadow",
        {"n": 1},
        (Allocation(3, "op", STACK), Allocation(4, "op", STACK)),
        (Event("alloc", 0), Event("alloc", 1), Event("free", 0)),
        0,
    ) == book.trace("shadow", {"n": 1})


def test_a_storage_that_gets_another_block_frees_the_one_it_had():
    """Its end is then that of the new one."""
    book = Book()
    book.begin()
    storage = storage_of(3)
    book.keep(storage, book.request(3, "op", STACK), 3)
    book.forget(storage_key(storage))
    book.keep(storage, book.request(5, "op", STACK), 5)
    assert [("alloc", 0), ("free", 0), ("alloc", 1)] == book.events
    assert (1, 5) == book.find(storage_key(storage))
    book.keep(storage, 1, 7)
    del storage
    gc.collect()
    assert ("free", 1) == book.events[-1]
    assert (4, False) == (len(book.events), book.has_live)


def test_what_nobody_asked_for_is_not_freed():
    book = Book()
    book.begin()
    book.give_back(NOT_RECORDED)
    assert [] == book.events
    assert not book.has_live
    book.give_back(0)
    assert [("free", 0)] == book.events
