"""From a survey to findings: what is there, what is not, and what to do about it."""

from __future__ import annotations

import os
import shutil
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oom_suite.doors import families
from oom_suite.report.doctor import Finding, Section, State
from oom_suite.subjects.families.cache import CACHE_VARIABLE, cache_folder, is_whole
from oom_suite.subjects.families.package import PackageFamily
from oom_suite.units import GIB, format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TypeGuard

    from oom_suite.subjects.family import SubjectFamily

_LOW_DISK_BYTES = GIB
_REMEDIES = {
    "nvml": "on NVIDIA: install the driver, and pip install 'oom-suite[nvidia]'",
    "amdsmi": "on AMD: install ROCm's amd-smi-lib, or set ROCM_PATH",
    "drm": "on AMD: load the amdgpu driver, and give a container /dev/dri and /dev/kfd",
    "mem_get_info": "install a torch built for CUDA or ROCm on a machine with a GPU",
    "cgroup": "boot with cgroup v2; for one process, psutil is enough",
}
_TOOLS = {
    "compute-sanitizer": ("NVIDIA's memory checker", "it comes with the CUDA toolkit"),
    "amd-smi": ("AMD's driver tool", "it comes with ROCm"),
    "rocminfo": ("ROCm's list of devices", "it comes with ROCm"),
}
_EXTRAS = (
    ("report", "plotly", "pages (--html)"),
    ("fleet", "xdist", "one worker for each GPU (pytest -n)"),
    ("fleet", "distributed", "scan on a cluster (--scheduler)"),
)


def sections(survey: Mapping[str, Any]) -> tuple[Section, ...]:
    """All that the doctor says.

    Args:
        survey: from `oom_suite.targets.meters.survey`, or ``{"error": why}`` where that failed.
    """
    torch: Mapping[str, Any] = survey.get("torch", {"error": survey.get("error", "")})
    gpus: Sequence[Mapping[str, Any]] = survey.get("gpus", ())
    found = [
        Section("lanes", tuple(_lanes(torch, gpus))),
        Section("torch", tuple(_torch(torch, survey))),
    ]
    if "error" not in survey:
        host = survey["host"]["readings"]
        found.append(Section("meters of the host", tuple(_meters(host))))
        for gpu in gpus:
            title = f"meters of cuda:{gpu['index']}"
            found.append(Section(title, (*_meters(gpu["readings"]), _tenants(gpu))))
        if not gpus:
            found.append(Section("meters of a GPU", tuple(_meters(survey["absent"]))))
    found.append(Section("tools", tuple(_tools())))
    found.append(Section("cache of releases", tuple(_cache())))
    return tuple(found)


def _lanes(torch: Mapping[str, Any], gpus: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    error = torch.get("error", "")
    for name in ("prove", "shadow", "measure on cpu"):
        says = "torch cannot be imported" if error else _NEEDS[name]
        yield Finding(name, State.NO if error else State.YES, says)
    for gpu in gpus:
        yield _gpu(gpu)
    if gpus:
        return
    yield Finding("measure on a GPU", *_no_gpu(torch))


_NEEDS = {
    "prove": "the law in closed form; needs no device and no memory",
    "shadow": "exact bytes at any size; needs no device and no memory",
    "measure on cpu": "real tensors in this machine's memory",
}


def _no_gpu(torch: Mapping[str, Any]) -> tuple[State, str, str]:
    if torch.get("error"):
        return State.NO, "torch cannot be imported", ""
    if torch["gpus_error"]:
        return State.BROKEN, f"torch fails to count the GPUs: {torch['gpus_error']}", ""
    build = torch["cuda"] or torch["hip"]
    if not build:
        why = f"torch {torch['version']} is built for neither CUDA nor ROCm"
        todo = "on a machine with a GPU, install torch from pytorch.org's index for its driver"
        return State.NO, why, todo
    hidden = [
        f"{name}={os.environ[name]!r}"
        for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
        if name in os.environ
    ]
    device = Path("/dev/nvidiactl") if torch["cuda"] else Path("/dev/kfd")
    why = f"torch {torch['version']} sees no GPU"
    if hidden:
        return State.NO, f"{why} with {', '.join(hidden)}", f"unset {hidden[0].partition('=')[0]}"
    if device.exists():
        todo = "check that the driver is new enough for torch's build, and that you may open it"
        return State.BROKEN, f"{why}, though the driver's {device} is there", todo
    return State.NO, f"{why}: there is no {device}", "load the driver, or give it to the container"


def _gpu(gpu: Mapping[str, Any]) -> Finding:
    name = f"measure on cuda:{gpu['index']}"
    if gpu["error"]:
        todo = "the GPU is there and does not serve a request: see whether it is lost or full"
        return Finding(name, State.BROKEN, f"{gpu['name']}: {gpu['error']}", todo)
    driver = f", driver {gpu['driver']}" if gpu["driver"] else ""
    free_bytes, total = gpu["free_bytes"], format_bytes(gpu["total_bytes"])
    free = "an unknown amount" if free_bytes is None else format_bytes(free_bytes)
    return Finding(name, State.YES, f"{gpu['name']}, {gpu['arch']}{driver}; {free} free of {total}")


def _torch(torch: Mapping[str, Any], survey: Mapping[str, Any]) -> Iterator[Finding]:
    if torch.get("error"):
        yield Finding("torch", State.BROKEN, torch["error"], _remedy(torch["error"]))
    else:
        build = (
            f"CUDA {torch['cuda']}"
            if torch["cuda"]
            else f"ROCm {torch['hip']}"
            if torch["hip"]
            else "CPU only"
        )
        yield Finding("torch", State.YES, f"{torch['version']}, {build}")
    if "error" in survey:
        return
    settings = [f"{name}={value}" for name, value in survey["allocator"].items()]
    yield Finding("allocator", State.NOTE, ", ".join(settings) or "default settings")
    triton = survey["triton"]
    if triton["error"]:
        yield Finding("Triton", State.BROKEN, triton["error"], "reinstall triton")
    elif triton["version"]:
        yield Finding("Triton", State.YES, triton["version"])
    else:
        why = "not installed; kernels of code under test are placeholders"
        yield Finding("Triton", State.NO, why, "pip install 'oom-suite[triton]'")


def _remedy(error: str) -> str:
    if "libamd_smi" in error:
        return "install ROCm's amd-smi-lib, or pip uninstall the amdsmi that lacks its library"
    if error.startswith("ModuleNotFoundError"):
        return "install torch"
    return "repair torch's installation until it can be imported"


def _meters(readings: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """One finding for each meter: its figures of now, or why it has none."""
    by_meter: dict[str, list[Mapping[str, Any]]] = {}
    for one in readings:
        by_meter.setdefault(one["meter"], []).append(one)
    by_meter.pop("sampler", None)
    for meter, of_meter in by_meter.items():
        figures = [_figure(one) for one in of_meter if _is_of_now(one)]
        reasons = [_reason(one) for one in of_meter if one["num_bytes"] is None]
        if figures:
            yield Finding(meter, State.YES, "; ".join([*figures, *reasons]))
        else:
            yield Finding(meter, State.NO, "; ".join(reasons), _REMEDIES.get(meter, ""))


def _is_of_now(one: Mapping[str, Any]) -> bool:
    quantity = one["quantity"]
    return one["num_bytes"] is not None and not quantity.endswith((", before", " samples"))


def _figure(one: Mapping[str, Any]) -> str:
    return f"{one['quantity'].removesuffix(', after')} {format_bytes(one['num_bytes'])}"


def _reason(one: Mapping[str, Any]) -> str:
    quantity, why = one["quantity"], one["why_not"]
    return str(why) if quantity == "all" else f"{quantity}: {why}"


def _tenants(gpu: Mapping[str, Any]) -> Finding:
    found = gpu["tenants"]
    if not found:
        return Finding("other processes", State.NOTE, "none seen")
    texts = []
    for one in found:
        amount = "unknown" if one["num_bytes"] is None else format_bytes(one["num_bytes"])
        named = f" ({one['name']})" if one["name"] else ""
        texts.append(f"pid {one['pid']}{named} holds {amount}")
    todo = "end them, or measure on another GPU: with them a measurement is inconclusive"
    return Finding("other processes", State.YES, "; ".join(texts), todo)


def _tools() -> Iterator[Finding]:
    for name, (what, where) in _TOOLS.items():
        path = shutil.which(name)
        if path:
            yield Finding(name, State.YES, path)
        else:
            yield Finding(name, State.NO, f"{what} is not on PATH; {where}")
    for extra, module, what in _EXTRAS:
        if util.find_spec(module) is not None:
            yield Finding(module, State.YES, what)
        else:
            yield Finding(module, State.NO, f"no {what}", f"pip install 'oom-suite[{extra}]'")


def _cache() -> Iterator[Finding]:
    packages = {known.project: known for known in families().values() if _is_package(known)}
    for number, (project, family) in enumerate(packages.items()):
        folder = cache_folder(project)
        if not number:
            yield _folder(folder)
        trees = sorted(folder.glob(f"{project}-*")) if folder.is_dir() else []
        whole = [tree.name.removeprefix(f"{project}-") for tree in trees if is_whole(tree)]
        damaged = [tree.name for tree in trees if not is_whole(tree)]
        if whole:
            yield Finding(family.title, State.YES, ", ".join(whole))
        else:
            todo = f"oom-suite check {family.name}==VERSION fetches one, once, with a network"
            yield Finding(family.title, State.NO, "no release is there", todo)
        if damaged:
            says = f"{', '.join(damaged)}: fetched anew when used"
            yield Finding(f"{family.title}, damaged", State.NOTE, says)


def _is_package(family: SubjectFamily) -> TypeGuard[PackageFamily]:
    return isinstance(family, PackageFamily)


def _folder(folder: Path) -> Finding:
    # The folder is made when it is first needed; until then its nearest parent decides.
    there = next(one for one in (folder, *folder.parents) if one.exists())
    todo = f"make it writable, or name another folder in {CACHE_VARIABLE}"
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return Finding("folder", State.BROKEN, f"{folder} cannot be written", todo)
    try:
        free_bytes = shutil.disk_usage(there).free
    except OSError as error:
        return Finding("folder", State.BROKEN, f"{folder}: {error.strerror}", todo)
    says = f"{folder}, {format_bytes(free_bytes)} free on its disk"
    low = free_bytes < _LOW_DISK_BYTES
    return Finding("folder", State.YES, says, "free some disk" if low else "")
