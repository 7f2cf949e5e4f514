"""Memory safety on the GPU: the built-ins, real releases, and planted faults there."""

from __future__ import annotations

import pytest

from oom_suite.records import Verdict
from oom_suite.subjects.spec import BUILTIN_NAMES, SubjectKind, parse
from oom_suite.subjects.vllm.cache import cache_folder, entry, is_whole

pytestmark = pytest.mark.oom_device

VALUES = ("reads", "writes", "indices", "addresses", "precision")
RELEASES = ("vllm==0.21.0", "vllm==0.22.0", "vllm==0.25.0", "vllm==0.33.0")

FAULTS = """
import torch
from oom_suite.subjects.decode import token_gather_decode


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


@pytest.fixture(scope="module")
def found_on_gpu(oom_device):
    """`found_on_gpu(subject, properties)`: the findings by property."""
    from oom_suite.safety_check import SafetySettings, check_safety

    def findings(subject, properties=VALUES):
        spec = parse(subject)
        if spec.kind is SubjectKind.VLLM_RELEASE:
            from packaging.version import Version

            tree = entry(cache_folder(), Version(spec.version))
            if not is_whole(tree):
                pytest.skip(f"{subject} is not in {tree.parent}")
        report = check_safety(spec, SafetySettings(device=str(oom_device)), properties)
        return {one.name: one for one in report.findings}

    return findings


@pytest.mark.parametrize("name", BUILTIN_NAMES)
def test_a_built_in_is_safe_on_the_gpu(found_on_gpu, name):
    """Reads, writes, indices, addresses past 2**32 bytes for real, and the oracle's answer."""
    found = found_on_gpu(name)
    assert {Verdict.PASS} == {one.verdict for one in found.values()}, found


@pytest.mark.parametrize("release", RELEASES)
def test_a_release_has_a_verdict_for_each_property(found_on_gpu, release):
    """Only strides of the index tensors are known to be taken for granted, from 0.22.0 on."""
    found = found_on_gpu(release)
    broken = {name: one.reason for name, one in found.items() if one.verdict is not Verdict.PASS}
    expected = set() if release == "vllm==0.21.0" else {"indices"}
    assert expected == set(broken), broken
    kinds = {hit.kind for one in found.values() for hit in one.hits}
    assert kinds <= {"wrong-answer"}


@pytest.mark.parametrize(
    ("function", "name", "kind"),
    [
        ("beside_output", "writes", "writes-outside"),
        ("pad_byte", "reads", "reads-pad-byte"),
        ("past_2_to_the_31", "addresses", "wrong-address"),
    ],
)
def test_a_planted_fault_is_found_on_the_gpu(found_on_gpu, tmp_path, function, name, kind):
    """The same faults as on a CPU have the same names on a GPU."""
    file = tmp_path / "faults.py"
    file.write_text(FAULTS, encoding="utf-8")
    finding = found_on_gpu(f"{file}:{function}", (name,))[name]
    assert kind in {hit.kind for hit in finding.hits}, finding
