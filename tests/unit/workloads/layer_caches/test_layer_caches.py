"""Caches of layers: a window that is a view of the whole prompt exceeds the bound, a copy fits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from oom_suite.doors import families, workload
from oom_suite.subjects.families.transformers.caches import of_layers, utils
from oom_suite.subjects.loading import Given
from oom_suite.subjects.stubs import StubLog
from oom_suite.tracing.shadow import ShadowLane
from oom_suite.workloads.layer_caches import step


class View:
    """Keeps the last tokens as a view of all."""

    def __init__(self, sliding_window, **kwargs):
        self.window = sliding_window

    def update(self, key_states, value_states):
        whole = torch.cat([key_states], dim=2), torch.cat([value_states], dim=2)
        self.keys, self.values = [one[:, :, 1 - self.window :] for one in whole]


class Copy(View):
    """Keeps the last tokens alone."""

    def update(self, key_states, value_states):
        super().update(key_states, value_states)
        self.keys, self.values = self.keys.clone(), self.values.clone()


def peak_bytes(layer, sizes):
    """Peak requested bytes of a prompt in layers of this class."""

    def made(sizes, device):
        inputs = step.build(sizes, device)
        call = of_layers(layer)
        return lambda: call(**inputs)

    return ShadowLane(Path(__file__).parent).run(made, sizes).peak().num_bytes


@pytest.mark.parametrize(("layer", "fits"), [(View, False), (Copy, True)])
def test_a_window_that_holds_the_whole_prompt_exceeds_the_bound(layer, fits):
    known = workload("sliding-cache")
    sizes = known.scenario("prompt").sizes
    assert fits == (peak_bytes(layer, sizes) <= known.contract.at_most(sizes))


def test_room_for_the_longest_text_is_by_design_and_holds_the_prompt():
    known = workload("static-cache")
    assert {"max_len"} == set(known.by_design)
    sizes = known.scenario("small").sizes
    assert 256 == known.settle(sizes | {"prompt_len": 512})["prompt_len"]


class Bare:
    """A layer of an older release, which is made without numbers."""

    def update(self, key_states, value_states):
        self.keys, self.values = key_states, value_states


def test_a_layer_is_given_the_numbers_that_it_is_made_with():
    states = torch.zeros(1, 1, 4, 8)
    call = of_layers(Bare)
    layers = call(key_states=states, value_states=states, num_layers=3, window=2, max_len=8)
    assert [(Bare, states, states)] * 3 == [(type(one), *kept) for one, *kept in layers]


def test_no_quantizer_is_there_and_torch_is_as_new_as_it_is():
    names = utils(Given("generic", StubLog()))
    assert not names["is_hqq_available"]()
    assert names["is_torch_greater_or_equal"]("2.7", accept_dev=True)
    assert not names["is_torch_greater_or_equal"]("999")


def test_the_family_keeps_one_file_of_a_release():
    assert "transformers/cache_utils.py" in families()["transformers"].needed_files()
