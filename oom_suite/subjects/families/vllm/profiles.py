"""What vLLM's profile run does in the place of each step of DeepSeek-V4, release by release.

The profile run calls the model once, with as many tokens as a step can have and without metadata
of attention. Attention then returns early: what it would take is skipped, or asked for and given
back. Every figure below is read from the release that it is given for, at the lines named.

Three things are counted for a step: what the indexer asks for and gives back in the same layer
(*scratch*); for steps that use it, the one shared buffer that the run leaves (*workspace*), which
is as large as the largest part asked of it; and nothing else: what other layers and the sampler
take at their own peak is not known here.

Source: vLLM 0.21.0 to 0.33.0, `vllm/v1/worker/gpu_model_runner.py`, `profile_run`;
`vllm/v1/worker/workspace.py`, `get_simultaneous`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from oom_suite.records.covering import Profile, Step
from oom_suite.records.symbolic import Formula

_ROCM_INDEXER = "vllm/v1/attention/ops/rocm_aiter_mla_sparse.py"
_ROCM_LAYER = "vllm/models/deepseek_v4/amd/rocm.py"
_CUDA_LAYER = "vllm/models/deepseek_v4/nvidia/flashmla.py"
_FIRST_LAYER = "vllm/model_executor/layers/deepseek_v4_attention.py"
_RUNNER = "vllm/v1/worker/gpu_model_runner.py"

_KEYS = "(max_model_len//4)"
"""Keys of the longest context: one for four tokens."""

_BUFFERED = "(10*max_model_len)"
_BUFFERED_BY_LENGTH = "(2*(2 + 3*(max_model_len <= 262144))*max_model_len)"
"""Keys that a chunk of a prefill may gather: 40 times the length, over four tokens a key.

Source: `get_max_prefill_buffer_size`, vLLM 0.21.0 `v1/attention/backends/mla/indexer.py:219`; from
0.32.0 on a factor of 8 times 5 up to 262,144 tokens, 8 times 2 above: 0.33.0 `config/vllm.py:1866`.
"""

GATHERED = "4096*((max_model_len + 3)//4 + window_tokens + max_num_batched_tokens)"
"""bf16 rows of 512 values for four requests: the keys of each, its window and the new tokens.

Source: vLLM 0.21.0 `model_executor/layers/deepseek_v4_attention.py:494-502`.
"""

_COMBINED = "(4*max_num_batched_tokens*((index_topk + window_tokens + 127)//128*128 + 1))"
"""int32 indices of every token and how many there are, from 0.27.0 on, on NVIDIA.

Source: vLLM 0.27.0 `models/deepseek_v4/nvidia/flashmla.py:87`.
"""

GATHERED_WITH_INDICES = f"{GATHERED} + {_COMBINED}"
"""Both, as the run reserves them at once."""

_DUMMY_LOGITS = "512*1048576"
"""`VLLM_SPARSE_INDEXER_MAX_LOGITS_MB`, by default: what all logits of a chunk may take."""

_PAIRS = "134217728"
"""Pairs of a token and a key that a chunk of a prefill has at most: a float32 of logits each.

Source: vLLM 0.21.0 `v1/attention/backends/mla/indexer.py`, `split_indexer_prefill_chunks`; 0.33.0
:1359.
"""

_SKIPPED = "attention returns before it"
_DECODED = "min(max_num_batched_tokens, max_num_seqs*next_n)"
_WIDE = "(((max_model_len + 127)//128 + 127)//128*128)"
"""Keys of the longest context at 128 tokens each, in whole 128s."""


@dataclass(frozen=True, slots=True)
class _Run:
    """What the profile run of a release leaves for its steps.

    Attributes:
        release: the release.
        runner: the line of `_RUNNER` that runs the model.
        indexer: the line where the indexer returns early.
        layer: the line where attention does.
        scratch: bytes that the indexer asks for and gives back.
        workspace: bytes of the largest part asked of the shared buffer.
        num_heads: query heads that attention gets.
        has_kernel: whether a decode step's logits are a kernel's, which makes them in the
            workspace; else torch's, beside it.
    """

    release: str
    runner: int
    indexer: int
    layer: int
    scratch: str
    workspace: str
    num_heads: str = "num_heads"
    has_kernel: bool = False


def _box(**axes: str | tuple[str, str]) -> tuple[tuple[str, Formula, Formula], ...]:
    ends = {
        axis: (given, given) if isinstance(given, str) else given for axis, given in axes.items()
    }
    return tuple((axis, Formula(least), Formula(most)) for axis, (least, most) in ends.items())


def _rocm(run: _Run) -> Profile:
    """The steps of ROCm where AITER is not installed, or not enabled."""
    layer = _ROCM_LAYER if run.release != "0.21.0" else _FIRST_LAYER
    at_layer, at_indexer = f"{layer}:{run.layer}", f"{_ROCM_INDEXER}:{run.indexer}"
    scratch = (
        "the indexer's scratch is taken" if run.scratch != "0" else "the indexer takes nothing"
    )
    decode = Step(
        "decode-c4a",
        "decode",
        _box(
            swa_num_blocks="num_blocks",
            extra_num_blocks="num_blocks",
            num_tokens=("1", _DECODED),
            num_heads=run.num_heads,
            swa_topk="window_tokens",
            extra_topk="index_topk",
            referenced_blocks=("1", "num_blocks"),
        ),
        Formula(run.scratch),
        f"{_SKIPPED}; {scratch}",
        at_layer,
    )
    wide = tuple(
        (axis, Formula(_WIDE), Formula(_WIDE)) if axis == "extra_topk" else (axis, least, most)
        for axis, least, most in decode.box
    )
    narrow = tuple(each for each in decode.box if not each[0].startswith("extra_"))
    attention = Step(
        "prefill-attention-c4a",
        "sparse-prefill",
        _box(
            num_tokens=("1", "max_num_batched_tokens"),
            num_heads=run.num_heads,
            num_keys=f"({GATHERED})//1024",
            width="(index_topk + window_tokens + 127)//128*128",
            used="(index_topk + window_tokens + 127)//128*128",
        ),
        Formula(run.scratch),
        f"{_SKIPPED}; {scratch}",
        at_layer,
    )
    indexer = Step(
        "indexer-decode",
        "indexer-logits-rocm",
        _box(
            num_blocks="num_blocks",
            block_size="64",
            batch=("2", "max(2, max_num_seqs)"),
            next_n="next_n",
            num_heads="index_heads",
            context_len=("64", f"max(64, {_KEYS}//64*64)"),
            max_model_len=f"max(64, {_KEYS}//64*64)",
        ),
        Formula(f"{run.scratch} + {run.workspace}" if run.has_kernel else run.scratch),
        f"no logits are made; {scratch}",
        at_indexer,
    )
    chunk = Step(
        "indexer-prefill",
        "indexer-prefill",
        _box(
            num_tokens="max_num_batched_tokens",
            context_len=("64", f"max(64, min({_KEYS}, {_PAIRS}//max_num_batched_tokens)//64*64)"),
            num_heads="index_heads",
        ),
        Formula(run.scratch),
        f"no logits are made; {scratch}",
        at_indexer,
    )
    gathers = _gathering("prefill-workspace-rocm", run, at_layer)
    steps = (
        decode,
        replace(decode, name="decode-c128a", box=wide),
        replace(decode, name="decode-swa", workload="decode-swa", box=narrow),
        indexer,
        chunk,
        attention,
        gathers,
    )
    return Profile(run.release, "rocm", f"{_RUNNER}:{run.runner}", steps)


def _gathering(workload: str, run: _Run, where: str) -> Step:
    """The prefills whose keys are gathered in the workspace."""
    return Step(
        "prefill-workspace",
        workload,
        _box(
            num_blocks="num_blocks",
            num_prefills=("1", "4"),
            query_len=("64", "max(64, max_num_batched_tokens)"),
            context_len=("64", "max_model_len"),
            max_model_len="max_model_len",
            max_num_batched_tokens="max_num_batched_tokens",
        ),
        Formula(f"{run.scratch} + {run.workspace}"),
        "keys are not gathered: the workspace is asked for as if they were",
        where,
    )


def _cuda(run: _Run) -> Profile:
    layer = _CUDA_LAYER if run.release != "0.21.0" else _FIRST_LAYER
    step = _gathering("prefill-workspace", run, f"{layer}:{run.layer}")
    return Profile(run.release, "cuda", f"{_RUNNER}:{run.runner}", (step,))


def _rows(tokens: str) -> str:
    """The workspace of ROCm from 0.23.0 on: rows gathered, a chunk's keys, or a step's logits."""
    return f"max({GATHERED}, 132*{_BUFFERED}, 4*{tokens}*{_KEYS})"


_EVERY = _rows("max_num_batched_tokens")
_DECODES = _rows(_DECODED)
_NEW_DECODES = _DECODES.replace(_BUFFERED, _BUFFERED_BY_LENGTH)
_ROCM = (
    # Keys of a chunk, packed, and copies of their two parts.
    _Run("0.21.0", 5949, 616, 496, f"264*{_BUFFERED}", GATHERED, "max(64, num_heads)"),
    _Run("0.22.0", 6165, 647, 618, "0", GATHERED),
    _Run("0.22.1", 6165, 647, 618, "0", GATHERED),
    _Run("0.23.0", 6229, 647, 619, _DUMMY_LOGITS, _EVERY),
    _Run("0.24.0", 6300, 669, 620, _DUMMY_LOGITS, _EVERY),
    _Run("0.25.0", 6351, 669, 620, _DUMMY_LOGITS, _EVERY),
    _Run("0.25.1", 6351, 669, 620, _DUMMY_LOGITS, _EVERY),
    _Run("0.26.0", 6425, 669, 479, _DUMMY_LOGITS, _EVERY),
    _Run("0.27.0", 6494, 638, 549, _DUMMY_LOGITS, _EVERY),
    _Run("0.27.1", 6494, 638, 549, _DUMMY_LOGITS, _EVERY),
    _Run("0.28.0", 6619, 723, 584, _DUMMY_LOGITS, _EVERY),
    _Run("0.29.0", 6575, 849, 753, _DUMMY_LOGITS, _EVERY),
    _Run("0.30.0", 6525, 1027, 1023, _DUMMY_LOGITS, _DECODES),
    _Run("0.31.0", 6470, 1205, 1190, _DUMMY_LOGITS, _DECODES, has_kernel=True),
    _Run("0.32.0", 6194, 1137, 1234, _DUMMY_LOGITS, _NEW_DECODES, has_kernel=True),
    _Run("0.33.0", 6133, 1186, 1413, _DUMMY_LOGITS, _NEW_DECODES, has_kernel=True),
)
"""Source: each release's `rocm_aiter_sparse_attn_indexer` (and ``_fake`` in 0.21.0) and
`forward_mqa`, at the lines given."""

_KEPT = f"max({GATHERED}, 132*{_BUFFERED} + 1048576)"
_KEPT_INDICES = f"max({GATHERED_WITH_INDICES}, 132*{_BUFFERED} + 1048576)"
_NEW_INDICES = _KEPT_INDICES.replace(_BUFFERED, _BUFFERED_BY_LENGTH)
_CUDA = (
    _Run("0.21.0", 5949, 108, 496, _DUMMY_LOGITS, _KEPT),
    _Run("0.22.0", 6165, 106, 149, _DUMMY_LOGITS, _KEPT),
    _Run("0.22.1", 6165, 106, 149, _DUMMY_LOGITS, _KEPT),
    _Run("0.23.0", 6229, 106, 86, _DUMMY_LOGITS, _KEPT),
    _Run("0.24.0", 6300, 106, 86, _DUMMY_LOGITS, _KEPT),
    _Run("0.25.0", 6351, 323, 86, _DUMMY_LOGITS, _KEPT),
    _Run("0.25.1", 6351, 323, 86, _DUMMY_LOGITS, _KEPT),
    _Run("0.26.0", 6425, 325, 86, _DUMMY_LOGITS, _KEPT),
    _Run("0.27.0", 6494, 327, 87, _DUMMY_LOGITS, _KEPT_INDICES),
    _Run("0.27.1", 6494, 327, 87, _DUMMY_LOGITS, _KEPT_INDICES),
    _Run("0.28.0", 6619, 327, 105, _DUMMY_LOGITS, _KEPT_INDICES),
    _Run("0.29.0", 6575, 327, 105, _DUMMY_LOGITS, _KEPT_INDICES),
    _Run("0.30.0", 6525, 365, 105, _DUMMY_LOGITS, _KEPT_INDICES),
    _Run("0.31.0", 6470, 364, 105, _DUMMY_LOGITS, _KEPT_INDICES),
    _Run("0.32.0", 6194, 444, 105, _DUMMY_LOGITS, _NEW_INDICES),
    _Run("0.33.0", 6133, 482, 105, _DUMMY_LOGITS, _NEW_INDICES),
)
"""Source: each release's `sparse_attn_indexer` and `forward_mqa`, at the lines given."""

PROFILES = (*map(_rocm, _ROCM), *map(_cuda, _CUDA))
"""Every release that has DeepSeek-V4, on ROCm and on NVIDIA."""
