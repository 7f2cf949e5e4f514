"""Fused cells of recurrent networks on CUDA."""

from __future__ import annotations

from tests.unit.operators.kernel_steps import MANY, floats, steps_of_new

GATES, STATE, BIAS = floats(2, 24), floats(2, 8), floats(24)


def test_a_cell_takes_its_results_alone():
    found = steps_of_new("_thnn_fused_gru_cell", GATES, GATES, STATE, result=(STATE, floats(2, 40)))
    assert "+64:0 +320:1" == found
    found = steps_of_new("_thnn_fused_lstm_cell", GATES, GATES, STATE, result=(STATE, STATE, GATES))
    assert "+64:0 +64:1 +192:2" == found


def test_gradients_of_biases_are_sums_over_the_batch():
    result = (GATES, GATES, STATE, BIAS, BIAS)
    found = steps_of_new("_thnn_fused_gru_cell_backward", STATE, floats(2, 40), True, result=result)
    assert "+192:0 +192:1 +64:2 +96:3 +96:4" == found
    result = (GATES, GATES, STATE, None, None)
    found = steps_of_new(
        "_thnn_fused_gru_cell_backward", STATE, floats(2, 40), False, result=result
    )
    assert "+192:0 +192:1 +64:2" == found


def test_sums_over_a_large_batch_share_their_parts():
    gates, state = floats(MANY, 4), floats(MANY, 1)
    result = (gates, state, floats(4))
    found = steps_of_new("_thnn_fused_lstm_cell_backward_impl", state, result=result)
    assert found.startswith(f"+{MANY * 16}:0 +{MANY * 4}:1 +16:2 ")
    assert found.endswith("-semaphores -partial_results")
    without = steps_of_new(
        "_thnn_fused_lstm_cell_backward_impl", state, result=(gates, state, None)
    )
    assert f"+{MANY * 16}:0 +{MANY * 4}:1" == without
