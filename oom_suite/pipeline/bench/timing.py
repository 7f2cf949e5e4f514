"""What a child with a GPU is asked: what the device is, and one subject at one shape."""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oom_suite.errors import UsageError, line_of
from oom_suite.pipeline.bench.shapes import (
    DENSE,
    FLASH_MLA,
    PREFILL,
    SPELLINGS,
    WORKLOADS,
)
from oom_suite.processes.protocol import Kept, Request
from oom_suite.records.bench import EVENTS, GRAPH, UNTIMED, BenchDevice, Shape, Timing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Call = Callable[..., object]


@dataclass(frozen=True, slots=True)
class Describe(Request[BenchDevice | str]):
    """The device, and how fast it copies; why there is none where there is none."""

    def answer(self, kept: Kept) -> BenchDevice | str:
        """By torch's properties and a copy of 2 GiB."""
        import torch

        from oom_suite.pipeline.bench.clock import copy_gb_per_s

        if not torch.cuda.is_available():
            return f"torch {torch.__version__} sees no GPU here"
        found = torch.cuda.get_device_properties(torch.cuda.current_device())
        return BenchDevice(found.name, str(torch.__version__), found.L2_cache_size, copy_gb_per_s())


@dataclass(frozen=True, slots=True)
class Load(Request[str]):
    """A subject for a part of the benchmark; why it cannot be timed, empty where it can.

    Attributes:
        subject: a short name of `oom_suite.pipeline.bench.shapes`, or any spelling.
        part: what it is to be called for.
        root: where the source of a release was put; None for what is here.
    """

    subject: str
    part: str
    root: Path | None = None

    def answer(self, kept: Kept) -> str:
        """Nothing, once it is loaded."""
        try:
            self.loaded(kept)
        except Exception as error:
            return line_of(error)
        return ""

    def loaded(self, kept: Kept) -> Call:
        """What is called with the part's keywords.

        Raises:
            Exception: whatever loading it raises.
        """
        return kept.get((self.subject, self.part), self._load)

    def _load(self) -> Call:
        if self.subject == DENSE:
            from oom_suite.workloads.sparse_mla.kernels.gather import dequantize_and_gather_k_cache

            return dequantize_and_gather_k_cache
        if self.subject == FLASH_MLA:
            return FlashMla()
        if self.part == PREFILL and self.subject.startswith("vllm"):
            return _vllm_prefill(self.subject)
        from oom_suite.doors import workload
        from oom_suite.subjects import load, parse

        spec = parse(SPELLINGS.get(self.subject, self.subject))
        return load(spec, workload(WORKLOADS[self.part]), root=self.root).call


@dataclass(frozen=True, slots=True)
class Time(Request[Timing]):
    """One subject at one shape.

    Attributes:
        subject: the subject.
        shape: the shape.
        l2_bytes: as of `BenchDevice`.
        uses_graph: whether its calls are captured; one that was refused is asked again without,
            in a new process.
    """

    subject: Load
    shape: Shape
    l2_bytes: int
    uses_graph: bool = True

    def answer(self, kept: Kept) -> Timing:
        """Its time and its memory; why there is none where a call fails."""
        import torch

        from oom_suite.pipeline.bench.clock import RefusedError, scratch_bytes, time_us
        from oom_suite.pipeline.bench.inputs import Inputs, moved_bytes

        name = self.subject.subject
        inputs = kept.get("inputs", lambda: Inputs(self.l2_bytes))
        try:
            call = self.subject.loaded(kept)
            with torch.no_grad():
                calls = [functools.partial(call, **step) for step in inputs.of(self.shape, name)]
                # What the first call makes for good, a kernel or a workspace, is no scratch.
                calls[0]()
                taken_bytes = scratch_bytes(calls[0])
                took = time_us(calls, uses_graph=self.uses_graph)
        except RefusedError as error:
            return Timing(name, UNTIMED, note=f"{REFUSED}{error}")
        except Exception as error:
            return Timing(name, UNTIMED, note=line_of(error))
        moved = None if name == DENSE else moved_bytes(self.shape)
        how = GRAPH if self.uses_graph else EVENTS
        return Timing(name, how, took, taken_bytes, len(calls), moved)


REFUSED = "not captured: "
"""How the note of a capture that was refused begins."""


class FlashMla:
    """A decode step by the package `flash_mla`, where it is installed.

    Source: FlashMLA `flash_mla/flash_mla_interface.py` (commit 9241ae3),
    ``flash_mla_with_kvcache``; what it plans for given lengths it keeps in an object of the
    caller's, one for each input here.
    """

    def __init__(self) -> None:
        """Import the package.

        Raises:
            ImportError: it is not installed, or was built for another GPU.
        """
        from torch.utils.weak import WeakTensorKeyDictionary

        self._package: Any = importlib.import_module("flash_mla")
        # Memory of an input that is gone may be another's: what was planned goes with its tensor.
        self._plans = WeakTensorKeyDictionary()

    def __call__(self, **step: Any) -> Any:
        """The result, in a tensor of the package's own; keywords as of a decode step."""
        output = step["output"]
        if output not in self._plans:
            self._plans[output], _ = self._package.get_mla_metadata()
        extra = step["kv_cache"]
        result, _ = self._package.flash_mla_with_kvcache(
            step["q"].unsqueeze(1),
            step["swa_k_cache"].unsqueeze(2),
            None,
            None,
            step["head_dim"],
            self._plans[output],
            softmax_scale=step["scale"],
            is_fp8_kvcache=True,
            indices=step["swa_indices"].unsqueeze(1),
            attn_sink=step["attn_sink"],
            extra_k_cache=None if extra is None else extra.unsqueeze(2),
            extra_indices_in_kvcache=step["topk_indices"],
            topk_length=step["swa_lens"],
            extra_topk_length=step["topk_lens"],
        )
        return result.squeeze(1)


def _vllm_prefill(subject: str) -> Call:
    from oom_suite.pipeline.bench.prefill import PEER, vllm_staging

    if subject != PEER:
        raise UsageError(f"of vLLM's prefills that of {PEER} alone can be called")
    return vllm_staging()
