"""sglang: single files of its wheel, with a stand-in for a module that the wheel lacks."""

from __future__ import annotations

from oom_suite.hookspecs import hookimpl
from oom_suite.subjects.families.package import PackageFamily

_STAND_IN = f"{__name__}.flashmla_tests"

SGLANG = PackageFamily(
    name="sglang",
    title="sglang",
    archive="wheel",
    version_file="sglang/_version.py",
    supplies={
        "sglang.kernels.ops.quantization.fp8_kernel": f"{__name__}.decode:fp8_kernel",
        **{
            f"sglang.srt.flashmla_tests.{module}": f"{_STAND_IN}:{module}"
            for module in ("quant", "lib", "ref")
        },
    },
    absent=("aiter", "flashinfer", "tilelang"),
    unknown_modules="as released",
    has_arch=True,
    note="sglang.srt.flashmla_tests is not in sglang's wheel: a stand-in of this suite ran, and "
    "what it takes is not sglang's choice, but for the whole cache that it is given to convert",
)


@hookimpl
def oom_subject_families() -> list[PackageFamily]:
    """The family of sglang."""
    return [SGLANG]
