"""vLLM: its released files for ROCm, on a platform of the suite's own."""

from __future__ import annotations

from oom_suite.hookspecs import hookimpl
from oom_suite.subjects.families.package import PackageFamily
from oom_suite.subjects.families.vllm.profiles import PROFILES

_SUPPLIED = f"{__name__}.supplied"

VLLM = PackageFamily(
    name="vllm",
    title="vLLM",
    pure_files=("vllm/utils/math_utils.py",),
    version_file="vllm/_version.py",
    supplies={
        "vllm.platforms": f"{_SUPPLIED}:platforms",
        "vllm.platforms.rocm": f"{_SUPPLIED}:rocm",
        "vllm.logger": f"{_SUPPLIED}:logger",
        "vllm.triton_utils": f"{_SUPPLIED}:triton_utils",
        "vllm.compilation.breakable_cudagraph": f"{_SUPPLIED}:breakable_cudagraph",
        "vllm._aiter_ops": f"{_SUPPLIED}:aiter_ops",
        "vllm._custom_ops": f"{__name__}.sampling:custom_ops",
        "vllm.utils.gpu_sync_debug": f"{__name__}.sampling:sync_debug",
        "vllm.v1.outputs": f"{__name__}.sampling:outputs",
        "vllm.v1.sample.ops.logprobs": f"{__name__}.sampling:logprobs",
        "vllm.v1.worker.workspace": f"{__name__}.workspaces:workspace",
    },
    absent=("aiter",),
    profiles=PROFILES,
    has_arch=True,
)


@hookimpl
def oom_subject_families() -> list[PackageFamily]:
    """The family of vLLM."""
    return [VLLM]
