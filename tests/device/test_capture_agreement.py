"""What the record says of a capture is what a real one does, for every subject there is."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from oom_suite.lanes.isolation import Child
from oom_suite.subjects.faulty.catalog import MUTANTS, TWINS
from oom_suite.subjects.spec import BUILTIN_NAMES, SubjectKind, parse
from oom_suite.subjects.vllm.cache import cache_folder, entry, is_whole

pytestmark = pytest.mark.oom_device

RELEASES = ("vllm==0.21.0", "vllm==0.22.0", "vllm==0.25.0", "vllm==0.33.0")
FAULTY = tuple(one for one in (*MUTANTS, *TWINS) if one.workload and not one.promised)
CASES = {
    **{f"{name}-{w}": (name, w) for name in BUILTIN_NAMES for w in ("decode", "decode-swa")},
    **{f"{name}-{w}": (name, w) for name in RELEASES for w in ("decode", "decode-swa")},
    **{one.name: (one.spelling, one.workload) for one in FAULTY},
}
STATEFUL = {one.spelling for one in FAULTY if one.is_stateful}
TWIN_NAMES = {one.name for one in TWINS}
# These reach memory that they were not given: on a GPU that may end the process, or change
# from run to run, and says nothing of captures.
WILD = {
    one.name
    for one in MUTANTS
    if one.detector in {"reads", "writes", "addresses", "indices"} and one.workload
}


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


def root_of(subject):
    """A release's tree, where it is on this machine."""
    spec = parse(subject)
    if spec.kind is not SubjectKind.VLLM_RELEASE:
        return None
    from packaging.version import Version

    tree = entry(cache_folder(), Version(spec.version))
    if not is_whole(tree):
        pytest.skip(f"{subject} is not in {tree.parent}; `oom-suite check {subject}` puts it")
    return str(tree)


@pytest.fixture(scope="module")
def find(oom_device):
    """`find(name)`: one child for many, and a new one after a capture that was refused."""
    found, held = {}, []
    with ExitStack() as stack:

        def start():
            child = Child(
                f"{__name__}:make_handler", (str(oom_device),), time_limit_s=300.0, needs_gpu=True
            )
            return stack.enter_context(child)

        def ask(name):
            subject, workload = CASES[name]
            root = root_of(subject)
            if subject in STATEFUL and held:
                held.pop().close()
            child = held.pop() if held else start()
            answer = child.ask((subject, root, workload))
            found[name] = answer
            if answer["verdict"] == "PASS" and subject not in STATEFUL:
                held.append(child)
            else:
                child.close()
            return answer

        yield ask
    folder = os.environ.get("OOM_SUITE_EVIDENCE")
    if folder:
        text = json.dumps(found, indent=1)
        (Path(folder) / "capture_agreement.json").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("name", [name for name in CASES if name not in WILD])
def test_the_record_and_the_capture_agree(find, name):
    """Neither finds what the other does not."""
    answer = find(name)
    assert "INCONCLUSIVE" != answer["verdict"], answer["reason"]
    assert "capture-disagreement" not in [hit["kind"] for hit in answer["hits"]]


@pytest.mark.parametrize("name", sorted(TWIN_NAMES & CASES.keys()))
def test_a_healthy_twin_is_captured(find, name):
    """Unusual and right steps are captured, and their replays follow."""
    answer = find(name)
    twin = next(one for one in TWINS if one.name == name)
    assert ("FAIL" if "capture" in twin.breaks else "PASS") == answer["verdict"], answer["reason"]
