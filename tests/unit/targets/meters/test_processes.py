"""Who is a stranger on the device, and who is us."""

from __future__ import annotations

import os
import subprocess
import sys

from oom_suite.records.measurement import Tenant
from oom_suite.targets.meters.processes import family, name_of, num_with_context, strangers

GIB = 1 << 30
NOBODY = 2**22 + 1
"""Larger than any pid that Linux gives."""


def test_the_family_is_us_our_parents_and_our_children():
    """A stranger is none of them."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert {os.getpid(), os.getppid(), child.pid} <= family(os.getpid())
    finally:
        child.communicate(b"\n")
    assert NOBODY not in family(os.getpid())


def test_a_process_that_is_gone_has_itself():
    """No error."""
    assert frozenset({NOBODY}) == family(NOBODY)


def test_a_name_that_cannot_be_read_is_empty():
    """The pid is enough."""
    assert "" == name_of(NOBODY)
    assert name_of(os.getpid())


def test_another_process_is_a_stranger():
    """With its pid, its bytes and its name."""
    holders = (Tenant(1, GIB, "us"), Tenant(NOBODY, GIB, "other"))
    assert ((Tenant(NOBODY, GIB, "other"),), "") == strangers(holders, frozenset({1}), GIB)


def test_alone_there_is_no_stranger():
    """The healthy twin."""
    assert ((), "") == strangers((Tenant(1, GIB),), frozenset({1}), GIB)


def test_who_holds_nothing_is_not_in_the_list():
    """All of them are strangers, with no reason to doubt it."""
    holders = (Tenant(NOBODY, None),)
    assert (holders, "") == strangers(holders, frozenset({1}), 0)


def test_the_only_holder_is_us_by_another_pid():
    """In a container, the driver's pid for us is the host's."""
    assert ((), "") == strangers((Tenant(NOBODY, GIB),), frozenset({1}), GIB)


def test_who_holds_less_than_we_do_is_not_us():
    """One is left over, and it is us."""
    small = Tenant(NOBODY + 1, GIB // 2)
    holders = (Tenant(NOBODY, GIB), small)
    assert ((small,), "") == strangers(holders, frozenset({1}), GIB)


def test_several_that_could_be_us_are_all_given_with_the_reason():
    """Who is who is not guessed."""
    holders = (Tenant(NOBODY, GIB), Tenant(NOBODY + 1, None))
    found, reason = strangers(holders, frozenset({1}), GIB)
    assert holders == found
    assert reason.endswith("of the 2 listed, 1 belong to this suite")


def test_a_list_that_hides_us_hides_others():
    """An empty list is no proof of being alone."""
    found, reason = strangers((), frozenset({1}), GIB)
    assert () == found
    assert "its list of processes is empty though this one holds memory" in reason


def test_an_empty_list_is_believed_by_who_holds_nothing():
    """The healthy twin."""
    assert ((), "") == strangers((), frozenset({1}), 0)


def test_pids_of_another_namespace_get_no_names():
    """The same number is another process here."""
    here = Tenant(os.getpid(), GIB // 2)
    found, _ = strangers((Tenant(NOBODY, GIB), here), frozenset({1}), GIB)
    assert (here,) == found


def test_as_many_as_are_ours_are_ours():
    """In a container the suite's children have other numbers: they are no strangers."""
    holders = (Tenant(NOBODY, GIB), Tenant(NOBODY + 1, None))
    found, reason = strangers(holders, frozenset({1, 2}), GIB, num_ours=2)
    assert () == found
    assert reason.endswith("lists no more than the suite's 2")


def test_one_more_than_are_ours_is_somebody_elses():
    """The boundary: who it is cannot be told, that it is can."""
    holders = tuple(Tenant(NOBODY + i, GIB) for i in range(3))
    found, reason = strangers(holders, frozenset({1, 2}), GIB, num_ours=2)
    assert holders == found
    assert reason.endswith("of the 3 listed, 2 belong to this suite")


def test_a_process_with_the_compute_driver_open_has_a_context(tmp_path):
    """Who only asks a driver's library, or is gone, has none."""
    for pid, targets in {
        1: ["/dev/null", "/dev/nvidia-uvm"],
        2: ["/dev/nvidiactl"],
        3: ["/dev/kfd"],
    }.items():
        (tmp_path / str(pid) / "fd").mkdir(parents=True)
        for number, target in enumerate(targets):
            (tmp_path / str(pid) / "fd" / str(number)).symlink_to(target)
    assert 2 == num_with_context([1, 2, 3, 4], tmp_path)
