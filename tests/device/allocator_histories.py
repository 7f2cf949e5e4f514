"""Random histories of the GPU's caching allocator, each compared with the model as it ends.

A script, because the allocator reads its settings once, when a process first uses it:
``PYTORCH_CUDA_ALLOC_CONF=... python allocator_histories.py '{"name": ..., ...}'`` prints one
JSON object per history. `Plan` is its argument.
"""

from __future__ import annotations

import json
import os
import random
import sys
from dataclasses import asdict, dataclass, replace

MIB = 1 << 20
NUM_CALLS = 600
MOST_LIVE_BYTES = 3 << 30
# What a rule turns on: 512 bytes, 1, 2, 10 and 20 MiB, and the split limits that plans set.
BOUNDARIES = (
    *(0, 1, 511, 512, 513, 1024),
    *(MIB - 512, MIB - 1, MIB, MIB + 1, MIB + 512),
    *(2 * MIB - 1, 2 * MIB, 2 * MIB + 1, 4 * MIB, 6 * MIB),
    *(10 * MIB - 512, 10 * MIB - 1, 10 * MIB, 10 * MIB + 1),
    *(19 * MIB, 19 * MIB + 1, 20 * MIB - 512, 20 * MIB, 20 * MIB + 1),
    *(63 * MIB, 64 * MIB, 64 * MIB + 1, 84 * MIB - 1, 84 * MIB, 128 * MIB, 200 * MIB),
)


@dataclass(frozen=True)
class Plan:
    """What one process records.

    Attributes:
        name: for people.
        settings_text: the allocator's settings; the caller puts them into the environment.
        first_seed, num_histories: which histories.
        limit_mib: the memory fraction, in MiB; 0 for none.
        two_streams: whether requests alternate between two streams.
        own_pool: whether the calls are made in a `torch.cuda.MemPool`.
        judged_as: settings given to the model instead, to see that it notices.
    """

    name: str
    settings_text: str = ""
    first_seed: int = 0
    num_histories: int = 18
    limit_mib: int = 0
    two_streams: bool = False
    own_pool: bool = False
    judged_as: str | None = None


def random_bytes(source, recent):
    """A request's size: over all magnitudes, at the rules' boundaries, or one seen lately."""
    kind = source.random()
    if kind < 0.30:
        return int(2 ** source.uniform(0, 20))
    if kind < 0.60:
        return int(2 ** source.uniform(20, 26))
    if kind < 0.68:
        return int(2 ** source.uniform(24, 28.5))
    if kind < 0.80 and recent:
        return source.choice(recent[-20:])
    return source.choice(BOUNDARIES)


def flat(stats, prefix=""):
    """The allocator's nested counters under one name each."""
    for key, value in stats.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


class Recorder:
    """Makes random calls on the real allocator and writes down what it counts after each."""

    def __init__(self, plan, seed, streams):
        import torch

        self.cuda = torch.cuda
        self.read_counters = torch._C._cuda_memoryStats
        self.out_of_memory = torch.OutOfMemoryError
        self.plan, self.streams = plan, streams
        self.source = random.Random(seed)
        self.style = self.source.choice(["random", "lifo", "fifo", "mixed"])
        self.load = self.source.choice([10, 40, 120])
        self.live, self.recent = [], []
        self.calls, self.counters = [], []

    def write(self, kind, address=0, num_bytes=0, stream=0):
        """One call that was made, and the counters after it."""
        from oom_suite.allocator import Call

        self.calls.append(Call(kind, address, num_bytes, stream))
        self.counters.append(dict(flat(self.read_counters(0))))

    def run(self):
        """Every call of one history."""
        self.write("start")
        while len(self.calls) <= NUM_CALLS:
            kind = self.source.random()
            if kind < 0.005 and not self.plan.own_pool:
                self.cuda.empty_cache()
                self.write("empty_cache")
            elif kind < 0.010:
                self.cuda.reset_peak_memory_stats(0)
                self.write("reset_peak")
            elif kind < 0.013:
                self.cuda.reset_accumulated_memory_stats(0)
                self.write("reset_accumulated")
            elif self.live and self.wants_to_free():
                self.free()
            else:
                self.alloc()

    def wants_to_free(self):
        """More often the more is live."""
        most = 2 * self.load
        if len(self.live) > most or sum(size for _, size in self.live) > MOST_LIVE_BYTES:
            return True
        return self.source.random() < len(self.live) / most

    def free(self):
        """Free the newest, the oldest or any block."""
        index = {"lifo": len(self.live) - 1, "fifo": 0}.get(self.style)
        if index is None or self.source.random() < 0.1:
            index = self.source.randrange(len(self.live))
        address, _ = self.live.pop(index)
        self.cuda.caching_allocator_delete(address)
        self.write("free", address)

    def alloc(self):
        """Ask for a block; one that cannot be had is written down with address -1."""
        num_bytes = random_bytes(self.source, self.recent)
        stream = self.streams[self.source.randrange(2) if self.plan.two_streams else 0]
        self.recent.append(num_bytes)
        try:
            address = self.cuda.caching_allocator_alloc(num_bytes, 0, stream)
        except self.out_of_memory:
            address = -1
        if address > 0:
            self.live.append((address, num_bytes))
        self.write("alloc", address, num_bytes, stream)

    def free_rest(self):
        """Free what is live, unrecorded."""
        for address, _ in self.live:
            self.cuda.caching_allocator_delete(address)


def record(plan, seed, streams, limit_bytes):
    """One history: the recording, and the allocator's own trace of it."""
    from contextlib import nullcontext

    import torch

    from oom_suite.allocator import Recording, read_steps

    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(0)
    torch.cuda.reset_accumulated_memory_stats(0)
    pool = torch.cuda.MemPool() if plan.own_pool else None
    recorder = Recorder(plan, seed, streams)
    torch.cuda.memory._record_memory_history(
        enabled="all", context=None, stacks="python", max_entries=100_000
    )
    with torch.cuda.use_mem_pool(pool) if pool is not None else nullcontext():
        recorder.run()
    steps = read_steps(torch.cuda.memory._snapshot()["device_traces"][0])
    torch.cuda.memory._record_memory_history(enabled=None)
    recorder.free_rest()
    recording = Recording(
        settings_text=plan.settings_text,
        limit_bytes=limit_bytes,
        in_own_pool=plan.own_pool,
        calls=tuple(recorder.calls),
        counters=tuple(recorder.counters),
        growths=tuple(s for s in steps if s.action in {"segment_alloc", "segment_map"}),
    )
    del pool
    torch.cuda.empty_cache()
    return recording, steps


def judge(plan, seed, recording, steps):
    """What the model says of one history, as JSON values."""
    from collections import Counter

    from oom_suite.allocator import compare, follow, parse_settings

    if plan.judged_as is not None:
        recording = replace(recording, settings_text=plan.judged_as)
    compared = compare(recording)
    followed = follow(
        steps,
        parse_settings(recording.settings_text),
        limit_bytes=recording.limit_bytes,
        in_own_pool=recording.in_own_pool,
    )
    last = recording.counters[-1]
    return {
        "plan": plan.name,
        "seed": seed,
        "num_calls": len(recording.calls) - 1,
        "num_calls_equal": compared.num_calls - 1,
        "num_counters": compared.num_counters,
        "num_steps": len(steps),
        "num_steps_equal": followed.num_steps,
        "mismatch": None if compared.mismatch is None else str(compared.mismatch),
        "difference": None if followed.difference is None else str(followed.difference),
        "actions": Counter(step.action for step in steps),
        "num_alloc_retries": last["num_alloc_retries"],
    }


def main(text):
    """Record and judge every history of a plan."""
    plan = Plan(**json.loads(text))
    assert os.environ.get("PYTORCH_CUDA_ALLOC_CONF", "") == plan.settings_text
    import torch

    torch.cuda.init()
    total_bytes = torch.cuda.get_device_properties(0).total_memory
    limit_bytes = None
    if plan.limit_mib:
        fraction = plan.limit_mib * MIB / total_bytes
        torch.cuda.set_per_process_memory_fraction(fraction)
        # As the allocator rounds it.
        limit_bytes = int(fraction * total_bytes)
    side = torch.cuda.Stream()
    streams = [torch.cuda.default_stream().cuda_stream, side.cuda_stream]
    for seed in range(plan.first_seed, plan.first_seed + plan.num_histories):
        judged = judge(plan, seed, *record(plan, seed, streams, limit_bytes))
        sys.stdout.write(json.dumps(judged) + "\n")


def to_argument(plan):
    """A plan as the script's argument."""
    return json.dumps(asdict(plan))


if __name__ == "__main__":
    main(sys.argv[1])
