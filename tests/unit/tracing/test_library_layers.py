"""Layers that a GPU's library runs whole: batch norm, recurrent networks, and their gradients."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from oom_suite.tracing import recurrent
from oom_suite.tracing.batch_norm import layout, takes_cudnn
from oom_suite.tracing.shadow import ShadowLane

HERE = Path(__file__).parent
H200, MI300X = "cuda:sm_90", "rocm:gfx942"


def traced(make, *size, target=H200, dtype=torch.float32, train=False):
    """The trace of a layer on an input of that size, with gradients where it trains."""

    def build(sizes, device):
        layer = make().to(device, dtype).train(train)
        x = torch.empty(size, device=device, dtype=dtype, requires_grad=train)

        def call():
            with torch.set_grad_enabled(train):
                out = layer(x)
            out = out[0] if isinstance(out, tuple) else out
            if train:
                out.sum().backward()

        return call

    # As every lane is run: on the thread that asks for the backward pass.
    with torch.autograd.set_multithreading_enabled(False):
        return ShadowLane(HERE, scratch=target, target=target).run(build, {})


def requests(trace, name):
    return [each.requested_bytes for each in trace.allocations if each.op == f"aten::{name}"]


def named(trace):
    return {each.op.removeprefix("aten::") for each in trace.unseen}


def test_batch_norm_that_does_not_train_keeps_no_statistics_and_takes_nothing():
    trace = traced(lambda: torch.nn.BatchNorm2d(3), 2, 3, 4, 5)
    assert [2 * 3 * 4 * 5 * 4] == requests(trace, "cudnn_batch_norm")
    assert set() == named(trace)


def test_batch_norm_that_trains_keeps_statistics_and_copies_its_gradient():
    """What cuDNN takes beside that is its own choice: it is named."""
    trace = traced(lambda: torch.nn.BatchNorm2d(3), 2, 3, 4, 5, train=True)
    assert [480, 12, 12] == requests(trace, "cudnn_batch_norm")
    assert [480] == requests(trace, "clone")
    assert [480, 12, 12] == requests(trace, "cudnn_batch_norm_backward")
    assert {"cudnn_batch_norm", "cudnn_batch_norm_backward"} == named(trace)


@pytest.mark.parametrize(
    ("size", "dtype", "target"),
    [
        ((2, 3, 4), torch.bfloat16, H200),
        ((2, 3), torch.float32, H200),
        ((2, 3, 4), torch.float32, MI300X),
    ],
    ids=["bfloat16", "rows", "rocm"],
)
def test_other_batch_norms_are_torchs_own(size, dtype, target):
    trace = traced(lambda: torch.nn.BatchNorm1d(3), *size, dtype=dtype, target=target)
    assert [] == requests(trace, "cudnn_batch_norm")
    assert requests(trace, "native_batch_norm")


WEIGHT = torch.ones(3)
BOTH = (WEIGHT, WEIGHT)


@pytest.mark.parametrize(
    ("size", "training", "expected"),
    [
        ((65_535, 3, 1), False, True),
        ((65_536, 3, 1), False, False),
        ((880_801, 3, 1), True, True),
        ((880_802, 3, 1), True, False),
        ((1, 3, 715_827_882), True, True),
        ((1, 3, 715_827_883), True, False),
    ],
)
def test_cudnn_takes_batches_up_to_its_limits(size, training, expected):
    x = torch.empty(size, device="meta")
    assert expected == takes_cudnn(x, WEIGHT, BOTH, training=training)


def test_cudnn_takes_no_half_with_half_weights_nor_half_of_the_statistics():
    half = torch.ones(2, 3, 4, dtype=torch.float16)
    assert takes_cudnn(half, WEIGHT, BOTH, training=True)
    assert not takes_cudnn(half, WEIGHT.half(), BOTH, training=True)
    x = torch.ones(2, 3, 4)
    assert not takes_cudnn(x, WEIGHT, (WEIGHT, None), training=True)
    assert takes_cudnn(x, WEIGHT, (None, None), training=True)
    assert not takes_cudnn(x, WEIGHT, (None, None), training=False)
    assert not takes_cudnn(x, WEIGHT.bfloat16(), BOTH, training=True)


def test_a_result_lies_as_the_input_does():
    x = torch.ones(2, 3, 4, 5)
    assert torch.contiguous_format == layout(x)
    assert torch.channels_last == layout(x.to(memory_format=torch.channels_last))
    deep = torch.ones(2, 3, 4, 5, 6).to(memory_format=torch.channels_last_3d)
    assert torch.channels_last_3d == layout(deep)


CELLS = {"RNN": 1, "GRU": 3, "LSTM": 4}


@pytest.mark.parametrize(
    ("target", "name"), [(H200, "_cudnn_rnn"), (MI300X, "miopen_rnn")], ids=["cuda", "rocm"]
)
@pytest.mark.parametrize("kind", CELLS)
def test_a_recurrent_network_is_one_call_whose_workspace_is_named(kind, target, name):
    trace = traced(lambda: getattr(torch.nn, kind)(5, 8), 3, 2, 5, target=target)
    cells = [2 * 8 * 4] if kind == "LSTM" else []
    packed = [CELLS[kind] * (5 * 8 + 8 * 8 + 8 + 8) * 4] if name == "miopen_rnn" else []
    assert [3 * 2 * 8 * 4, 2 * 8 * 4, *cells, *packed] == requests(trace, name)
    assert {name} == named(trace)


def test_a_network_with_another_step_is_the_library_s_as_well():
    trace = traced(lambda: torch.nn.RNN(5, 8, nonlinearity="relu"), 3, 2, 5)
    assert [3 * 2 * 8 * 4, 2 * 8 * 4] == requests(trace, "_cudnn_rnn")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_library_takes_real_floats_where_there_are_any(dtype):
    assert recurrent.is_taken(torch.ones(2, dtype=dtype))
    assert not recurrent.is_taken(torch.ones(0, dtype=dtype))
    assert not recurrent.is_taken(torch.ones(2, dtype=torch.complex64))


@pytest.mark.parametrize("kind", CELLS)
def test_its_gradients_are_those_of_input_states_and_one_buffer_of_parameters(kind):
    trace = traced(lambda: getattr(torch.nn, kind)(5, 8), 3, 2, 5, train=True)
    states = [2 * 8 * 4] * (2 if kind == "LSTM" else 1)
    parameters = CELLS[kind] * (5 * 8 + 8 * 8 + 8 + 8) * 4
    assert [3 * 2 * 5 * 4, *states, parameters] == requests(trace, "_cudnn_rnn_backward")
    assert {"_cudnn_rnn", "_cudnn_rnn_backward"} == named(trace)


def shape_of(layer, x):
    """Of the output, and of the states."""
    out, states = layer(x)
    states = states if isinstance(states, tuple) else (states,)
    return [tuple(each.shape) for each in (out, *states)]


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.nn.LSTM(5, 8, num_layers=2, bidirectional=True),
        lambda: torch.nn.LSTM(5, 8, proj_size=3),
        lambda: torch.nn.GRU(5, 8, batch_first=True, bias=False),
        lambda: torch.nn.RNN(5, 8, nonlinearity="relu"),
    ],
    ids=["two directions", "a projection", "batch first", "relu"],
)
def test_results_are_as_large_as_torchs_own(make):
    found = []

    def build(sizes, device):
        layer, x = make().to(device), torch.empty(3, 2, 5, device=device)
        return lambda: found.append(shape_of(layer, x))

    ShadowLane(HERE, scratch=H200, target=H200).run(build, {})
    assert shape_of(make(), torch.ones(3, 2, 5)) == found[0]


def test_sequences_of_different_lengths_are_one_call():
    def build(sizes, device):
        layer = torch.nn.GRU(5, 8).to(device)
        x = torch.empty(5, 5, device=device)
        packed = torch.nn.utils.rnn.PackedSequence(x, torch.tensor([2, 2, 1]))
        return lambda: layer(packed)

    trace = ShadowLane(HERE, scratch=H200, target=H200).run(build, {})
    assert [5 * 8 * 4, 2 * 8 * 4] == requests(trace, "_cudnn_rnn")


def test_a_gru_cell_keeps_five_numbers_for_each_of_its_state():
    trace = traced(lambda: torch.nn.GRUCell(5, 8), 2, 5, train=True)
    assert [2 * 8 * 4, 2 * 8 * 5 * 4] == requests(trace, "_thnn_fused_gru_cell")
    gates, bias = 2 * 24 * 4, 24 * 4
    backward = requests(trace, "_thnn_fused_gru_cell_backward")
    assert [gates, gates, 64, bias, bias] == backward
    assert set() == named(trace)


def test_a_cpu_and_the_generic_target_go_step_by_step():
    def build(sizes, device):
        layer, x = torch.nn.RNN(5, 8).to(device), torch.empty(3, 2, 5, device=device)
        return lambda: layer(x)

    for target in ("cpu", "generic"):
        trace = ShadowLane(HERE, target=target).run(build, {})
        assert 3 == len(requests(trace, "tanh"))
