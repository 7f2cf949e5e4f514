"""The calls that are run: that they can be, and that both sides get the same inputs."""

from __future__ import annotations

import functools
import sys
import types

import pytest
import torch

from oom_suite.errors import LaneError
from oom_suite.pipeline.conformance import bench
from oom_suite.pipeline.conformance.cases import Unit
from oom_suite.pipeline.conformance.databases import (
    DTYPES,
    MODULES,
    OPERATORS,
    moved,
    operator_dtypes,
)
from oom_suite.pipeline.conformance.models import _ARCHITECTURES, MODELS
from oom_suite.pipeline.conformance.scaled import SCALED, WITH_GRADIENT, WITHOUT_GRADIENT, _build

CPU = torch.device("cpu")
EVERY = [(name, call, False) for name, call in WITHOUT_GRADIENT.items()] + [
    (name, call, True) for name, call in WITH_GRADIENT.items()
]


@pytest.mark.parametrize("shape", ["long rows", "many rows"])
@pytest.mark.parametrize(("name", "call", "trains"), EVERY, ids=[name for name, _, _ in EVERY])
def test_every_scaled_call_can_be_run(name, call, trains, shape):
    """Forward, and where it has a gradient as a training step; on a CPU, in float32."""
    del name
    for is_training in (False, *((True,) if trains else ())):
        _build(call, 4096, shape, torch.float32, is_training, {}, CPU)()


def test_the_list_has_the_steps_sizes_and_types_that_it_says():
    cases = [case.name for case in SCALED["softmax"](Unit("scaled", "softmax", "cuda"))]
    assert 24 == len(cases) == len(set(cases))
    assert "bfloat16 16,777,216 in long rows training" in cases
    assert len(SCALED) >= 90


def test_operators_have_the_types_that_they_take():
    """Those that serve: no float64; and no half type where the operator takes integers alone."""
    taken = operator_dtypes("cpu")
    assert {"float32", "bfloat16", "int64", "bool"} <= set(taken["sort"])
    assert "float32" not in taken["bitwise_and"]
    assert {str(dtype).removeprefix("torch.") for dtype in DTYPES} >= set(taken["add"])
    assert len(OPERATORS) > 600
    assert len(MODULES) > 100


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(6.0),
        torch.arange(6.0).view(2, 3).t(),
        torch.arange(12.0)[::3],
        torch.ones(1).expand(4),
        torch.arange(3),
        torch.empty(0, 3),
    ],
    ids=["contiguous", "transposed", "strided", "expanded", "integers", "empty"],
)
def test_inputs_are_copied_as_they_are_laid_out(tensor):
    """The operator's requests may depend on it; what it writes must not reach the sample."""
    found = moved({"x": [tensor], "device": "cpu"}, CPU)
    (copy,) = found["x"]
    assert (tensor.stride(), tensor.tolist(), CPU) == (
        copy.stride(),
        copy.tolist(),
        found["device"],
    )
    assert copy.untyped_storage().data_ptr() != tensor.untyped_storage().data_ptr() or (
        tensor.numel() == 0
    )


def test_a_gpus_peak_is_above_what_was_there_before(monkeypatch):
    """After a call that warmed up; 300 bytes were there when the measured one began."""
    calls = []
    stats = {
        "requested_bytes.all.peak": 300,
        "requested_bytes.all.current": 300,
        "allocated_bytes.all.peak": 1024,
        "allocated_bytes.all.current": 1024,
    }

    def call():
        calls.append(len(calls))
        stats["requested_bytes.all.peak"] += 700
        stats["allocated_bytes.all.peak"] += 1024

    def reset(device):
        del device
        stats["requested_bytes.all.peak"] = 300
        stats["allocated_bytes.all.peak"] = 1024

    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 0)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset)
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda device: dict(stats))
    found = bench.measured(lambda sizes, device: call, torch.device("cuda"))
    assert [0, 1] == calls
    assert {"measured_bytes": 700, "allocated_bytes": 1024} == found


def test_a_model_has_the_trackers_figure_beside_it():
    """The gradient of a bias of 8 floats; the tracker sees the parameters as there already."""
    model = torch.nn.Linear(4, 8)

    def build(sizes, device):
        del sizes
        made = torch.nn.Linear(4, 8, device=device)
        x = torch.ones(2, 4, device=device)

        def call():
            return made(x)

        vars(call)["model"] = made
        return call

    found = bench.measured(build, CPU)
    assert (2 * model.out_features * 4, True) == (
        found["measured_bytes"],
        found["tracked_bytes"] >= found["measured_bytes"],
    )


def test_a_library_that_is_not_there_is_a_row(monkeypatch):
    """And so is a model that it has not: the case is there, and says why it is not run."""
    monkeypatch.setitem(sys.modules, "transformers", None)
    cases = list(MODELS["Llama"](Unit("models", "Llama")))
    assert 12 == len(cases)
    found = bench._row(cases[0], lambda build: bench.measured(build, CPU))
    assert found["error"].startswith("ModuleNotFoundError: import of transformers halted")


def test_models_are_made_by_configuration_alone(monkeypatch):
    """With the attention and the type that the case says."""
    made = []

    class Config:
        def __init__(self, **sizes):
            self.sizes = sizes

    class Auto:
        @staticmethod
        def from_config(config, attn_implementation):
            made.append((config.sizes["hidden_size"], attn_implementation))
            return Embedding(config.sizes["vocab_size"])

    class Embedding(torch.nn.Module):
        def __init__(self, size):
            super().__init__()
            self.table = torch.nn.Embedding(size, 4)

        def forward(self, input_ids, labels=None, **more):
            del more
            out = self.table(input_ids)
            loss = None if labels is None else out.float().sum()
            return types.SimpleNamespace(loss=loss, past_key_values=out)

    library = types.SimpleNamespace(LlamaConfig=Config, AutoModelForCausalLM=Auto)
    monkeypatch.setitem(sys.modules, "transformers", library)
    cases = list(MODELS["Llama"](Unit("models", "Llama")))
    found = {
        case.name: bench._row(case, functools.partial(bench.measured, device=CPU)) for case in cases
    }
    assert [] == [row["error"] for row in found.values() if "error" in row]
    assert {(256, "eager"), (256, "sdpa")} == set(made)
    # 192 rows of 4 values, of 4 and of 2 bytes.
    assert [192 * 16, 192 * 8] == [
        found[f"{dtype} eager forward"]["measured_bytes"] for dtype in ("float32", "bfloat16")
    ]


def test_there_are_models_of_two_dozen_architectures():
    assert len(_ARCHITECTURES) >= 24


def test_a_type_that_torch_makes_no_inputs_of_has_a_row_with_the_reason(monkeypatch):
    """It is not left out in silence."""
    from oom_suite.pipeline.conformance import databases

    def refuses(*_, **__):
        raise ValueError("no such type")

    monkeypatch.setattr(databases, "_module_inputs", refuses)
    cases = list(databases._module_cases(None, None))
    assert len(databases._MODULE_DTYPES) * 2 == len(cases)
    with pytest.raises(LaneError, match="torch makes no inputs of this type: no such type"):
        cases[0].build({}, torch.device("cpu"))


def test_a_process_that_sees_a_gpu_makes_the_same_samples(monkeypatch):
    """torch makes samples of ``to`` for a GPU's device as well where it sees one."""
    names = [case.name for case in OPERATORS["to"](Unit("operators", "to", "cuda", ("float32",)))]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    again = [case.name for case in OPERATORS["to"](Unit("operators", "to", "cuda", ("float32",)))]
    assert names == again
