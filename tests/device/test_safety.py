"""Memory safety on the GPU: the built-ins, real releases, and planted faults there."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from subject_trees import is_here, skip_unless_here

from oom_suite.records import Verdict
from oom_suite.subjects import builtin_names, parse

pytestmark = pytest.mark.oom_device

VALUES = ("reads", "writes", "indices", "addresses", "precision")
OTHER_VALUES = ("reads", "writes", "addresses", "precision")
RELEASES = ("vllm==0.21.0", "vllm==0.22.0", "vllm==0.25.0", "vllm==0.33.0")
SUBJECTS = (*builtin_names(), *RELEASES)
# Each bad index that ends its process costs another one; these stand for the rest.
WITH_INDICES = ("token_gather", "vllm==0.21.0", "vllm==0.33.0")
PLANTED = (
    ("beside_output", "writes", "writes-outside"),
    ("pad_byte", "reads", "reads-pad-byte"),
    ("past_2_to_the_31", "addresses", "wrong-address"),
)
NUM_AT_ONCE = 4
LIMIT_S = 90.0

FAULTS = """
import torch
from oom_suite.workloads.sparse_mla.builtins import token_gather_decode


def beside_output(**step):
    token_gather_decode(**step)
    output = step["output"]
    output.as_strided((1,), (1,), output.storage_offset() + output.numel()).fill_(1.0)


def pad_byte(**step):
    token_gather_decode(**step)
    pool, slots = step["swa_k_cache"], step["swa_indices"]
    slot = slots[slots >= 0][0].long()
    block, token = slot // pool.shape[1], slot % pool.shape[1]
    at = block * pool.stride(0) + pool.shape[1] * 576 + token * 8 + 7
    flat = pool.as_strided((pool.shape[0] * pool.stride(0),), (1,), pool.storage_offset())
    step["output"].view(torch.int16)[0, 0, 0] ^= flat[at].to(torch.int16)


def past_2_to_the_31(**step):
    pool, slots = step["swa_k_cache"], step["swa_indices"]
    far = slots.long() // pool.shape[1] * pool.stride(0) >= 2**31
    token_gather_decode(**{**step, "swa_indices": slots.masked_fill(far, -1)})
"""


def run_beside(device):
    """The findings by property, for each subject that is here and each planted fault."""
    from oom_suite.pipeline.safety_checks.check import SafetySettings, check_safety

    settings = SafetySettings(device=str(device), time_limit_s=LIMIT_S)

    def findings(subject, properties):
        report = check_safety(parse(subject), settings, properties)
        return {one.name: one for one in report.findings}

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(NUM_AT_ONCE) as pool:
        file = Path(folder) / "faults.py"
        file.write_text(FAULTS, encoding="utf-8")
        # Those of a case to a process first: they take longest.
        asked = dict.fromkeys(WITH_INDICES, VALUES)
        asked |= {name: OTHER_VALUES for name in SUBJECTS if name not in WITH_INDICES}
        running = {
            subject: pool.submit(findings, subject, properties)
            for subject, properties in asked.items()
            if is_here(subject)
        }
        running |= {
            function: pool.submit(findings, f"{file}:{function}", (name,))
            for function, name, _ in PLANTED
        }
        return {subject: one.result() for subject, one in running.items()}


@pytest.fixture
def found_on_gpu(answers):
    """`found_on_gpu(subject)`: the findings by property."""

    def found(subject):
        if subject in SUBJECTS:
            skip_unless_here(subject)
        return answers[subject]

    return found


@pytest.mark.parametrize("name", builtin_names())
def test_a_built_in_is_safe_on_the_gpu(found_on_gpu, name):
    """Reads, writes, indices, addresses past 2**32 bytes for real, and the oracle's answer."""
    found = found_on_gpu(name)
    assert {Verdict.PASS} == {one.verdict for one in found.values()}, found


@pytest.mark.parametrize("release", RELEASES)
def test_a_release_has_a_verdict_for_each_property(found_on_gpu, release):
    """Only strides of the index tensors are known to be taken for granted, as 0.33.0 does."""
    found = found_on_gpu(release)
    broken = {name: one.reason for name, one in found.items() if one.verdict is not Verdict.PASS}
    expected = {"indices"} if release == "vllm==0.33.0" else set()
    assert expected == set(broken), broken
    kinds = {hit.kind for one in found.values() for hit in one.hits}
    assert kinds <= {"wrong-answer"}


@pytest.mark.parametrize(("function", "name", "kind"), PLANTED)
def test_a_planted_fault_is_found_on_the_gpu(found_on_gpu, function, name, kind):
    """The same faults as on a CPU have the same names on a GPU."""
    finding = found_on_gpu(function)[name]
    assert kind in {hit.kind for hit in finding.hits}, finding
