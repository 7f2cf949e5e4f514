"""Which GPUs an environment leaves a process."""

from __future__ import annotations

import pytest

from oom_suite.targets import VisibleGpus, machine, visible_gpus
from oom_suite.targets.machine import Machine

H200_X8 = Machine("cuda", 8, "NVML")
MI300X_X8 = Machine("hip", 8, "/sys")
UNKNOWN = Machine("", None)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2,3", ("2", "3")),
        (" 2 , 03 ", ("2", "3")),
        ("GPU-abc,GPU-def", ("GPU-abc", "GPU-def")),
        ("MIG-abc", ("MIG-abc",)),
        ("", ()),
        ("-1", ()),
        ("0,-1,1", ("0",)),
        ("0,x,1", ("0",)),
        ("7,8", ("7",)),
        ("1,1", ()),
    ],
)
def test_the_callers_list_is_read_as_cuda_reads_it(value, expected):
    """Up to the first entry that names no GPU; an entry twice makes it empty."""
    seen = visible_gpus({"CUDA_VISIBLE_DEVICES": value}, H200_X8)
    assert VisibleGpus("CUDA_VISIBLE_DEVICES", expected, "CUDA_VISIBLE_DEVICES") == seen


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"HIP_VISIBLE_DEVICES": "2,3"}, ("2", "3")),
        ({"HIP_VISIBLE_DEVICES": "1,1"}, ("1",)),
        ({"HIP_VISIBLE_DEVICES": "-1"}, ()),
        ({"HIP_VISIBLE_DEVICES": "2", "CUDA_VISIBLE_DEVICES": "5"}, ("2",)),
        ({"HIP_VISIBLE_DEVICES": "", "CUDA_VISIBLE_DEVICES": "5,6"}, ("5", "6")),
        ({"ROCR_VISIBLE_DEVICES": "4,5,6"}, ("0", "1", "2")),
        ({"ROCR_VISIBLE_DEVICES": "4,5,6", "HIP_VISIBLE_DEVICES": "2,3"}, ("2",)),
        ({"ROCR_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": "0"}, ()),
        ({}, tuple("01234567")),
    ],
    ids=str,
)
def test_hip_indexes_into_what_rocr_leaves(environ, expected):
    """And reads CUDA's variable where its own is empty or absent."""
    seen = visible_gpus(environ, MI300X_X8)
    assert ("HIP_VISIBLE_DEVICES", expected) == (seen.variable, seen.entries)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ("CUDA_VISIBLE_DEVICES", ())),
        ({"CUDA_VISIBLE_DEVICES": "2,3"}, ("CUDA_VISIBLE_DEVICES", ("2", "3"))),
        ({"HIP_VISIBLE_DEVICES": "2,3"}, ("HIP_VISIBLE_DEVICES", ("2", "3"))),
    ],
    ids=str,
)
def test_a_machine_that_tells_nothing_leaves_the_callers_list(environ, expected):
    """Without one nothing is guessed."""
    seen = visible_gpus(environ, UNKNOWN)
    assert expected == (seen.variable, seen.entries)


@pytest.mark.parametrize(("worker", "expected"), [(0, "2"), (1, "3"), (2, "2"), (5, "3")])
def test_entries_go_round(worker, expected):
    """Worker 2 of two GPUs has the first again."""
    assert expected == visible_gpus({"CUDA_VISIBLE_DEVICES": "2,3"}, H200_X8).of(worker)


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """An empty machine: no NVML, no files, a CPU build of torch."""
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    monkeypatch.setattr(machine, "nvml_gpus", lambda: None)
    monkeypatch.setattr(machine, "torch_build", lambda: "")
    return tmp_path


def plant_kfd(root, *simd_counts):
    for index, count in enumerate(simd_counts):
        node = root / "sys/class/kfd/kfd/topology/nodes" / str(index)
        node.mkdir(parents=True)
        (node / "properties").write_text(f"cpu_cores_count 0\nsimd_count {count}\n")


def plant_nvidia(root, *addresses):
    for address in addresses:
        (root / "proc/driver/nvidia/gpus" / address).mkdir(parents=True)


def test_a_machine_without_gpus_tells_none(bare):
    """The number is not known, which is not 0."""
    assert Machine("", None) == machine.find_machine()


def test_amd_gpus_are_the_nodes_that_compute(bare):
    """A CPU is a node too, with no SIMD."""
    plant_kfd(bare, 0, 0, 1216, 1216)
    assert Machine("hip", 2, "/sys/class/kfd/kfd/topology/nodes") == machine.find_machine()


def test_nvidia_gpus_are_the_drivers_folders_where_nvml_is_not_there(bare):
    """NVML is asked first."""
    plant_nvidia(bare, "0000:01:00.0", "0000:02:00.0")
    assert Machine("cuda", 2, "/proc/driver/nvidia/gpus") == machine.find_machine()


def test_nvml_is_believed_before_the_drivers_folders(bare, monkeypatch):
    """A container lists the host's folders, and has fewer GPUs."""
    plant_nvidia(bare, "0000:01:00.0", "0000:02:00.0")
    monkeypatch.setattr(machine, "nvml_gpus", lambda: 1)
    assert Machine("cuda", 1, "NVML") == machine.find_machine()


def test_device_nodes_are_believed_before_the_drivers_folders(bare):
    """They are what this container can open; the control nodes are no GPUs."""
    plant_nvidia(bare, "0000:01:00.0", "0000:02:00.0")
    (bare / "dev").mkdir()
    for name in ("nvidia3", "nvidiactl", "nvidia-uvm"):
        (bare / "dev" / name).touch()
    assert Machine("cuda", 1, "/dev") == machine.find_machine()


@pytest.mark.parametrize(("build", "expected"), [("hip", 1), ("cuda", 2), ("", 2)])
def test_torchs_build_decides_between_two_drivers(bare, monkeypatch, build, expected):
    """Its runtime is the one that will read the variable."""
    plant_kfd(bare, 1216)
    plant_nvidia(bare, "0000:01:00.0", "0000:02:00.0")
    monkeypatch.setattr(machine, "torch_build", lambda: build)
    assert expected == machine.find_machine().num_gpus


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cuda: Optional[str] = '13.0'\nhip: Optional[str] = None\n", "cuda"),
        ("cuda = None\nhip = '6.4.43484'\n", "hip"),
        ("cuda: Optional[str] = None\nhip: Optional[str] = None\n", ""),
    ],
)
def test_torchs_build_is_read_without_importing_it(monkeypatch, tmp_path, text, expected):
    """Its version file is text."""
    package = tmp_path / "torch"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    (package / "version.py").write_text(text)
    spec = machine.importlib.util.spec_from_file_location(
        "torch", package / "__init__.py", submodule_search_locations=[str(package)]
    )
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda name: spec)
    assert expected == machine.torch_build()
