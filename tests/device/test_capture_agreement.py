"""What the record says of a capture is what a real one does, for every subject there is."""

from __future__ import annotations

import json
import os
import queue
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from subject_trees import is_here, root_of, skip_unless_here

from oom_suite.lanes.isolation import Child, ChildError
from oom_suite.lanes.respawn import Respawning
from oom_suite.subjects.faulty.catalog import MUTANTS, TWINS
from oom_suite.subjects.spec import BUILTIN_NAMES, parse

pytestmark = pytest.mark.oom_device

RELEASES = ("vllm==0.21.0", "vllm==0.22.0", "vllm==0.25.0", "vllm==0.33.0")
FAULTY = tuple(one for one in (*MUTANTS, *TWINS) if one.workload and not one.promised)
CASES = {
    **{f"{name}-{w}": (name, w) for name in BUILTIN_NAMES for w in ("decode", "decode-swa")},
    **{f"{name}-{w}": (name, w) for name in RELEASES for w in ("decode", "decode-swa")},
    **{one.name: (one.spelling, one.workload) for one in FAULTY},
}
STATEFUL = {one.name for one in FAULTY if one.is_stateful}
# These reach memory that they were not given: on a GPU that may end the process, or change
# from run to run, and says nothing of captures.
WILD = {
    one.name
    for one in MUTANTS
    if one.detector in {"reads", "writes", "addresses", "indices"} and one.workload
}
# A fault of these is in a number or a list, and its operators are those of others.
ALIKE = {one.name for one in MUTANTS if one.group in {"axes", "precision", "creep"}}
EVIDENCE = os.environ.get("OOM_SUITE_EVIDENCE")
TRIED = [name for name in CASES if name not in WILD and (EVIDENCE or name not in ALIKE)]
HEALTHY = sorted(one.name for one in TWINS if one.name in CASES)
NUM_CHILDREN = 6
LIMIT_S = 90.0


def make_handler(device):
    """In a child: both ways on one subject after another."""
    import torch

    from oom_suite.safety.capture import Capture
    from oom_suite.safety.protocol import Target
    from oom_suite.subjects.load import load
    from oom_suite.subjects.vllm.triton_placeholder import set_on_launch

    def find(request):
        subject, root, workload = request
        loaded = load(parse(subject), root=None if root is None else Path(root))
        place = torch.device(device)
        target = Target(loaded.call, loaded.root, workload, place, torch.float8_e4m3fn)
        return Capture(set_on_launch)(target).to_json()

    return find


def run_beside(device):
    """What was found of each case, by its name; an error where there is none."""
    waiting = queue.SimpleQueue()
    # A child that has refused a capture is not used again, nor one that has met state: these
    # come first, so that the last ones share what children there are.
    refused = {one.name for one in MUTANTS if one.group == "capture"} | STATEFUL
    here = [name for name in TRIED if is_here(CASES[name][0])]
    for name in sorted(here, key=lambda name: name not in refused):
        waiting.put(name)
    found = {}
    with ThreadPoolExecutor(max_workers=NUM_CHILDREN) as pool:
        for running in [pool.submit(_find, device, waiting, found) for _ in range(NUM_CHILDREN)]:
            running.result()
    if EVIDENCE:
        answers = {name: one for name, one in found.items() if isinstance(one, dict)}
        text = json.dumps(answers, indent=1)
        (Path(EVIDENCE) / "capture_agreement.json").write_text(text, encoding="utf-8")
    return found


def _find(device, waiting, found):
    """Case after case in one child, and a new one where the last cannot be used again."""

    def start():
        return Child(
            f"{__name__}:make_handler", (str(device),), time_limit_s=LIMIT_S, needs_gpu=True
        )

    while True:
        with Respawning(start) as child:
            is_fit = True
            while is_fit:
                try:
                    name = waiting.get_nowait()
                except queue.Empty:
                    return
                if name in STATEFUL:
                    child.replace()
                subject, workload = CASES[name]
                try:
                    found[name] = child.ask((subject, root_of(subject), workload))
                except ChildError as error:
                    found[name] = error
                    break
                is_fit = found[name]["verdict"] == "PASS" and name not in STATEFUL


@pytest.fixture
def find(answers):
    """`find(name)`: what was found of that case."""

    def answer(name):
        skip_unless_here(CASES[name][0])
        if isinstance(answers[name], Exception):
            raise answers[name]
        return answers[name]

    return answer


@pytest.mark.parametrize("name", TRIED)
def test_the_record_and_the_capture_agree(find, name):
    """Neither finds what the other does not."""
    answer = find(name)
    assert "INCONCLUSIVE" != answer["verdict"], answer["reason"]
    assert "capture-disagreement" not in [hit["kind"] for hit in answer["hits"]]


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_twin_is_captured(find, name):
    """Unusual and right steps are captured, and their replays follow."""
    answer = find(name)
    twin = next(one for one in TWINS if one.name == name)
    assert ("FAIL" if "capture" in twin.breaks else "PASS") == answer["verdict"], answer["reason"]
