"""Programs that allocate and free by size alone: laws are tested on them in milliseconds.

A program is a function of a `Heap` and the sizes:

    def program(heap, s):
        whole = heap.alloc("dequant", s.swa_num_blocks * 65536)
        rows = heap.alloc("gather", s.num_tokens * s.swa_topk * 1024)
        heap.free(whole, rows)
"""

from __future__ import annotations

import functools
import zlib
from types import SimpleNamespace

from oom_suite.laws.derive import derive
from oom_suite.laws.judge import judge
from oom_suite.records import Allocation, Event, Frame, Trace, Unseen
from oom_suite.workloads.sparse_mla.workload import DECODE

SCENARIO = {
    "swa_num_blocks": 32768,
    "extra_num_blocks": 32768,
    "block_size": 64,
    "num_tokens": 4,
    "num_heads": 16,
    "swa_topk": 128,
    "extra_topk": 512,
    "referenced_blocks": 256,
}


@functools.cache
def stack_of(line):
    """The stack of a named line of the code under test; its number follows from the name."""
    return (Frame("kernel.py", zlib.crc32(line.encode()) % 10_000, line),)


class Heap:
    """Writes down what a program allocates and frees."""

    def __init__(self):
        self.allocations, self.events, self.unseen = [], [], []

    def alloc(self, line, num_bytes):
        """One request; gives what `free` takes."""
        self.allocations.append(Allocation(int(num_bytes), "aten.empty", stack_of(line)))
        self.events.append(Event("alloc", len(self.allocations) - 1))
        return len(self.allocations) - 1

    def free(self, *handles):
        self.events.extend(Event("free", handle) for handle in handles)

    def passing(self, line, num_bytes):
        """A temporary: allocated and freed at once."""
        self.free(self.alloc(line, num_bytes))

    def sort(self, line, input_bytes):
        """An operator with scratch that nobody sees."""
        self.unseen.append(Unseen("aten::sort", stack_of(line), input_bytes, "sorts"))


class Code:
    """A program as `derive` runs it, counting its runs.

    Args:
        programs: run one after the other on one heap.
        refuses: raised where it gives an error for the sizes; None where it runs.
    """

    def __init__(self, *programs, refuses=lambda s: None):
        self.programs, self.refuses, self.num_calls = programs, refuses, 0

    def __call__(self, sizes):
        self.num_calls += 1
        error = self.refuses(SimpleNamespace(**sizes))
        if error is not None:
            raise error
        heap = Heap()
        for program in self.programs:
            program(heap, SimpleNamespace(**sizes))
        return Trace(
            "shadow", sizes, tuple(heap.allocations), tuple(heap.events), unseen=tuple(heap.unseen)
        )


def law_of(*programs, workload=DECODE, at=SCENARIO, **kwargs):
    """What is derived from a program, at the scenario with these sizes changed."""
    return derive(Code(*programs, **kwargs), workload, {**SCENARIO, **at})


def verdict_on(*programs, workload=DECODE, at=SCENARIO, **kwargs):
    """The judgement on a program."""
    return judge(law_of(*programs, workload=workload, at=at, **kwargs), workload)


def attention(heap, s):
    """A healthy decode step: gathers what is referenced, one cache after the other."""
    output = heap.alloc("output", s.num_tokens * s.num_heads * 1024)
    for cache, topk in (("swa", s.swa_topk), ("extra", s.extra_topk)):
        rows = heap.alloc(f"gather_{cache}", s.num_tokens * topk * 1024)
        scores = heap.alloc(f"scores_{cache}", s.num_tokens * s.num_heads * topk * 4)
        weights = heap.alloc(f"softmax_{cache}", s.num_tokens * s.num_heads * topk * 4)
        heap.free(scores)
        heap.free(rows, weights)
    heap.free(output)
