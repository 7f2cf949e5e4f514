"""Small models by configuration alone, with random weights: whole steps of real code.

None of them is a dependency: where transformers or timm is not installed, or has no such model,
the row says so.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from oom_suite.pipeline.conformance.cases import Case, short

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from oom_suite.pipeline.conformance.cases import Cases, Unit

_VOCABULARY = 1024
_BATCH, _LENGTH, _NUM_STEPS = 2, 96, 5
_DTYPES = (torch.float32, torch.bfloat16)
_DECODER = {
    "vocab_size": _VOCABULARY,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_OLDER = {name: value for name, value in _DECODER.items() if name != "num_key_value_heads"}
_GPT = {"vocab_size": _VOCABULARY, "n_embd": 256, "n_layer": 2, "n_head": 4, "n_positions": 256}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 128}
_DEEPSEEK = {
    "n_routed_experts": 4,
    "n_group": 2,
    "topk_group": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 128,
    "first_k_dense_replace": 1,
    "q_lora_rank": 64,
    "kv_lora_rank": 32,
    "qk_rope_head_dim": 32,
    "qk_nope_head_dim": 32,
    "v_head_dim": 32,
    "num_key_value_heads": 4,
}
_T5 = {
    "vocab_size": _VOCABULARY,
    "d_model": 256,
    "d_kv": 64,
    "d_ff": 512,
    "num_layers": 2,
    "decoder_start_token_id": 0,
}


@dataclass(frozen=True)
class Model:
    """An architecture of transformers.

    Attributes:
        prefix: of its configuration's class: ``Llama`` for ``LlamaConfig``.
        sizes: what the configuration is given.
        auto: the class that makes the model of a configuration.
        decodes: whether it generates token by token, with a cache.
        attention: the ways of attention that it is run with.
    """

    prefix: str
    sizes: Mapping[str, Any] = field(default_factory=lambda: _DECODER)
    auto: str = "AutoModelForCausalLM"
    decodes: bool = True
    attention: tuple[str, ...] = ("eager", "sdpa")


_ENCODER = "AutoModelForMaskedLM"
_ARCHITECTURES = (
    Model("Llama"),
    Model("Mistral", {**_DECODER, "sliding_window": 64}),
    Model("Qwen2"),
    Model("Qwen3", {**_DECODER, "head_dim": 64}),
    Model("Gemma", {**_DECODER, "head_dim": 64}),
    Model("Gemma2", {**_DECODER, "head_dim": 64, "sliding_window": 64}),
    Model("Phi", _OLDER),
    Model("Phi3"),
    Model("Mixtral", {**_DECODER, "num_local_experts": 4}),
    Model("Qwen3Moe", {**_DECODER, **_EXPERTS, "head_dim": 64}),
    Model("Olmoe", {**_DECODER, "num_experts": 4, "num_experts_per_tok": 2}),
    Model("DeepseekV3", {**_DECODER, **_DEEPSEEK}),
    Model("Cohere"),
    Model("Olmo"),
    Model("Olmo2"),
    Model("StableLm"),
    Model("Starcoder2"),
    Model("Granite"),
    Model("GPT2", _GPT),
    Model("GPTNeoX", _OLDER),
    Model("GPTJ", {**_GPT, "rotary_dim": 32}, attention=("eager",)),
    Model("GPTBigCode", _GPT),
    Model("OPT", {**_OLDER, "ffn_dim": 512, "word_embed_proj_dim": 256}),
    Model("Bloom", {"vocab_size": _VOCABULARY, "hidden_size": 256, "n_layer": 2, "n_head": 4}),
    Model("Falcon", _OLDER),
    Model(
        "Mamba",
        {"vocab_size": _VOCABULARY, "hidden_size": 256, "num_hidden_layers": 2, "state_size": 16},
        attention=("eager",),
    ),
    Model("Bert", _OLDER, _ENCODER, decodes=False),
    Model("Roberta", _OLDER, _ENCODER, decodes=False),
    Model("Electra", {**_OLDER, "embedding_size": 256}, _ENCODER, decodes=False),
    Model("T5", _T5, auto="AutoModelForSeq2SeqLM", decodes=False, attention=("eager",)),
)
_IMAGE_MODELS = (
    "vit_tiny_patch16_224",
    "deit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224",
    "convnext_atto",
    "mixer_s32_224",
    "mobilenetv3_small_100",
    "resnet18",
)


def _cases(model: Model, unit: Unit) -> Iterator[Case]:
    del unit
    steps = ("forward", "training", *(("decoding",) if model.decodes else ()))
    for attention in model.attention:
        for dtype in _DTYPES:
            for step in steps:
                build = functools.partial(_build, model, attention, dtype, step)
                yield Case(f"{short(dtype)} {attention} {step}", build)


def _build(
    model: Model,
    attention: str,
    dtype: torch.dtype,
    step: str,
    sizes: Mapping[str, int],
    device: torch.device,
) -> Callable[[], object]:
    """One step of a model that is made on the device."""
    del sizes
    library: Any = importlib.import_module("transformers")
    config = getattr(library, f"{model.prefix}Config")(**model.sizes)
    with _made_on(device, dtype):
        made = getattr(library, model.auto).from_config(config, attn_implementation=attention)
    made.train(step == "training")
    tokens = torch.randint(3, _VOCABULARY, (_BATCH, _LENGTH), device=device)

    def training() -> object:
        return made(input_ids=tokens, labels=tokens).loss.backward()

    @torch.no_grad()
    def forward() -> object:
        more = {"decoder_input_ids": tokens} if "Seq2Seq" in model.auto else {}
        return made(input_ids=tokens, **more)

    @torch.no_grad()
    def decoding() -> object:
        kept = "cache_params" if model.prefix == "Mamba" else "past_key_values"
        out = made(input_ids=tokens, use_cache=True)
        for _ in range(_NUM_STEPS):
            out = made(input_ids=tokens[:, :1], use_cache=True, **{kept: getattr(out, kept)})
        return out

    return _of(made, {"training": training, "forward": forward, "decoding": decoding}[step])


def _image_cases(name: str, unit: Unit) -> Iterator[Case]:
    del unit
    for dtype in _DTYPES:
        for step in ("forward", "training"):
            build = functools.partial(_image_build, name, dtype, step)
            yield Case(f"{short(dtype)} {step}", build)


def _image_build(
    name: str, dtype: torch.dtype, step: str, sizes: Mapping[str, int], device: torch.device
) -> Callable[[], object]:
    del sizes
    library: Any = importlib.import_module("timm")
    with _made_on(device, dtype):
        made = library.create_model(name, pretrained=False)
    made.train(step == "training")
    images = torch.rand(_BATCH, 3, 224, 224, dtype=dtype, device=device)

    def training() -> object:
        return made(images).sum().backward()

    @torch.no_grad()
    def forward() -> object:
        return made(images)

    return _of(made, training if step == "training" else forward)


@contextlib.contextmanager
def _made_on(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """While active, modules are made on a device, with parameters of a type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            yield
    finally:
        torch.set_default_dtype(before)


def _of(model: torch.nn.Module, call: Callable[[], object]) -> Callable[[], object]:
    """The call, which says what model is in it."""
    vars(call)["model"] = model
    return call


MODELS: Mapping[str, Cases] = {
    **{model.prefix: functools.partial(_cases, model) for model in _ARCHITECTURES},
    **{name: functools.partial(_image_cases, name) for name in _IMAGE_MODELS},
}
"""Every model, by its architecture's name."""
