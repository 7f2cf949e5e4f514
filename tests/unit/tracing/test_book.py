"""One memory's requests and frees, as storages come and go."""

from __future__ import annotations

import gc

import torch

from oom_suite.records import Allocation, Event, Frame, Trace
from oom_suite.torch_compat.dispatch import storage_key
from oom_suite.tracing.book import NOT_RECORDED, Book, Books

STACK = (Frame("a.py", 1, "f"),)


def storage_of(num_bytes):
    return torch.UntypedStorage(num_bytes)


def opened(book):
    book.begin()
    book.is_open = True


def test_what_is_there_when_a_recording_begins_is_input():
    book = Book()
    kept, gone = storage_of(3), storage_of(50)
    book.keep(kept, NOT_RECORDED, 3)
    book.keep(gone, NOT_RECORDED, 50)
    del gone
    gc.collect()
    assert 0 == book.input_bytes
    opened(book)
    assert 3 == book.input_bytes
    del kept
    gc.collect()
    assert ([], False) == (book.events, book.has_live)


def test_a_storages_end_is_its_free_while_the_book_is_open():
    book = Book()
    opened(book)
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
    book.is_open = False
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
    opened(book)
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
    opened(book)
    book.give_back(NOT_RECORDED)
    assert [] == book.events
    assert not book.has_live
    book.give_back(0)
    assert [("free", 0)] == book.events


def test_a_mark_notes_what_is_alive_and_how_much_was_asked_for_until_then():
    book = Book()
    opened(book)
    book.mark()
    first = book.request(3, "op", STACK)
    book.request(4, "op", STACK)
    book.mark()
    book.give_back(first)
    book.mark()
    book.mark()
    assert [0, 2, 3, 3] == book.marks
    assert [0, 7, 4, 4] == book.live_bytes
    assert [0, 2, 2, 2] == book.requests_at_marks
    assert (0, 2, 3, 3) == book.trace("shadow", {}).marks


def test_the_first_mark_counts_from_the_first_event():
    book = Book()
    opened(book)
    book.request(3, "op", STACK)
    book.request(4, "op", STACK)
    book.mark()
    assert ([2], [7], [2]) == (book.marks, book.live_bytes, book.requests_at_marks)


def test_what_is_alive_is_listed_in_the_order_of_its_requests():
    book = Book()
    opened(book)
    storages = [storage_of(size) for size in (3, 4, 5)]
    numbers = [book.request(3, "op", STACK), book.request(4, "op", STACK)]
    book.keep(storages[1], numbers[1], 4)
    book.keep(storages[0], numbers[0], 3)
    book.keep(storages[2], NOT_RECORDED, 5)
    assert [(storage_key(storages[number]), number) for number in (0, 1)] == book.alive()


def test_a_cpu_has_one_book_and_another_device_three():
    assert ["device"] == list(Books("cpu").named)
    books = Books("cuda")
    assert ["device", "host", "pinned"] == list(books.named)
    books.switch(is_open=True)
    assert {True} == {book.is_open for book in books.named.values()}
    books.mark()
    assert {1} == {len(book.marks) for book in books.named.values()}
    assert not books.have_live
    books.pinned.request(3, "op", STACK)
    assert books.have_live


def test_memory_that_is_neither_the_device_s_nor_the_host_s_has_no_book():
    """Tensors of sizes alone, say."""
    books = {name: Books(name) for name in ("cuda", "cpu")}
    of_sizes, on_host = torch.empty(2, device="meta"), torch.empty(2)
    assert [None, None] == [each.of(of_sizes, is_pinned=False) for each in books.values()]
    assert books["cuda"].host is books["cuda"].of(on_host, is_pinned=False)
    assert books["cuda"].pinned is books["cuda"].of(on_host, is_pinned=True)
    assert books["cpu"].device is books["cpu"].of(on_host, is_pinned=False)
