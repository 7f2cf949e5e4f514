"""The control group that a process is in, on planted trees."""

from __future__ import annotations

import os

import pytest

from oom_suite.records.measurement import Reading
from oom_suite.targets.meters.cgroup import CgroupMeter, memory_folder
from oom_suite.targets.meters.protocol import MeterError

MOUNT = "30 23 0:26 {inside} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
GIB = 1 << 30


@pytest.fixture
def tree(tmp_path):
    """`tree(own, inside)`: a root where pid 7 is in group `own`, mounted from `inside`."""

    def tree(own="/job", inside="/", folder="sys/fs/cgroup/job", groups="", **files):
        proc = tmp_path / "proc" / "7"
        proc.mkdir(parents=True)
        (proc / "cgroup").write_text(groups + f"0::{own}\n")
        (proc / "mountinfo").write_text(
            "23 1 0:2 / / rw - ext4 /dev/sda rw\n" + MOUNT.format(inside=inside)
        )
        group = tmp_path / folder
        group.mkdir(parents=True)
        files = {"current": "1024", "peak": "4096", "max": "max"} | files
        for name, text in files.items():
            if text is not None:
                (group / f"memory.{name}").write_text(text + "\n")
        return tmp_path

    return tree


def test_the_group_is_found_by_its_path(tree):
    """On a host, the path is from the mount's root."""
    root = tree()
    assert root / "sys/fs/cgroup/job" == memory_folder(7, root)


def test_a_container_mounts_its_own_group_as_the_root(tree):
    """The path starts below what is mounted."""
    root = tree(own="/docker/abc", inside="/docker/abc", folder="sys/fs/cgroup")
    assert root / "sys/fs/cgroup" == memory_folder(7, root)


def test_version_1_is_named_and_not_read(tree):
    """On a hybrid system the unified group counts no memory."""
    root = tree(groups="4:memory:/job\n")
    with pytest.raises(MeterError, match="cgroup v1 here, which is not read"):
        memory_folder(7, root)


def test_another_controller_of_version_1_does_not_matter(tree):
    """The healthy twin: only memory does."""
    root = tree(groups="4:cpu,cpuacct:/job\n")
    assert memory_folder(7, root).name == "job"


def test_the_root_group_has_no_figure(tree):
    """The kernel counts memory in groups below the root only."""
    with pytest.raises(MeterError, match=r"the group /job has no memory.current"):
        memory_folder(7, tree(current=None))


def test_a_process_that_is_gone_is_the_reason(tmp_path):
    """No traceback."""
    with pytest.raises(MeterError, match="control group cannot be read"):
        memory_folder(7, tmp_path)


def test_figures_are_bytes(tree):
    """What the group holds, and that no limit is set."""
    meter = CgroupMeter(7, tree())
    assert (
        Reading("cgroup", "group", 1024),
        Reading("cgroup", "group limit", None, "none is set"),
    ) == meter.read()


def test_a_limit_is_a_figure(tree):
    """In bytes."""
    assert Reading("cgroup", "group limit", GIB) == CgroupMeter(7, tree(max=str(GIB))).read()[1]


def test_a_peak_that_was_reset_is_read_from_the_same_descriptor(tree):
    """A plain file stands for the kernel's: what was written is what is read."""
    root = tree()
    meter = CgroupMeter(7, root)
    meter.begin()
    (root / "sys/fs/cgroup/job/memory.peak").write_text("2048\n")
    assert (Reading("cgroup", "group, peak", 2048),) == meter.peaks()
    meter.close()


def test_a_peak_that_cannot_be_reset_is_of_the_groups_whole_life(tree, monkeypatch):
    """Before Linux 6.12 memory.peak is read-only."""

    def refuse(path, flags):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    meter = CgroupMeter(7, tree())
    meter.begin()
    monkeypatch.undo()
    peak, ever = meter.peaks()
    assert "memory.peak cannot be reset before Linux 6.12" == peak.why_not
    assert Reading("cgroup", "group, peak since the group began", 4096) == ever


def test_a_kernel_without_a_peak_is_named(tree):
    """Before Linux 5.19 there is none."""
    meter = CgroupMeter(7, tree(peak=None))
    meter.begin()
    (peak,) = meter.peaks()
    assert "the kernel has no memory.peak (Linux 5.19 brought it)" == peak.why_not
