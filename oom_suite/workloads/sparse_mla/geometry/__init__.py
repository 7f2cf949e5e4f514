"""Sizes only, no tensors: block layouts, the models' geometries and the named scenarios."""

from oom_suite.workloads.sparse_mla.geometry.layouts import (
    BF16,
    FP8_DS_MLA_V4,
    FP8_DS_MLA_V32,
    Layout,
    bf16,
)
from oom_suite.workloads.sparse_mla.geometry.models import MODELS, Model, model
from oom_suite.workloads.sparse_mla.geometry.scenarios import (
    AXES,
    SCENARIOS,
    resize,
    scenario,
)

__all__ = [
    "AXES",
    "BF16",
    "FP8_DS_MLA_V4",
    "FP8_DS_MLA_V32",
    "MODELS",
    "SCENARIOS",
    "Layout",
    "Model",
    "bf16",
    "model",
    "resize",
    "scenario",
]
