"""Sampling's steps as workloads. No torch.

Source: vLLM 0.33.0 `vllm/v1/sample/ops/topk_topp_sampler.py:501`,
`vllm/model_executor/layers/utils.py:43`, `vllm/v1/sample/sampler.py:369-420`.
"""

from __future__ import annotations

from oom_suite.hookspecs import hookimpl
from oom_suite.records import Axis, Contract, Convention, Polynomial, Scenario, Workload
from oom_suite.records.workload import Entry
from oom_suite.units import KIB, MIB

_STEP = "oom_suite.workloads.sampling.step"
_VARIANTS = "oom_suite.workloads.sampling.variants"
_EXACT = "oom_suite.workloads.variants:exact"
_ADAPT = "oom_suite.subjects.families.vllm.sampling"
_ORDER = ("num_rows", "vocab_size", "prompt_len", "output_len", "num_logprobs")

_ROWS = Axis("num_rows", step=8, far=(8, 1024), lower=8, unit="row")
_VOCAB = Axis("vocab_size", step=1024, far=(32_768, 262_144), lower=1024, unit="token")


def _bound(**more: int) -> Polynomial:
    """Eight float32 for each logit, 4 KiB a row, 64 MiB; and more bytes for each of an axis."""
    terms: dict[tuple[str, ...], int] = {
        ("num_rows", "vocab_size"): 32,
        ("num_rows",): 4 * KIB,
        (): 64 * MIB,
    }
    terms |= {("num_rows", axis): num_bytes for axis, num_bytes in more.items()}
    return Polynomial.of(terms, order=_ORDER)


TOP_K_TOP_P = Workload(
    name="top-k-top-p",
    axes=(_ROWS, _VOCAB),
    builder=f"{_STEP}:build_top_k_top_p",
    contract=Contract(at_most=_bound()),
    convention=Convention(("logits", "k", "p"), in_place=("logits",)),
    variants=f"{_VARIANTS}:TOP_K_TOP_P",
    oracle=f"{_VARIANTS}:top_k_top_p_oracle",
    tolerance=_EXACT,
    scenarios={
        "server": Scenario(
            "server", {"num_rows": 256, "vocab_size": 129_280}, "256 requests, DeepSeek's tokens"
        ),
        "small": Scenario("small", {"num_rows": 8, "vocab_size": 4096}, "an ordinary test"),
    },
    default_scenario="server",
    entries={
        "vllm": Entry(
            file="vllm/v1/sample/ops/topk_topp_sampler.py",
            functions=("apply_top_k_top_p_pytorch", "apply_top_k_top_p"),
            what="top-k and top-p in torch alone",
        )
    },
    is_scanned_alone=True,
)
"""Top-k and top-p of a batch's logits, in torch alone."""

PENALTIES = Workload(
    name="penalties",
    axes=(
        _ROWS,
        _VOCAB,
        Axis("prompt_len", step=64, far=(64, 8192), lower=64, unit="token"),
        Axis("output_len", step=64, far=(64, 4096), lower=64, unit="token"),
    ),
    builder=f"{_STEP}:build_penalties",
    contract=Contract(at_most=_bound(prompt_len=32, output_len=32)),
    convention=Convention(
        (
            "logits",
            "prompt_tokens_tensor",
            "output_tokens_tensor",
            "presence_penalties",
            "frequency_penalties",
            "repetition_penalties",
        ),
        in_place=("logits",),
    ),
    variants=f"{_VARIANTS}:PENALTIES",
    oracle=f"{_VARIANTS}:penalties_oracle",
    tolerance=f"{_VARIANTS}:penalties_tolerance",
    scenarios={
        "server": Scenario(
            "server",
            {"num_rows": 256, "vocab_size": 129_280, "prompt_len": 2048, "output_len": 512},
            "256 requests, DeepSeek's tokens",
        ),
        "small": Scenario(
            "small",
            {"num_rows": 8, "vocab_size": 4096, "prompt_len": 64, "output_len": 64},
            "an ordinary test",
        ),
    },
    default_scenario="server",
    entries={
        "vllm": Entry(
            file="vllm/model_executor/layers/utils.py",
            functions=("apply_penalties",),
            what="penalties of sampling",
        )
    },
    is_scanned_alone=True,
)
"""Presence, frequency and repetition penalties of a batch's logits.

Repetition is penalised by a kernel of vLLM's, which has a stand-in that leaves logits as they are.
"""

LOGPROBS = Workload(
    name="logprobs",
    axes=(_ROWS, _VOCAB, Axis("num_logprobs", step=1, far=(1, 20), unit="token")),
    builder=f"{_STEP}:build_logprobs",
    contract=Contract(at_most=_bound(num_logprobs=64)),
    convention=Convention(("logits", "num_logprobs", "token_ids")),
    variants=f"{_VARIANTS}:LOGPROBS",
    oracle=f"{_VARIANTS}:logprobs_oracle",
    tolerance=f"{_VARIANTS}:logprobs_tolerance",
    scenarios={
        "prompt": Scenario(
            "prompt",
            {"num_rows": 8192, "vocab_size": 129_280, "num_logprobs": 5},
            "log-probabilities of a prompt's chunk of 8,192 tokens, DeepSeek's tokens",
        ),
        "small": Scenario(
            "small", {"num_rows": 8, "vocab_size": 4096, "num_logprobs": 1}, "an ordinary test"
        ),
    },
    default_scenario="prompt",
    entries={
        "vllm": Entry(
            file="vllm/v1/sample/sampler.py",
            functions=("Sampler.gather_logprobs",),
            what="log-probabilities of sampled and prompt tokens",
            adapt=f"{_ADAPT}:of_logits",
        )
    },
    is_scanned_alone=True,
)
"""Log-probabilities of tokens and of the likeliest, as for a prompt's chunk.

The rank of a token is counted by compiled code, which has a stand-in: ranks are zeros here.
"""


@hookimpl
def oom_workloads() -> list[Workload]:
    """The three."""
    return [TOP_K_TOP_P, PENALTIES, LOGPROBS]
