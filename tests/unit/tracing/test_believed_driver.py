"""What a driver does for code under test, with streams and seeds, is done without one."""

from __future__ import annotations

import pytest
import torch
from believed_calls import CUDA, H200, told

from oom_suite.targets.target import target
from oom_suite.tracing.believing import believing

OF_A_DRIVER = {
    "is_available": True,
    "is_initialized": True,
    "device_count": 1,
    "current_device": 0,
    "is_current_stream_capturing": False,
    "mem_get_info": (target(H200).memory_bytes,) * 2,
    "memory_summary": "",
    "get_per_process_memory_fraction": 1.0,
    **dict.fromkeys(["memory_allocated", "max_memory_allocated"], 0),
    **dict.fromkeys(["memory_reserved", "max_memory_reserved"], 0),
    **dict.fromkeys(["memory_cached", "max_memory_cached"], 0),
    **dict.fromkeys(
        ["init", "synchronize", "empty_cache", "empty_host_cache", "ipc_collect"], None
    ),
    **dict.fromkeys(["reset_peak_memory_stats", "reset_accumulated_memory_stats"], None),
    **dict.fromkeys(["reset_max_memory_allocated", "reset_max_memory_cached"], None),
}


@pytest.mark.parametrize(("name", "expected"), OF_A_DRIVER.items(), ids=OF_A_DRIVER)
def test_the_driver_of_this_machine_is_never_asked(name, expected, monkeypatch):
    """It would start, and know another GPU or none."""

    def ask(*_, **__):
        raise RuntimeError("the driver was asked")

    monkeypatch.setattr(torch.cuda, name, ask, raising=False)
    with believing(target(H200)):
        assert expected == getattr(torch.cuda, name)()


OF_AN_ACCELERATOR = {
    "is_available": True,
    "device_count": 1,
    "current_device_index": 0,
    "current_device_idx": 0,
    "synchronize": None,
    "empty_cache": None,
    "memory_allocated": 0,
    "max_memory_reserved": 0,
}


@pytest.mark.parametrize(("name", "expected"), OF_AN_ACCELERATOR.items(), ids=OF_AN_ACCELERATOR)
def test_nor_by_its_name_for_any_accelerator(name, expected, monkeypatch):
    """`torch.accelerator` asks the same driver."""

    def ask(*_, **__):
        raise RuntimeError("the driver was asked")

    monkeypatch.setattr(torch.accelerator, name, ask, raising=False)
    with believing(target(H200)):
        assert expected == getattr(torch.accelerator, name)()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (torch.cuda.streams, "Stream"),
        (torch.cuda.streams, "Event"),
        (torch.cuda.memory, "memory_allocated"),
        (torch.cuda.memory, "mem_get_info"),
        (torch.cuda.random, "get_rng_state"),
        (torch.accelerator.memory, "empty_cache"),
    ],
    ids=lambda each: getattr(each, "__name__", each),
)
def test_a_name_is_believed_wherever_it_is_imported_from(module, name):
    """And is torch's own again afterwards."""
    before = getattr(module, name)
    with believing(target(H200)):
        assert before is not getattr(module, name)
    assert before is getattr(module, name)


@pytest.mark.parametrize("name", ["set_device", "set_per_process_memory_fraction"])
def test_what_the_driver_is_told_goes_nowhere(name, monkeypatch):
    """There is one device, and it is not this machine's."""
    told_to = []
    monkeypatch.setattr(torch.cuda, name, told_to.append)
    with believing(target(H200)):
        assert getattr(torch.cuda, name)(0) is None
    assert [] == told_to


def test_the_state_of_random_numbers_is_a_seed_and_an_offset():
    """Sixteen bytes on the host, for one device; to set it changes nothing."""

    def ask(x):
        torch.cuda.set_rng_state(torch.cuda.get_rng_state())
        states = torch.cuda.get_rng_state_all()
        torch.cuda.set_rng_state_all(states)
        return [(state.device.type, state.dtype, state.tolist()) for state in states]

    assert [("cpu", torch.uint8, [0] * 16)] == told(ask)


def test_a_stream_has_the_default_s_handle_and_all_its_work_is_done():
    def ask(x):
        stream = torch.cuda.Stream(priority=-1)
        event = torch.cuda.Event()
        assert event is stream.record_event(event)
        done = stream.query(), event.query(), stream.record_event().query()
        return (*done, stream.cuda_stream, stream.priority, event.elapsed_time(event))

    assert (True, True, True, 0, 0, 0.0) == told(ask)


def test_no_stream_leaves_the_current_one_as_it_is():
    """So does torch's own: a context that was given None sets None."""

    def ask(x):
        stream = torch.cuda.Stream()
        torch.cuda.set_stream(stream)
        torch.cuda.set_stream(None)
        return torch.cuda.current_stream() is stream

    assert told(ask)


def work(x):
    """What GPU code does around its tensors, without a result to look at."""
    stream, event = torch.cuda.Stream(), torch.cuda.Event(enable_timing=True)
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        assert torch.cuda.current_stream() == stream
        y = x * 2
    y.record_stream(stream)
    event.record()
    event.synchronize()
    stream.synchronize()
    with torch.cuda.device(0), torch.cuda.nvtx.range("step"):
        torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.manual_seed(3)
    with torch.random.fork_rng(devices=[0]):
        torch.cuda.manual_seed_all(4)
    return y.device


def test_streams_events_and_seeds_go_through():
    assert told(work) == CUDA
