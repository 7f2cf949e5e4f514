"""Capture: what a graph cannot hold is named with its line; what it can hold is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from capture_steps import FAULTS, TWINS, step_that
from torch.utils.weak import WeakTensorKeyDictionary

from oom_suite.doors import workload as find_workload
from oom_suite.records import Verdict
from oom_suite.safety.capture import DISAGREES, Answer, Capture, agreed, by_record_alone
from oom_suite.safety.steps import Target
from oom_suite.workloads.sparse_mla.builtins import BUILTINS

ROOT = Path(__file__).parent
CPU = torch.device("cpu")


def finding(call, workload="decode"):
    return Capture()(Target(call, ROOT, find_workload(workload), CPU))


@pytest.mark.parametrize(
    ("fault", "kind"), FAULTS.items(), ids=lambda one: getattr(one, "__name__", one)
)
def test_what_a_capture_refuses_is_named_with_its_line(fault, kind):
    """The hit has the fault's kind, and the line of the function that was planted."""
    found = finding(step_that(fault))
    assert (Verdict.FAIL, kind) == (found.verdict, found.hits[0].kind)
    assert ("capture_steps.py", fault.__name__) == (
        found.hits[0].frame.file,
        found.hits[0].frame.function,
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
