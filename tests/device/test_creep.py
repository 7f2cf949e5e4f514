"""Real steps on the GPU: what grows is caught by name, what is flat stays flat in its counters."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from oom_suite.lanes.isolation import Child
from oom_suite.subjects.faulty.catalog import MUTANTS
from oom_suite.subjects.spec import BUILTIN_NAMES

pytestmark = pytest.mark.oom_device

MEANT = tuple(mutant for mutant in MUTANTS if mutant.detector == "creep")


def make_handler(device):
    """In a child: creep on one subject after another; each keeps its state apart by its name."""
    import torch

    from oom_suite.safety.creep import Creep
    from oom_suite.safety.protocol import Target
    from oom_suite.subjects.load import load
    from oom_suite.subjects.spec import parse

    def find(request):
        subject, workload = request
        loaded = load(parse(subject))
        place = torch.device(device)
        target = Target(loaded.call, loaded.root, workload, place, torch.float8_e4m3fn)
        return Creep()(target).to_json()

    return find


@pytest.fixture(scope="module")
def find(oom_device):
    """`find(subject, workload)` in one child for all; the evidence is written at the end."""
    found = {}
    with Child(
        f"{__name__}:make_handler", (str(oom_device),), time_limit_s=300.0, needs_gpu=True
    ) as child:

        def ask(subject, workload="decode"):
            found[f"{subject} {workload}"] = child.ask((subject, workload))
            return found[f"{subject} {workload}"]

        yield ask
    folder = os.environ.get("OOM_SUITE_EVIDENCE")
    if folder:
        (Path(folder) / "creep.json").write_text(json.dumps(found, indent=1), encoding="utf-8")


@pytest.mark.parametrize("workload", ["decode", "decode-swa"])
@pytest.mark.parametrize("subject", BUILTIN_NAMES)
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
