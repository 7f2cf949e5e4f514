"""A prompt that fills the caches of a model's layers, as workloads. No torch.

Source: transformers 5.24.0 `transformers/cache_utils.py:104` (`DynamicLayer`), :196
(`DynamicSlidingWindowLayer`) and :403 (`StaticLayer`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from oom_suite.hookspecs import hookimpl
from oom_suite.records import Axis, Contract, Convention, Polynomial, Scenario, Workload
from oom_suite.records.workload import Entry
from oom_suite.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Mapping

_VARIANTS = "oom_suite.workloads.layer_caches.variants"
_ORDER = ("batch", "num_heads", "num_layers", "prompt_len", "window", "max_len")


def _bound(kept: str) -> Polynomial:
    """Twice the keys and values that a layer keeps, and eight tensors as long as the prompt.

    A token of a head has 256 bytes of keys and as many of values.
    """
    return Polynomial.of(
        {
            ("batch", "num_heads", "num_layers", kept): KIB,
            ("batch", "num_heads", "prompt_len"): 2 * KIB,
            (): 16 * MIB,
        },
        order=_ORDER,
    )


def _settle(sizes: Mapping[str, int]) -> Mapping[str, int] | None:
    """The same sizes with a prompt that fixed room can hold."""
    return {**sizes, "prompt_len": min(sizes["prompt_len"], sizes["max_len"])}


def _scenario(name: str, prompt_len: int, max_len: int, window: int, summary: str) -> Scenario:
    sizes = {
        "batch": 1,
        "num_heads": 8,
        "num_layers": 24,
        "prompt_len": prompt_len,
        "window": window,
        "max_len": max_len,
    }
    return Scenario(name, sizes, summary)


def _entry(layer: str, what: str, first_release: str) -> Entry:
    return Entry(
        file="transformers/cache_utils.py",
        functions=(layer,),
        what=what,
        first_release=first_release,
        adapt="oom_suite.subjects.families.transformers.caches:of_layers",
    )


SLIDING_CACHE = Workload(
    name="sliding-cache",
    axes=(
        Axis("batch", step=1, far=(1, 16), unit="request"),
        Axis("num_heads", step=1, far=(1, 16), unit="head"),
        Axis("num_layers", step=1, far=(2, 96), lower=2, unit="layer"),
        Axis("prompt_len", step=64, far=(64, 65_536), lower=64, unit="token"),
    ),
    builder="oom_suite.workloads.layer_caches.step:build",
    contract=Contract(at_most=_bound("window")),
    settle=_settle,
    host=False,
    convention=Convention(("key_states", "value_states", "num_layers", "window", "max_len")),
    variants=f"{_VARIANTS}:SLIDING",
    oracle=f"{_VARIANTS}:oracle",
    tolerance="oom_suite.workloads.variants:exact",
    scenarios={
        one.name: one
        for one in (
            _scenario("prompt", 32_768, 131_072, 1024, "a prompt of 32,768 tokens, 24 layers"),
            _scenario("small", 64, 256, 16, "a prompt of 64 tokens"),
        )
    },
    entries={
        "transformers": _entry("DynamicSlidingWindowLayer", "cache of a sliding window", "4.56.0")
    },
    is_scanned_alone=True,
)
"""A prompt in the caches of layers that need a window of it."""

DYNAMIC_CACHE = replace(
    SLIDING_CACHE,
    name="dynamic-cache",
    contract=Contract(at_most=_bound("prompt_len")),
    variants=f"{_VARIANTS}:DYNAMIC",
    entries={"transformers": _entry("DynamicLayer", "cache of a layer that grows", "4.54.0")},
)
"""A prompt in the caches of layers that need all of it."""

STATIC_CACHE = replace(
    SLIDING_CACHE,
    name="static-cache",
    axes=(
        *SLIDING_CACHE.axes,
        Axis("max_len", step=64, far=(64, 1 << 20), lower=64, unit="token"),
    ),
    contract=Contract(at_most=_bound("max_len")),
    variants=f"{_VARIANTS}:STATIC",
    entries={"transformers": _entry("StaticLayer", "cache of a layer with fixed room", "4.54.0")},
    by_design={
        "max_len": "room for the longest text is made once, so that a compiled step finds the "
        "same tensors each time"
    },
)
"""A prompt in caches that have room for the longest text."""


@hookimpl
def oom_workloads() -> list[Workload]:
    """The three."""
    return [SLIDING_CACHE, DYNAMIC_CACHE, STATIC_CACHE]
