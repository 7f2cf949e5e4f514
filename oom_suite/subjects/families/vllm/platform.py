"""The platform that vLLM's decode file sees: ROCm, on a chosen architecture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from oom_suite.errors import unknown

if TYPE_CHECKING:
    from oom_suite.subjects.loading import Given

ARCHITECTURES = ("generic", "gfx942", "gfx950", "sm_90", "sm_100")
"""``gfx942``: MI300X, MI325X; ``gfx950``: MI350X, MI355X; ``sm_*``: CUDA; ``generic``: none."""


class Platform:
    """vLLM's `current_platform`, as far as it depends on the architecture alone.

    Args:
        given: the architecture, one of `ARCHITECTURES`, and what makes stubs.
    """

    simple_compile_backend = "inductor"
    """What small functions are compiled with.

    Source: vLLM 0.32.0 `vllm/platforms/interface.py`, the default, which neither GPU changes.
    """

    def __init__(self, given: Given) -> None:
        """Remember the architecture.

        Raises:
            UsageError: not one of `ARCHITECTURES`.
        """
        if given.arch not in ARCHITECTURES:
            raise unknown("architecture", given.arch, ARCHITECTURES)
        self._arch = given.arch
        self._given = given

    def is_rocm(self) -> bool:
        """True but on CUDA: the decode file serves ROCm alone."""
        return not self.is_cuda()

    def is_cuda(self) -> bool:
        """Whether the target is one of NVIDIA's."""
        return self._arch.startswith("sm_")

    def is_cuda_alike(self) -> bool:
        """True for both.

        Source: vLLM 0.21.0 `vllm/platforms/interface.py:187`.
        """
        return True

    def is_fp8_fnuz(self) -> bool:
        """Whether fp8 is the FNUZ kind: on gfx94x alone.

        Source: vLLM 0.21.0 `vllm/platforms/rocm.py:805`, unchanged in 0.33.0 (:1259).
        """
        return self._arch == "gfx942"

    def fp8_dtype(self) -> torch.dtype:
        """The dtype that torch has for fp8 with four exponent bits.

        Source: vLLM 0.21.0 `vllm/platforms/rocm.py:810`, unchanged in 0.33.0 (:1264).
        """
        return torch.float8_e4m3fnuz if self.is_fp8_fnuz() else torch.float8_e4m3fn

    def __getattr__(self, attribute: str) -> Any:
        """Everything else, as a stub."""
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        return getattr(self._given.stub("vllm.platforms.current_platform"), attribute)


def rocm_names(arch: str) -> dict[str, Any]:
    """The names of `vllm.platforms.rocm` that the architecture decides.

    A generic GPU decides only that it is neither of the two; the other names stay stubs.

    Source: vLLM 0.21.0 `vllm/platforms/rocm.py:187-193` and :267-292; 0.33.0 :217-228.
    """
    is_known = arch.startswith("gfx")
    on = {"GFX942": arch == "gfx942", "GFX950": arch == "gfx950", "MI3XX": is_known}
    if is_known:
        others = ("GFX1X", "GFX11", "GFX1100", "GFX1151", "GFX115X", "GFX12X", "GFX90A", "GFX1250")
        on |= {"GFX9": True} | dict.fromkeys(others, False)
    names: dict[str, Any] = {}
    for family, value in on.items():
        names[f"_ON_{family}"] = value
        names[f"on_{family.lower()}"] = lambda value=value: value
    return names
