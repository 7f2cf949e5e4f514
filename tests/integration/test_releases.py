"""vLLM's own releases, fetched from the package index, loaded and run without vLLM."""

from __future__ import annotations

import pytest
import torch

from oom_suite.errors import NotApplicableError
from oom_suite.subjects import load, parse
from oom_suite.subjects.families.vllm import VLLM
from oom_suite.tracing.shadow import ShadowLane
from oom_suite.workloads.sparse_mla import step as decode
from oom_suite.workloads.sparse_mla.workload import DECODE

pytestmark = pytest.mark.oom_registry

SIZES = {
    "swa_num_blocks": 8,
    "extra_num_blocks": 8,
    "block_size": 64,
    "num_tokens": 2,
    "num_heads": 4,
    "swa_topk": 128,
    "extra_topk": 128,
    "referenced_blocks": 4,
}


def shadow_peak_bytes(version, arch, num_blocks):
    """Peak requested bytes of the release's decode step with pools of this size."""
    sizes = SIZES | {"swa_num_blocks": num_blocks, "extra_num_blocks": num_blocks}
    with load(parse(f"vllm=={version}"), DECODE, arch=arch) as subject:

        def build(sizes, device):
            step = decode.build(sizes, device)
            return lambda: subject.call(**step)

        return ShadowLane(subject.root).run(build, sizes).peak().num_bytes


def test_the_index_lists_the_releases_that_the_issue_is_about():
    """The release with the bug and the one that fixed it have source archives."""
    assert {"0.20.2", "0.21.0", "0.22.0", "0.33.0"} <= {str(v) for v in VLLM.releases()}


def test_a_release_before_the_path_is_not_applicable():
    """0.20.2 has the file and neither function."""
    with pytest.raises(NotApplicableError, match=r"vLLM 0\.20\.2 has no DeepSeek-V4 decode path"):
        load(parse("vllm==0.20.2"), DECODE)


@pytest.mark.parametrize("arch", ["generic", "gfx942", "gfx950"])
@pytest.mark.parametrize("version", ["0.21.0", "0.22.0", "0.33.0"])
def test_a_release_with_the_path_loads(version, arch):
    """Each form of the entry is found and loads for each architecture."""
    with load(parse(f"vllm=={version}"), DECODE, root=VLLM.fetch(version), arch=arch) as subject:
        assert version == subject.version


@pytest.mark.parametrize(
    ("arch", "fp8_dtype"),
    [("generic", torch.float8_e4m3fn), ("gfx942", torch.float8_e4m3fnuz)],
)
def test_the_fallback_of_0_21_0_runs_on_the_cpu(arch, fp8_dtype):
    """With real tensors the released code gives what the independent oracle gives."""
    options = decode.StepOptions(seed=1, fp8_dtype=fp8_dtype)
    step = decode.random_step(options)
    with load(parse("vllm==0.21.0"), DECODE, arch=arch) as subject:
        subject.call(**step)
    assert torch.isfinite(step["output"]).all()
    expected = decode.oracle(step, fp8_dtype)
    torch.testing.assert_close(expected, step["output"].to(expected.dtype), rtol=0.05, atol=0.05)


def test_only_0_21_0_grows_with_the_pool():
    """The released code, unmodified, shows the bug of #41962 and its cure."""
    grown = {
        version: shadow_peak_bytes(version, "generic", 512)
        - shadow_peak_bytes(version, "generic", 64)
        for version in ("0.21.0", "0.22.0", "0.33.0")
    }
    assert grown["0.21.0"] > 448 * 65536
    assert (0, 0) == (grown["0.22.0"], grown["0.33.0"])


def test_sglangs_step_in_torch_converts_both_caches():
    """Each block of 64 tokens twice 65,536 bytes at least, as in vLLM 0.21.0."""
    with load(parse("sglang==0.5.23"), DECODE) as subject:
        peaks = []
        for num_blocks in (64, 128):
            sizes = SIZES | {"swa_num_blocks": num_blocks, "extra_num_blocks": num_blocks}

            def build(sizes, device):
                step = decode.build(sizes, device)
                return lambda: subject.call(**step)

            peaks.append(ShadowLane(subject.root).run(build, sizes).peak().num_bytes)
    assert peaks[1] - peaks[0] >= 64 * 2 * 65_536
