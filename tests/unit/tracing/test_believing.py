"""Code under test is told what its target would tell it, and nothing outlives the lane."""

from __future__ import annotations

import threading

import pytest
import torch
from believed_calls import CUDA, H200, MI325X, told

from oom_suite.targets.target import TARGETS, target
from oom_suite.torch_compat.fake_cuda import fake_cuda
from oom_suite.torch_compat.fakes import FakeMode
from oom_suite.tracing.believing import believing
from oom_suite.tracing.prove import ProveLane
from oom_suite.tracing.shadow import ShadowLane

GPUS = [one.name for one in TARGETS if one.backend != "cpu"]


SAME_ON_EVERY_GPU = {
    "x.is_cuda": (lambda x: x.is_cuda, True),
    "x.device": (lambda x: x.device, CUDA),
    "x.device.type": (lambda x: x.device.type, "cuda"),
    "x.get_device()": (lambda x: x.get_device(), 0),
    "x.type()": (lambda x: x.type(), "torch.cuda.FloatTensor"),
    "x.cpu().is_cuda": (lambda x: x.cpu().is_cuda, False),
    "x[0].device": (lambda x: x[0].device, CUDA),
    "cuda.is_available": (lambda x: torch.cuda.is_available(), True),
    "cuda.is_initialized": (lambda x: torch.cuda.is_initialized(), True),
    "cuda.device_count": (lambda x: torch.cuda.device_count(), 1),
    "cuda.current_device": (lambda x: torch.cuda.current_device(), 0),
    "cuda.memory_allocated": (lambda x: torch.cuda.memory_allocated(), 0),
    "cuda.memory_stats": (lambda x: torch.cuda.memory_stats()["num_ooms"], 0),
    "cuda.is_current_stream_capturing": (
        lambda x: torch.cuda.is_current_stream_capturing(),
        False,
    ),
    "cuda.current_stream": (lambda x: torch.cuda.current_stream().device, CUDA),
    "cuda.default_stream": (lambda x: torch.cuda.default_stream().device, CUDA),
    "backends.cuda.is_built": (lambda x: torch.backends.cuda.is_built(), True),
    "backends.cudnn.is_available": (lambda x: torch.backends.cudnn.is_available(), True),
    "accelerator.is_available": (lambda x: torch.accelerator.is_available(), True),
    "accelerator.device_count": (lambda x: torch.accelerator.device_count(), 1),
    "accelerator": (lambda x: torch.accelerator.current_accelerator().type, "cuda"),
    "empty(device='cuda')": (lambda x: torch.empty(2, device="cuda").device, CUDA),
    "empty(device='cuda:0')": (lambda x: torch.empty(2, device="cuda:0").device, CUDA),
    "empty(device=0)": (lambda x: torch.empty(2, device=0).device, CUDA),
    "tensor([...])": (lambda x: torch.tensor([1, 2], device="cuda").device, CUDA),
    "to('cuda')": (lambda x: torch.ones(2).to("cuda").device, CUDA),
    "cuda()": (lambda x: torch.ones(2).cuda().device, CUDA),
    "module.cuda()": (lambda x: torch.nn.Linear(4, 4).cuda().weight.device, CUDA),
    "module(device=)": (lambda x: torch.nn.Linear(4, 4, device="cuda")(x).device, CUDA),
    "Generator": (lambda x: torch.Generator(device="cuda").device, CUDA),
    "isinstance Generator": (lambda x: isinstance(torch.default_generator, torch.Generator), True),
    "rand(generator=)": (
        lambda x: torch.rand(2, device="cuda", generator=torch.Generator("cuda")).device,
        CUDA,
    ),
}


@pytest.mark.parametrize("name", GPUS)
@pytest.mark.parametrize("asked", SAME_ON_EVERY_GPU)
def test_a_gpu_is_there(asked, name):
    ask, expected = SAME_ON_EVERY_GPU[asked]
    assert expected == told(ask, name)


@pytest.mark.parametrize("asked", ["x.is_cuda", "x.device", "cuda.is_available", "to('cuda')"])
def test_a_gpu_is_there_where_sizes_are_symbols(asked):
    ask, expected = SAME_ON_EVERY_GPU[asked]
    assert expected == told(ask, lane=ProveLane)


DIFFERENT = {
    "name": (lambda: torch.cuda.get_device_name(), "NVIDIA H200", "AMD Instinct MI325X"),
    "capability": (lambda: torch.cuda.get_device_capability(), (9, 0), (9, 4)),
    "bytes": (
        lambda: torch.cuda.mem_get_info()[1],
        target(H200).memory_bytes,
        target(MI325X).memory_bytes,
    ),
    "warp size": (lambda: torch.cuda.get_device_properties(0).warp_size, 32, 64),
    "processors": (
        lambda: torch.cuda.get_device_properties("cuda").multi_processor_count,
        132,
        304,
    ),
    "architecture": (
        lambda: torch.cuda.get_device_properties(0).gcnArchName,
        "NVIDIA H200",
        "gfx942",
    ),
    "is HIP": (lambda: torch.version.hip is not None, False, True),
    "is CUDA": (lambda: torch.version.cuda is not None, True, False),
    "kernels for": (lambda: torch.cuda.get_arch_list(), ["sm_90"], ["gfx942"]),
    "bfloat16": (lambda: torch.cuda.is_bf16_supported(), True, True),
}


@pytest.mark.parametrize("asked", DIFFERENT)
def test_each_target_answers_for_itself(asked):
    ask, nvidia, amd = DIFFERENT[asked]
    assert (nvidia, amd) == (told(lambda _: ask(), H200), told(lambda _: ask(), MI325X))


@pytest.mark.parametrize("name", GPUS)
def test_a_gpu_s_place_on_the_bus_is_the_first(name):
    """One board of its own; nobody's memory depends on more."""
    expected = {
        **dict.fromkeys(["is_integrated", "is_multi_gpu_board"], 0),
        **dict.fromkeys(["pci_bus_id", "pci_device_id", "pci_domain_id"], 0),
        "uuid": "00000000-0000-0000-0000-000000000000",
    }
    found = told(lambda _: torch.cuda.get_device_properties(0), name)
    assert expected == {each: getattr(found, each) for each in expected}


def test_the_generic_target_is_hip_of_no_kind():
    found = told(lambda _: (torch.version.hip is not None, torch.cuda.get_arch_list()), "generic")
    assert (True, []) == found


def test_a_device_named_as_a_target_brings_its_own_memory():
    h100 = told(lambda _: torch.cuda.mem_get_info()[1], "H100")
    assert target("H100").memory_bytes == h100
    assert h100 < target("H200").memory_bytes


def test_the_cpu_has_no_gpu():
    found = told(lambda x: (x.device.type, torch.cuda.is_available()), "cpu")
    assert ("cpu", False) == found


def test_autocast_on_cuda_converts():
    def ask(x):
        with torch.autocast("cuda", dtype=torch.bfloat16):
            return (x[None] @ x[:, None]).dtype

    assert torch.bfloat16 == told(ask)


def test_a_device_context_and_a_default_device_are_taken():
    def ask(x):
        with torch.device("cuda"):
            return torch.empty(2).device

    assert told(ask) == CUDA


def training_step(x):
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.LayerNorm(4)).cuda()
    optimizer = torch.optim.AdamW(model.parameters())
    torch.utils.checkpoint.checkpoint(model, x, use_reentrant=False).sum().backward()
    optimizer.step()
    return {one.grad.device for one in model.parameters()}


@pytest.mark.parametrize("lane", [ShadowLane, ProveLane])
def test_a_training_step_runs_backward_on_the_device(lane):
    assert {CUDA} == told(training_step, lane=lane)


def test_code_that_refuses_other_devices_runs():
    def ask(x):
        if x.device.type != "cuda":
            raise RuntimeError(f"expected a CUDA tensor, got one on {x.device}")
        return str(x.device)

    assert told(ask) == "cuda:0"


def test_an_error_of_torch_names_no_device_of_the_suite():
    def ask(x):
        with pytest.raises(RuntimeError) as raised:
            _ = x + torch.ones(5, device="cuda")
        return str(raised.value)

    assert "shadow" not in told(ask)


def test_nothing_is_believed_after_the_lane():
    before = torch.cuda.is_available(), torch.version.hip, torch.Generator, torch.cuda.Stream
    told(lambda x: None, MI325X)
    after = torch.cuda.is_available(), torch.version.hip, torch.Generator, torch.cuda.Stream
    assert before == after


def test_another_thread_may_believe_at_the_same_time():
    entered, leave = threading.Event(), threading.Event()

    def other():
        with believing(target(MI325X)):
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=other)
    with believing(target(MI325X)):
        thread.start()
        assert entered.wait(30)
        leave.set()
        thread.join()
        with FakeMode():
            x = torch.ones(2, device="cuda", requires_grad=True)
            (x * x + x).sum().backward()
    assert x.grad.device == CUDA


def test_fakes_are_on_cuda_again_and_again():
    for _ in range(3):
        with fake_cuda(), FakeMode():
            x = torch.ones(2, device="cuda", requires_grad=True)
            (x * x + x).sum().backward()
        assert x.grad.is_cuda


def test_code_that_asks_whether_a_tensor_is_fake_hears_what_a_gpu_says():
    """torch itself still knows its own; so does everyone after the lane."""

    def asked_by(module):
        ask = "isinstance(x, torch._subclasses.FakeTensor), issubclass(type(x), FAKE)"
        return lambda x: eval(ask, {"__name__": module, "torch": torch, "x": x, "FAKE": fake()})

    def fake():
        return torch._subclasses.FakeTensor

    assert (False, False) == told(asked_by("transformers.masking_utils"))
    assert (True, True) == told(asked_by("torch._meta_registrations"))
    with FakeMode():
        x = torch.ones(2)
    assert isinstance(x, torch._subclasses.FakeTensor)
