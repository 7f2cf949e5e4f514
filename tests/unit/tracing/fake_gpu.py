"""A GPU that is not there: a byte counter with a history, in the allocator's own format."""

from __future__ import annotations

import contextlib
import traceback

from oom_suite.tracing.measure.gpu_run import KINDS


class FakeGpu:
    """What `run_on_gpu` asks of a device, and what a call under test does with one.

    Attributes:
        calls: the names of what was asked, in order.
        recording: whether the history is being recorded.
    """

    workspace_name = "cuBLAS"

    def __init__(self, *, has_pool: bool = True) -> None:
        self.calls = []
        self.recording = False
        self.has_pool = has_pool
        self.entries = []
        self.live = {}
        self.peak_bytes = 0
        self.next_address = 4096
        self.workspaces = []

    def take(self, num_bytes):
        address, self.next_address = self.next_address, self.next_address + num_bytes + 512
        self.live[address] = num_bytes
        self.peak_bytes = max(self.peak_bytes, sum(self.live.values()))
        frames = [
            {"filename": each.filename, "line": each.lineno, "name": each.name}
            for each in reversed(traceback.extract_stack()[:-1])
        ]
        self._record("alloc", address, num_bytes, frames=frames)
        return address

    def give(self, address):
        num_bytes = self.live.pop(address)
        self._record("free_requested", address, num_bytes)
        self._record("free_completed", address, num_bytes)

    def _record(self, action, address, size, **more):
        if self.recording:
            self.entries.append({"action": action, "addr": address, "size": size, **more})

    def keep_workspace(self, num_bytes):
        if not self.workspaces:
            self.workspaces.append(self.take(num_bytes))

    @contextlib.contextmanager
    def own_stream(self):
        self.calls.append("stream")
        yield
        self.calls.append("stream left")

    @contextlib.contextmanager
    def own_pool(self):
        self.calls.append("pool")
        yield self.has_pool
        self.calls.append("pool left")

    def settle(self):
        self.calls.append("settle")

    def synchronize(self):
        self.calls.append("synchronize")

    def reset_peaks(self):
        self.peak_bytes = sum(self.live.values())

    def figures(self):
        now = sum(self.live.values())
        return {
            **{f"{kind}_bytes.all.current": now for kind in KINDS},
            **{f"{kind}_bytes.all.peak": self.peak_bytes for kind in KINDS},
        }

    def start_history(self):
        self.recording, self.entries = True, []
        self.calls.append("history on")

    def history(self):
        return list(self.entries)

    def stop_history(self):
        self.recording, self.entries = False, []
        self.calls.append("history off")

    def clear_workspaces(self):
        for address in self.workspaces:
            self.give(address)
        self.workspaces = []
