"""Simulated drivers: C files compiled once a session, asked through the real bindings."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
DRIVERS = ROOT / "tests" / "drivers"
OWN_PID = "4242"
VISIBLE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")


@pytest.fixture(autouse=True)
def _without_a_callers_list(monkeypatch):
    """The simulated machines have their own."""
    for name in VISIBLE:
        monkeypatch.delenv(name, raising=False)


def _compile(source, library, defines, extra=()):
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler (cc, gcc or clang) to build the simulated driver with")
    flags = [f"-D{name}" for name in defines]
    command = [
        compiler,
        "-shared",
        "-fPIC",
        "-Werror",
        "-Wall",
        "-Wno-unused-function",
        *flags,
        "-o",
        library,
        source,
    ]
    subprocess.run([*command, *extra], check=True, capture_output=True, text=True)


def _stubs(folder, without):
    """Every symbol that the installed bindings look up, weak, so that a real one wins."""
    spec = importlib.util.find_spec("amdsmi")
    wrapper = Path(spec.submodule_search_locations[0]) / "amdsmi_wrapper.py"
    names = set(re.findall(r"_libraries\['libamd_smi\.so'\]\.(\w+)", wrapper.read_text("utf-8")))
    file = folder / "stubs.c"
    lines = [f"__attribute__((weak)) int {n}(void) {{ return 2; }}" for n in names - set(without)]
    file.write_text("\n".join(sorted(lines)) + "\n", encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    """`driver(name, *defines, without=())`: the folder with a simulated library, built once."""
    built = {}

    def build(name, *defines, without=()):
        module = {"amdsmi": "amdsmi", "nvml": "pynvml"}[name]
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"the bindings {module} are not installed (extra `test`)")
        key = (name, defines, without)
        if key not in built:
            folder = tmp_path_factory.mktemp(name)
            library = {"amdsmi": "libamd_smi.so", "nvml": "libnvidia-ml.so.1"}[name]
            extra = [_stubs(folder, without)] if name == "amdsmi" else []
            _compile(DRIVERS / f"{name}.c", folder / library, defines, extra)
            built[key] = folder
        return built[key]

    return build


METERS = {
    "amdsmi": "oom_suite.targets.meters.amd_smi:AmdSmiMeter",
    "nvml": "oom_suite.targets.meters.nvml:NvmlMeter",
}


@pytest.fixture
def ask(tmp_path):
    """`ask(name, library_folder, figures, device, **environ)`: all that the meter says."""

    def ask(name, folder, figures, device=None, **environ):
        file = tmp_path / "figures"
        file.write_text("".join(f"{k}={v}\n" for k, v in figures.items()), encoding="utf-8")
        kept = {k: v for k, v in os.environ.items() if k not in (*VISIBLE, "CUDA_DEVICE_ORDER")}
        kept = {k: v for k, v in kept.items() if k not in {"ROCM_HOME", "ROCM_PATH"}}
        kind = {"amdsmi": "hip", "nvml": "cuda"}[name]
        where = {"kind": kind, "index": 0, **(device or {})}
        done = subprocess.run(
            [sys.executable, DRIVERS / "ask_meter.py", METERS[name], json.dumps(where), OWN_PID],
            env={
                **kept,
                "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
                "SIMULATED_DRIVER": str(file),
                "LD_LIBRARY_PATH": "" if folder is None else str(folder),
                **environ,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (0, "") == (done.returncode, done.stderr)
        said = json.loads(done.stdout)
        if "readings" in said:
            said["figures"] = {
                one["quantity"]: one["num_bytes"] if one["why_not"] == "" else one["why_not"]
                for one in said["readings"]
            }
        return said

    return ask
