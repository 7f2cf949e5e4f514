"""What the doctor makes of a survey, on planted ones."""

from __future__ import annotations

import pytest

from oom_suite.cli.doctor_findings import sections
from oom_suite.report.doctor import State, broken

GIB = 1 << 30


def reading(meter, quantity, num_bytes=None, why_not=""):
    return {"meter": meter, "quantity": quantity, "num_bytes": num_bytes, "why_not": why_not}


GPU = {
    "index": 0,
    "name": "NVIDIA H200",
    "arch": "sm_90",
    "driver": "580.1",
    "error": "",
    "total_bytes": 140 * GIB,
    "free_bytes": 139 * GIB,
    "readings": [
        reading("nvml", "device total", 140 * GIB),
        reading("nvml", "device used, before", 1),
        reading("nvml", "device used, after", GIB),
        reading("nvml", "device used, peak of the samples", 2 * GIB),
        reading("nvml", "this process", None, "the driver says N/A for a process"),
        reading("mem_get_info", "all", None, "it failed"),
        reading("sampler", "between samples", None, "3 rounds"),
    ],
    "tenants": [{"pid": 9, "num_bytes": 3 * GIB, "name": "vllm"}],
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OOM_SUITE_CACHE", str(tmp_path))
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


def survey(**changes):
    torch = {"version": "2.11.0+cu130", "cuda": "13.0", "hip": "", "gpus_error": ""}
    return {
        "torch": torch | changes.pop("torch", {}),
        "triton": {"version": "3.7", "error": ""},
        "allocator": {},
        "host": {"readings": [reading("psutil", "resident, after", GIB)]},
        "gpus": [GPU],
        "absent": [],
    } | changes


def found(body):
    return {(s.title, one.name): one for s in sections(body) for one in s.findings}


def test_a_gpu_is_told_by_name_arch_driver_and_bytes():
    """All that decides whether two measurements compare."""
    one = found(survey())["lanes", "measure on cuda:0"]
    text = "NVIDIA H200, sm_90, driver 580.1; 139.00 GiB free of 140.00 GiB"
    assert (State.YES, text) == (one.state, one.says)


def test_a_gpu_that_serves_and_does_not_say_what_is_free_can_be_measured_on():
    """HIP's driver answers "invalid argument" on some devices."""
    body = survey()
    body["gpus"] = [{**each, "free_bytes": None} for each in body["gpus"]]
    one = found(body)["lanes", "measure on cuda:0"]
    assert "an unknown amount free of 140.00 GiB" in one.says


def test_a_meter_is_told_by_its_live_figures_and_what_it_leaves_out():
    """The figure of now, not those before it."""
    one = found(survey())["meters of cuda:0", "nvml"]
    says = (
        "device total 140.00 GiB; device used 1.00 GiB; this process: the driver says N/A for a "
        "process"
    )
    assert (State.YES, says) == (one.state, one.says)


def test_a_meter_without_a_figure_is_told_by_its_reason():
    """It is no, and not broken: the others serve."""
    one = found(survey())["meters of cuda:0", "mem_get_info"]
    assert (State.NO, "it failed") == (one.state, one.says)


def test_a_tenant_is_told_by_pid_name_and_bytes():
    """And that a measurement beside it is inconclusive."""
    one = found(survey())["meters of cuda:0", "other processes"]
    assert "pid 9 (vllm) holds 3.00 GiB" == one.says
    assert "with them a measurement is inconclusive" in one.todo


def test_a_sound_gpu_is_not_broken():
    """The healthy twin of what follows."""
    assert [] == broken(sections(survey()))


def test_a_gpu_that_serves_no_request_is_broken():
    """Its error is shown."""
    body = survey(gpus=[GPU | {"error": "RuntimeError: CUDA error: device lost"}])
    (one,) = broken(sections(body))
    assert "NVIDIA H200: RuntimeError: CUDA error: device lost" == one.says


def test_a_driver_that_fails_to_count_is_broken():
    """torch raised before there was a device to name."""
    (one,) = broken(sections(survey(gpus=[], torch={"gpus_error": "RuntimeError: no"})))
    assert "torch fails to count the GPUs: RuntimeError: no" == one.says


def test_a_hidden_gpu_is_not_broken(monkeypatch):
    """The variable that hides it is named."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    one = found(survey(gpus=[]))["lanes", "measure on a GPU"]
    assert (State.NO, "unset CUDA_VISIBLE_DEVICES") == (one.state, one.todo)
    assert "with CUDA_VISIBLE_DEVICES=''" in one.says


def test_a_build_without_gpus_is_told_so():
    """Neither CUDA nor ROCm."""
    body = survey(gpus=[], torch={"version": "2.13.0+cpu", "cuda": ""})
    says = "torch 2.13.0+cpu is built for neither CUDA nor ROCm"
    assert says == found(body)["lanes", "measure on a GPU"].says


def test_allocator_settings_in_force_are_shown():
    """As they were set."""
    body = survey(allocator={"PYTORCH_ALLOC_CONF": "expandable_segments:True"})
    one = found(body)["torch", "allocator"]
    assert "PYTORCH_ALLOC_CONF=expandable_segments:True" == one.says


def test_a_triton_that_cannot_be_imported_is_broken():
    """It is installed, and should work."""
    body = survey(triton={"version": "", "error": "ImportError: no libcuda"})
    assert ["Triton"] == [one.name for one in broken(sections(body))]


def test_a_triton_that_is_not_installed_is_not_broken():
    """The healthy twin: it is optional."""
    body = survey(triton={"version": "", "error": ""})
    assert State.NO == found(body)["torch", "Triton"].state
    assert [] == broken(sections(body))


def test_a_survey_that_failed_leaves_the_rest():
    """Tools and the cache need no torch."""
    body = found({"error": "no process could be started: Cannot allocate memory"})
    assert State.BROKEN == body["torch", "torch"].state
    assert ("cache of releases", "folder") in body


def test_a_release_in_the_cache_that_is_not_whole_is_named(tmp_path):
    """It will be fetched anew."""
    (tmp_path / "vllm" / "vllm-0.21.0").mkdir(parents=True)
    body = found(survey())
    assert State.NO == body["cache of releases", "vLLM"].state
    assert "vllm-0.21.0" in body["cache of releases", "vLLM, damaged"].says
