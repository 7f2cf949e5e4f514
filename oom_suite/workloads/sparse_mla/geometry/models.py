"""The sizes of the models whose decode steps are reproduced."""

from __future__ import annotations

from dataclasses import dataclass

from oom_suite.errors import UsageError, unknown

LAYER_KINDS = {0: "swa_only", 1: "full", 4: "c4a", 128: "c128a"}
"""Layer kind by compress ratio. `full` keeps every token and has no sliding window.

Source: vLLM 0.21.0 `model_executor/layers/deepseek_v4_attention.py:879`.
"""


@dataclass(frozen=True, slots=True)
class Model:
    """The geometry of one model's attention.

    Attributes:
        name: its name.
        num_heads: query heads before tensor parallelism splits them.
        head_dim: values of one query head and of one cached token.
        nope_head_dim: those without position encoding.
        rope_head_dim: those with position encoding.
        window_tokens: tokens of the sliding window; 0 when there is none.
        index_topk: entries that the indexer picks for one token.
        compress_ratios: the compress ratio of each layer; 0 for sliding window only.
    """

    name: str
    num_heads: int
    head_dim: int
    nope_head_dim: int
    rope_head_dim: int
    window_tokens: int
    index_topk: int
    compress_ratios: tuple[int, ...]

    @property
    def num_layers(self) -> int:
        """Attention layers, speculative ones not counted."""
        return len(self.compress_ratios)

    @property
    def layer_kinds(self) -> tuple[str, ...]:
        """The kind of each layer, in order: a value of `LAYER_KINDS`."""
        return tuple(LAYER_KINDS[ratio] for ratio in self.compress_ratios)

    def heads_per_rank(self, tensor_parallel: int) -> int:
        """Query heads of one rank when `tensor_parallel` ranks share them.

        Raises:
            UsageError: the heads do not divide evenly.
        """
        if tensor_parallel < 1 or self.num_heads % tensor_parallel:
            msg = (
                f"tensor_parallel is {tensor_parallel}: "
                f"choose a divisor of {self.name}'s {self.num_heads} heads"
            )
            raise UsageError(msg)
        return self.num_heads // tensor_parallel


FLASH = Model(
    name="DeepSeek-V4-Flash",
    num_heads=64,
    head_dim=512,
    nope_head_dim=448,
    rope_head_dim=64,
    window_tokens=128,
    index_topk=512,
    compress_ratios=(0, 0, *(4, 128) * 20, 4),
)
"""43 layers: 2 sliding window only, 21 at ratio 4, 20 at ratio 128.

Source: the published `config.json` of deepseek-ai/DeepSeek-V4-Flash (its last ratio, of the
speculative layer, is left out).
"""

PRO = Model(
    name="DeepSeek-V4-Pro",
    num_heads=128,
    head_dim=512,
    nope_head_dim=448,
    rope_head_dim=64,
    window_tokens=128,
    index_topk=1024,
    compress_ratios=(128, 128, *(4, 128) * 29, 4),
)
"""61 layers: 30 at ratio 4, 31 at ratio 128, none with the sliding window alone.

Source: the published `config.json` of deepseek-ai/DeepSeek-V4-Pro; heads and top-k also in vLLM
0.33.0 `models/deepseek_v4/amd/mono/dims.py:12`.
"""

V32 = Model(
    name="DeepSeek-V3.2",
    num_heads=128,
    head_dim=576,
    nope_head_dim=512,
    rope_head_dim=64,
    window_tokens=0,
    index_topk=2048,
    compress_ratios=(1,) * 61,
)
"""61 layers that keep every token and read the indexer's 2048.

Source: the published `config.json` of deepseek-ai/DeepSeek-V3.2; the head's split in vLLM 0.21.0
`v1/attention/backends/mla/flashmla_sparse.py:120`.
"""

MODELS: dict[str, Model] = {known.name: known for known in (FLASH, PRO, V32)}


def model(name: str) -> Model:
    """The model of this name.

    Raises:
        UsageError: no such model; the message names the nearest.
    """
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    return MODELS[name]
