"""Real steps on the GPU: what grows is caught by name, what is flat stays flat in its counters."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fixtures.processes import HandlingChild
from oom_suite.processes.child import ChildError
from oom_suite.selfcheck.faults.catalog import MUTANTS
from oom_suite.subjects import builtin_names

pytestmark = pytest.mark.oom_device

NUM_CHILDREN = 6
LIMIT_S = 90.0
WORKLOADS = ("decode", "decode-swa")
MEANT = tuple(mutant for mutant in MUTANTS if mutant.detector == "creep")


def make_handler(device):
    """In a child: creep on one subject after another; each keeps its state apart by its name."""
    import torch

    from oom_suite.doors import workload as find_workload
    from oom_suite.safety.creep import Creep
    from oom_suite.safety.steps import Target
    from oom_suite.subjects import load, parse

    def find(request):
        subject, workload = request
        known = find_workload(workload)
        loaded = load(parse(subject), known)
        target = Target(loaded.call, loaded.root, known, torch.device(device))
        return Creep()(target).to_json()

    return find


def run_beside(device):
    """What was found of each subject and workload; an error where there is nothing."""
    asked = [(name, workload) for name in builtin_names() for workload in WORKLOADS]
    asked += [(mutant.spelling, mutant.workload) for mutant in MEANT]
    with ThreadPoolExecutor(max_workers=NUM_CHILDREN) as pool:
        shares = [asked[number::NUM_CHILDREN] for number in range(NUM_CHILDREN)]
        running = [pool.submit(_found, device, share) for share in shares]
        found = {key: answer for each in running for key, answer in each.result().items()}
    if folder := os.environ.get("OOM_SUITE_EVIDENCE"):
        by_name = {" ".join(key): one for key, one in found.items() if isinstance(one, dict)}
        text = json.dumps(by_name, indent=1)
        (Path(folder) / "creep.json").write_text(text, encoding="utf-8")
    return found


def _found(device, share):
    found = {}
    where = (str(device),)
    with HandlingChild(
        f"{__name__}:make_handler", where, time_limit_s=LIMIT_S, needs_gpu=True
    ) as child:
        for request in share:
            try:
                found[request] = child.ask(request)
            except ChildError as error:
                found[request] = error
    return found


@pytest.fixture
def find(answers):
    """`find(subject, workload)`: what was found of it."""

    def answer(subject, workload):
        found = answers[subject, workload]
        if isinstance(found, Exception):
            raise found
        return found

    return answer


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("subject", builtin_names())
def test_the_built_ins_are_flat(find, subject, workload):
    """Allocated and reserved are flat over hundreds of real steps."""
    found = find(subject, workload)
    assert ("PASS", []) == (found["verdict"], list(found["hits"]))


@pytest.mark.parametrize("mutant", MEANT, ids=lambda one: one.name)
def test_a_leak_is_named(find, mutant):
    """The mutant's own kind of growth, at its own line."""
    found = find(mutant.spelling, mutant.workload)
    assert "FAIL" == found["verdict"]
    assert found["hits"][0]["kind"] in mutant.expected
    assert found["hits"][0]["frame"]["function"] in mutant.places
