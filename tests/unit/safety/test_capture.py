"""Capture: what a graph cannot hold is named with its line; what it can hold is left alone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from oom_suite.doors import workload as find_workload
from oom_suite.records import Verdict
from oom_suite.safety.capture import DISAGREES, Answer, Capture, agreed, by_record_alone
from oom_suite.safety.steps import Target
from oom_suite.workloads.sparse_mla.builtins import BUILTINS

ROOT = Path(__file__).parent
CPU = torch.device("cpu")
KEPT = {}


def finding(call, workload="decode"):
    return Capture()(Target(call, ROOT, find_workload(workload), CPU))


def step_that(fault):
    """The token_gather step with something else before it."""

    def call(**step):
        fault(step)
        BUILTINS["token_gather"](**step)

    return call


def started(work):
    """Run on a thread, and waited for."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return True


def item(step):
    int(step["swa_lens"][0])


def any_of(step):
    if (step["swa_lens"] > 0).any():
        pass


def to_list(step):
    step["swa_lens"].tolist()


def to_cpu(step):
    step["swa_lens"].cpu()


def prints(step):
    str(step["swa_lens"])


def equal(step):
    torch.equal(step["swa_lens"], step["swa_lens"])


def unique(step):
    torch.unique(step["swa_indices"])


def nonzero(step):
    torch.nonzero(step["swa_lens"])


def where_alone(step):
    torch.where(step["swa_lens"] > 0)


def mask_read(step):
    step["swa_indices"].flatten(1)[step["swa_lens"] > 0]


def mask_select(step):
    torch.masked_select(step["swa_lens"], step["swa_lens"] > 0)


def repeats(step):
    torch.repeat_interleave(step["swa_lens"].clamp(0, 2).long())


def counts(step):
    torch.bincount(step["swa_lens"].flatten())


def literal(step):
    torch.tensor([1, 2], device=step["q"].device)


def number_at_index(step):
    rows = torch.zeros(4, device=step["q"].device)
    rows[torch.zeros(1, dtype=torch.int64, device=step["q"].device)] = 1.0


def number_at_element(step):
    torch.zeros(4, device=step["q"].device)[1] = 1.0


def tensor_at_mask(step):
    rows = torch.zeros(4, device=step["q"].device)
    rows[rows > 0] = torch.ones((), device=step["q"].device)


def device_value_fill(step):
    rows = torch.zeros(4, device=step["q"].device)
    rows.masked_fill_(rows > 0, torch.ones((), device=step["q"].device))


def own_range(step):
    torch.histc(step["attn_sink"], 4)


def waits(step):
    if step["q"].device.type != "cpu":
        torch.cuda.synchronize()


def event(step):
    if step["q"].device.type != "cpu":
        torch.cuda.Event.query(None)


def only_for_one_token(step):
    if step["q"].shape[0] == 1:
        int(step["swa_lens"][0])


class Calls(TorchDispatchMode):
    """Notes the operators that pass."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func)
        return func(*args, **(kwargs or {}))


def makes_a_tensor_of_a_number():
    """Whether ``tensor[index] = number`` copies the number from the host, as before torch 2.15.

    2.15 fills with it, which is work on the device alone.
    """
    with Calls() as calls:
        torch.zeros(4)[1] = 1.0
    return torch.ops.aten.fill_.Scalar not in calls.names


def on_a_thread(step):
    thread = threading.Thread(target=step["swa_lens"].clone)
    thread.start()
    thread.join()


def in_an_executor(step):
    with ThreadPoolExecutor(1) as executor:
        executor.submit(torch.zeros, 2, device=step["q"].device).result()


NUMBERS = {number_at_index: "host-copy", number_at_element: "host-copy"}

FAULTS = {
    item: "host-sync",
    any_of: "host-sync",
    to_list: "host-sync",
    to_cpu: "host-copy",
    prints: "host-sync",
    equal: "host-sync",
    unique: "data-dependent-shape",
    nonzero: "data-dependent-shape",
    where_alone: "data-dependent-shape",
    mask_read: "data-dependent-shape",
    mask_select: "data-dependent-shape",
    repeats: "data-dependent-shape",
    counts: "data-dependent-shape",
    literal: "host-copy",
    **(NUMBERS if makes_a_tensor_of_a_number() else {}),
    tensor_at_mask: "data-dependent-shape",
    device_value_fill: "host-sync",
    own_range: "host-sync",
    waits: "synchronize",
    event: "synchronize",
    only_for_one_token: "host-sync",
    on_a_thread: "other-thread",
    in_an_executor: "other-thread",
}


@pytest.mark.parametrize(
    ("fault", "kind"), FAULTS.items(), ids=lambda one: getattr(one, "__name__", one)
)
def test_what_a_capture_refuses_is_named_with_its_line(fault, kind):
    """The hit has the fault's kind, and the line of the function that was planted."""
    found = finding(step_that(fault))
    assert (Verdict.FAIL, kind) == (found.verdict, found.hits[0].kind)
    assert ("test_capture.py", fault.__name__) == (
        found.hits[0].frame.file,
        found.hits[0].frame.function,
    )


def number_at_mask(step):
    rows = torch.zeros(4, device=step["q"].device)
    rows[rows > 0] = 1.0


def number_fill(step):
    rows = torch.zeros(4, device=step["q"].device)
    rows.masked_fill_(rows > 0, 1.0)


def number_over_a_row(step):
    torch.zeros(4, 4, device=step["q"].device)[1] = 1.0


def number_over_a_slice(step):
    torch.zeros(4, device=step["q"].device)[1:2] = 1.0


def tensor_at_element(step):
    rows = torch.zeros(4, device=step["q"].device)
    rows[1] = rows[2]


def sized_repeats(step):
    lens = torch.ones(4, dtype=torch.int64, device=step["q"].device)
    torch.repeat_interleave(lens, output_size=4)


def given_range(step):
    torch.histc(step["attn_sink"], 4, min=-1.0, max=1.0)


def host_alone(step):
    host = torch.tensor([3, 0, 2])
    int(host[torch.nonzero(host)[0, 0]])


def sorts(step):
    step["swa_lens"].sort()
    step["attn_sink"].topk(2)
    step["swa_lens"].cumsum(0)


def added_in_place(step):
    rows = torch.zeros(4, device=step["q"].device)
    rows.index_put_(
        (torch.zeros(2, dtype=torch.int64, device=rows.device),),
        torch.ones(2, device=rows.device),
        accumulate=True,
    )


def full_and_where(step):
    lens = step["swa_lens"]
    torch.where(lens > 0, torch.full_like(lens, 2), 0)


def seen_by_size(step):
    if step["q"].shape[0] > 1 and len(step["swa_lens"]) > 1:
        pass


def table_made_on_the_first_call(step):
    key = str(step["q"].device)
    if key not in KEPT:
        KEPT[key] = torch.tensor([1.0, 2.0], device=step["q"].device)
    KEPT[key] + 1


def host_work_on_a_thread(step):
    started(lambda: torch.arange(4).clone())


def views_on_a_thread(step):
    started(lambda: step["swa_lens"].view(-1)[:1])


def on_a_thread_in_the_warm_up(step):
    if "thread" not in KEPT:
        KEPT["thread"] = started(step["swa_lens"].clone)


TWINS = (
    *(() if makes_a_tensor_of_a_number() else NUMBERS),
    number_at_mask,
    number_fill,
    number_over_a_row,
    number_over_a_slice,
    tensor_at_element,
    sized_repeats,
    given_range,
    host_alone,
    sorts,
    added_in_place,
    full_and_where,
    seen_by_size,
    table_made_on_the_first_call,
    host_work_on_a_thread,
    views_on_a_thread,
    on_a_thread_in_the_warm_up,
)


@pytest.mark.parametrize("twin", TWINS, ids=lambda one: one.__name__)
def test_what_looks_alike_and_can_be_captured_passes(twin):
    """Fixed sizes, numbers that stay numbers, host tensors, work done in the warm-up."""
    found = finding(step_that(twin))
    assert (Verdict.PASS, ()) == (found.verdict, found.hits)


@pytest.mark.parametrize("workload", ["decode", "decode-swa"])
@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("full_dequant", Verdict.PASS),
        ("block_compaction", Verdict.FAIL),
        ("token_gather", Verdict.PASS),
        ("streaming", Verdict.PASS),
    ],
)
def test_the_built_ins_are_what_they_say(name, workload, verdict):
    """Of the four, the one that asks for distinct blocks cannot be captured."""
    assert verdict is finding(BUILTINS[name], workload).verdict


SLOTS = WeakTensorKeyDictionary()


def slots_kept_by_tensor(**step):
    """Made in the warm-up from the indices that were there, and found again by their tensor."""
    kept = SLOTS.setdefault(step["swa_indices"], step["swa_indices"].clone())
    BUILTINS["token_gather"](**{**step, "swa_indices": kept})


def test_contents_kept_from_before_are_a_stale_replay():
    """No operator is refused, but a replay gives the answer to the old indices."""
    found = finding(slots_kept_by_tensor, "decode-swa")
    assert (Verdict.FAIL, "stale-replay") == (found.verdict, found.hits[0].kind)
    assert "new indices" in found.hits[0].text


def length_read_on_the_host(**step):
    """A value of the device decides what Python does, and is fixed in the graph."""
    longest = int(step["swa_lens"].max())
    BUILTINS["token_gather"](**{**step, "swa_indices": step["swa_indices"][..., :longest]})


def test_a_value_baked_in_names_the_input():
    """The replay on the CPU says which input the value came from."""
    found = finding(length_read_on_the_host, "decode-swa")
    assert "host-sync" == found.hits[0].kind
    assert {"stale-replay", "wrong-replay"} & {hit.kind for hit in found.hits}


def raises_for_one(**step):
    """A step that cannot be followed."""
    raise ValueError("not today")


def test_a_step_that_raises_is_inconclusive():
    """One line says why, and nothing is green."""
    found = finding(raises_for_one)
    assert Verdict.INCONCLUSIVE is found.verdict
    assert "ValueError: not today" in found.reason


def hit(kind):
    from oom_suite.records.safety import Hit

    return Hit(kind, f"{kind} text")


@pytest.mark.parametrize(
    ("record", "replay", "verdict"),
    [
        ((hit("host-sync"),), (), Verdict.FAIL),
        ((), (), Verdict.PASS),
        ((), (hit("stale-replay"),), Verdict.INCONCLUSIVE),
    ],
    ids=["the record", "neither", "only the replay"],
)
def test_the_record_decides_where_a_capture_reports_no_error(record, replay, verdict):
    """A capture that went through contradicts nobody there; a wrong replay still does."""
    answers = Answer("record", record), Answer("replay", replay)
    assert verdict is agreed(*answers, is_told=False).verdict


def test_work_on_another_thread_is_not_captured_for_real():
    """There the record decides: the thread's code could wait for ever."""
    told = by_record_alone(Answer("the record", (hit("host-sync"), hit("other-thread"))))
    assert (Verdict.FAIL, "host-sync text") == (told.verdict, told.reason)
    assert "not tried" in dict(told.facts)["replay"]


@pytest.mark.parametrize("hits", [None, (), (hit("host-sync"),)], ids=["unknown", "none", "other"])
def test_all_else_is_captured_for_real(hits):
    """The record alone decides nothing there."""
    assert by_record_alone(Answer("the record", hits)) is None


@pytest.mark.parametrize(
    ("record", "replay", "verdict", "first"),
    [
        ((), (), Verdict.PASS, None),
        ((hit("host-sync"),), (hit("capture-refused"),), Verdict.FAIL, "host-sync"),
        ((hit("host-sync"),), (), Verdict.INCONCLUSIVE, DISAGREES),
        ((), (hit("stale-replay"),), Verdict.INCONCLUSIVE, DISAGREES),
        (None, (), Verdict.INCONCLUSIVE, None),
        (None, (hit("capture-refused"),), Verdict.FAIL, "capture-refused"),
        ((hit("host-sync"),), None, Verdict.FAIL, "host-sync"),
    ],
    ids=["pass", "fail", "only the record", "only the replay", "no record", "replay", "no replay"],
)
def test_both_ways_must_agree(record, replay, verdict, first):
    """A contradiction is its own hit and is not green."""
    found = agreed(Answer("record", record, "why"), Answer("replay", replay, "why"))
    assert verdict is found.verdict
    assert first == (found.hits[0].kind if found.hits else None)
