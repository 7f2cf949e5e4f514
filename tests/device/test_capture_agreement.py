"""What the record says of a capture is what a real one does, for every subject there is."""

from __future__ import annotations

import json
import os
import queue
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from capture_cases import CASES
from subject_trees import is_here, skip_unless_here

from fixtures.processes import HandlingChild
from oom_suite.processes.askers import Respawning
from oom_suite.processes.child import ChildError
from oom_suite.selfcheck.faults.catalog import MUTANTS, TWINS

pytestmark = pytest.mark.oom_device

# A fault of these is in a number or a list, and its operators are those of others.
ALIKE = {one.name for one in MUTANTS if one.group in {"axes", "precision", "creep"}}
EVIDENCE = os.environ.get("OOM_SUITE_EVIDENCE")
TRIED = [name for name in CASES if EVIDENCE or name not in ALIKE]
# Stores two rows in one place: two runs differ, and no replay of them can be judged.
RACES = {"kernels:ranks_by_the_low_byte"}
NUM_CHILDREN = 6
LIMIT_S = 90.0


def run_beside(device):
    """What was found of each case, by its name; an error where there is none."""
    waiting = queue.SimpleQueue()
    # A child that has refused a capture is not used again, nor one that has met state: these
    # come first, so that the last ones share what children there are.
    here = [CASES[name] for name in TRIED if is_here(CASES[name].subject)]
    for case in sorted(here, key=lambda case: not (case.is_refused or case.is_stateful)):
        waiting.put(case)
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
        return HandlingChild(
            "capture_cases:make_handler", (str(device),), time_limit_s=LIMIT_S, needs_gpu=True
        )

    while True:
        with Respawning(start) as child:
            is_fit = True
            while is_fit:
                try:
                    case = waiting.get_nowait()
                except queue.Empty:
                    return
                if case.is_stateful:
                    child.close()
                try:
                    found[case.name] = child.ask(case.name)
                except ChildError as error:
                    found[case.name] = error
                    break
                is_fit = found[case.name]["verdict"] == "PASS" and not case.is_stateful


@pytest.fixture
def find(answers):
    """`find(name)`: what was found of that case."""

    def answer(name):
        skip_unless_here(CASES[name].subject)
        if isinstance(answers[name], Exception):
            raise answers[name]
        return answers[name]

    return answer


@pytest.mark.parametrize("name", TRIED)
def test_the_record_and_the_capture_agree(find, name):
    """Neither finds what the other does not."""
    answer = find(name)
    assert name in RACES or answer["verdict"] != "INCONCLUSIVE", answer["reason"]
    assert "capture-disagreement" not in [hit["kind"] for hit in answer["hits"]]


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.name)
def test_a_healthy_twin_is_captured(find, twin):
    """Unusual and right steps are captured, and their replays follow."""
    answer = find(twin.name)
    assert ("FAIL" if "capture" in twin.breaks else "PASS") == answer["verdict"], answer["reason"]
