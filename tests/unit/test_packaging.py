"""What is shipped: the wheel, its metadata, its cost to start, the environments and workflows."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

# Its tests share what its fixtures make: one worker runs them all.
pytestmark = pytest.mark.xdist_group("packaging")


ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
GATE_INPUTS = {
    *("subject", "scenario", "budget", "target"),
    *("runner", "image", "video_gid", "render_gid"),
}


def python(*arguments, **options):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, **options
    )


def name_of(requirement):
    return re.split(r"[^A-Za-z0-9_.-]", requirement, maxsplit=1)[0].lower()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    done = python("-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=ROOT)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_the_wheel_holds_the_package_and_its_types_and_nothing_else(wheel):
    names = wheel.namelist()
    assert "oom_suite/py.typed" in names
    assert "oom_suite/report/terminal.py" in names
    assert {"oom_suite", "oom_suite-0.1.0.dist-info"} == {name.split("/")[0] for name in names}


def test_the_wheel_registers_the_command_and_the_pytest_plugin(wheel):
    entries = configparser.ConfigParser()
    entries.read_string(wheel.read("oom_suite-0.1.0.dist-info/entry_points.txt").decode())
    assert entries["console_scripts"]["oom-suite"] == "oom_suite.__main__:main"
    assert entries["pytest11"]["oom_suite"] == "oom_suite.pytest_plugin"


def test_the_wheel_states_its_licence_and_pythons(wheel):
    metadata = wheel.read("oom_suite-0.1.0.dist-info/METADATA").decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Python: >=3.11" in metadata
    assert "oom_suite-0.1.0.dist-info/licenses/LICENSE" in wheel.namelist()


def test_what_only_some_machines_have_is_never_required():
    required = {name_of(requirement) for requirement in PROJECT["dependencies"]}
    assert {"torch", "pytest", "pytest-benchmark", "psutil", "rich", "typer"} <= required
    assert not required & {"amdsmi", "nvidia-ml-py", "triton", "plotly", "vllm"}
    assert {"rocm", "nvidia", "triton", "report", "fleet", "history", "test"} == set(
        PROJECT["optional-dependencies"]
    )


def test_every_required_package_is_pinned_for_the_tests():
    pins = (ROOT / "constraints" / "cpu.txt").read_text().lower().replace("_", "-")
    pinned = set(re.findall(r"^([a-z0-9.-]+)==", pins, re.MULTILINE))
    extras = PROJECT["optional-dependencies"]
    used = [*extras["test"], *extras["triton"], *extras["history"]]
    wanted = {name_of(r) for r in [*PROJECT["dependencies"], *used]}
    assert wanted <= pinned


def test_the_gpu_lanes_install_every_light_requirement_and_never_torch():
    tox = configparser.ConfigParser(interpolation=None, strict=False)
    tox.read(ROOT / "tox.ini")
    listed = re.findall(r'"([^"]+)"', tox["gpu"]["light_deps"])
    required = {r for r in PROJECT["dependencies"] if name_of(r) != "torch"}
    assert required | {"hatchling>=1.27"} == set(listed)


@pytest.mark.parametrize(
    "module",
    [
        "oom_suite",
        "oom_suite.cli.main",
        "oom_suite.targets.budgets",
        "oom_suite.report",
        "oom_suite.laws",
    ],
)
def test_importing_what_starts_every_command_does_not_import_torch(module):
    code = f"import sys, {module}; sys.exit('torch was imported' if 'torch' in sys.modules else 0)"
    done = python("-c", code, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", [["-m", "oom_suite", "--help"]])
def test_the_module_runs_as_a_command(command):
    done = python(*command, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "check" in done.stdout


def fake_torch(folder, hip, cuda, available):
    (folder / "torch").mkdir()
    (folder / "torch" / "__init__.py").write_text(
        "import types\n"
        "__version__ = '2.13.0+fake'\n"
        f"version = types.SimpleNamespace(hip={hip!r}, cuda={cuda!r})\n"
        f"cuda = types.SimpleNamespace(is_available=lambda: {available})\n"
    )


@pytest.mark.parametrize(
    ("kind", "hip", "cuda", "available", "expected"),
    [
        ("hip", "7.0", None, True, ""),
        ("cuda", None, "13.0", True, ""),
        ("hip", None, None, False, "rocm lane: .* torch 2.13.0[+]fake has torch.version.hip empty"),
        ("hip", None, "13.0", True, "rocm lane: .* torch.version.hip empty"),
        ("cuda", "7.0", None, True, "cuda lane: .* torch.version.cuda empty"),
        ("hip", "7.0", None, False, "rocm lane: torch 2.13.0[+]fake sees no GPU"),
    ],
)
def test_a_gpu_lane_refuses_in_one_clear_line(tmp_path, kind, hip, cuda, available, expected):
    fake_torch(tmp_path, hip, cuda, available)
    done = python(ROOT / ".ci" / "require_torch.py", kind, env={"PYTHONPATH": str(tmp_path)})
    assert done.stdout == ""
    assert (done.returncode == 0) == (expected == "")
    assert done.stderr.count("\n") == (1 if expected else 0)
    assert re.match(expected, done.stderr)


def test_a_gpu_lane_without_any_torch_refuses_in_one_clear_line():
    done = python("-S", ROOT / ".ci" / "require_torch.py", "hip", env={})
    assert done.returncode == 1
    assert re.fullmatch(r"rocm lane: .* this environment has no torch: .*\n", done.stderr)


def test_ci_runs_the_tests_as_the_readme_says():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert "set -euo pipefail" in script.read_text()
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0


def triggers(workflow):
    # YAML 1.1 reads the key `on` as true.
    return workflow.get("on", workflow.get(True))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_healthy(path):
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 60
        assert job["runs-on"]
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            # A tag can be moved to other code; a commit cannot.
            assert re.search(r"@[0-9a-f]{40}$", step.get("uses", "@" + "0" * 40))
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False
            # An input in a shell line would be read as shell code.
            assert "${{" not in step.get("run", "")


def test_the_cpu_workflow_runs_every_push_on_every_python():
    workflow = yaml.safe_load((ROOT / ".github/workflows/cpu.yml").read_text())
    assert set(triggers(workflow)) == {"push", "pull_request"}
    (job,) = workflow["jobs"].values()
    offered = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if ":: 3." in c]
    assert job["strategy"]["matrix"]["python"] == offered
    commands = [step.get("run", "") for step in job["steps"]]
    assert commands[-2:] == ["python -m tox", "python -m tox -e check"]


def test_every_night_the_long_half_of_the_self_check_and_all_interrupts_run():
    workflow = yaml.safe_load((ROOT / ".github/workflows/nightly.yml").read_text())
    assert set(triggers(workflow)) == {"schedule", "workflow_dispatch"}
    (job,) = workflow["jobs"].values()
    assert job["steps"][-1]["run"] == "python -m tox -e nightly"
    text = (ROOT / "tox.ini").read_text("utf-8").split("[testenv:nightly]")[1].split("\n[")[0]
    assert "    oom-suite selfcheck --half long" in text
    assert "OOM_SUITE_NIGHTLY = 1" in text
    assert "    python -m pytest {tox_root}/tests/nightly " in text
    assert " {tox_root}/tests/integration/test_interrupts.py" in text


def test_the_rocm_workflow_can_be_dispatched_and_called_and_never_runs_on_its_own():
    workflow = yaml.safe_load((ROOT / ".github/workflows/rocm.yml").read_text())
    on = triggers(workflow)
    assert set(on) == {"workflow_dispatch", "workflow_call"}
    assert set(on["workflow_dispatch"]["inputs"]) == GATE_INPUTS
    called = on["workflow_call"]["inputs"]
    assert set(called) == GATE_INPUTS | {"suite_repository", "suite_ref"}
    for name in GATE_INPUTS:
        assert called[name] == on["workflow_dispatch"]["inputs"][name]
    used = set(re.findall(r"inputs\.(\w+)", (ROOT / ".github/workflows/rocm.yml").read_text()))
    assert used == set(called)


@pytest.mark.parametrize(
    ("video", "render", "code"),
    [
        ("44", "109", 0),
        ("", "109", 1),
        ("44", "109 --privileged", 1),
        ("44\n--privileged", "109", 1),
        ("0x2c", "109", 1),
    ],
)
def test_a_group_id_that_is_no_number_reaches_no_runner(tmp_path, video, render, code):
    """It becomes part of the options of a container on a machine of the user's own."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/rocm.yml").read_text())
    (step,) = workflow["jobs"]["groups"]["steps"]
    assert "groups" == workflow["jobs"]["gate"]["needs"]
    output = tmp_path / "output"
    given = {"VIDEO": video, "RENDER": render, "GITHUB_OUTPUT": str(output)}
    done = subprocess.run(["bash", "-e", "-c", step["run"]], env=os.environ | given, check=False)
    assert code == done.returncode
    assert output.exists() == (code == 0)


def test_the_rocm_workflow_opens_the_gpu_and_keeps_its_results():
    workflow = yaml.safe_load((ROOT / ".github/workflows/rocm.yml").read_text())
    job = workflow["jobs"]["gate"]
    options = job["container"]["options"].split()
    assert {"--device=/dev/kfd", "--device=/dev/dri", "--shm-size=16g"} <= set(options)
    assert options.count("--group-add") == 2
    assert "inputs." not in job["container"]["options"]
    assert any("tox -e rocm" in step.get("run", "") for step in job["steps"])
    upload = job["steps"][-1]
    assert upload["if"] == "always()"
    assert {"suite/results/*.xml", "suite/results/*.json"} == set(upload["with"]["path"].split())
