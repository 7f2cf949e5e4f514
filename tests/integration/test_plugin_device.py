"""The option ``--oom-device``."""

from __future__ import annotations

import pytest
import torch


def test_without_it_nothing_is_measured(oom_seen):
    """The shadow lane needs no device."""
    seen = oom_seen()
    assert (None, ["shadow"]) == (seen["device"], seen["lanes"])


@pytest.mark.parametrize("xdist", [(), ("-n1",)], ids=["plain", "xdist"])
def test_a_device_adds_the_measure_lane(oom_seen, xdist):
    """On that device; workers see the same."""
    seen = oom_seen("--oom-device=cpu", *xdist)
    assert ("cpu", ["shadow", "measure"]) == (seen["device"], seen["lanes"])


def test_the_ini_file_names_a_device_and_the_command_line_wins(oom_seen, oom_refusal):
    """The ini file's device is not even looked at then."""
    assert oom_seen(ini="oom_device = cpu")["device"] == "cpu"
    assert oom_seen("--oom-device=cpu", ini="oom_device = tpu")["device"] == "cpu"
    assert oom_refusal(ini="oom_device = tpu").startswith("oom_device in the ini file: unknown")


def test_rocm_is_asked_for_as_torch_does(oom_refusal):
    """The refusal says how."""
    expected = (
        "--oom-device: unknown device 'hip': choose cpu or cuda; torch calls AMD's devices cuda too"
    )
    assert expected == oom_refusal("--oom-device=hip")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_stops_the_run_and_is_no_skip(oom_refusal):
    """One line that says what torch sees."""
    line = oom_refusal("--oom-device=cuda")
    assert line.startswith("--oom-device: device 'cuda' cannot be used: torch ")
    assert "sees no GPU here" in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("xdist", [(), ("-n1",)], ids=["plain", "xdist"])
def test_what_needs_a_gpu_is_left_out_with_its_reason(pytester, oom_run, xdist):
    """Each is reported as skipped, and the summary counts them."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.oom_device
        @pytest.mark.parametrize("number", [1, 2])
        def test_on_a_gpu(number):
            raise AssertionError
        """
    )
    done = oom_run("--strict-markers", *xdist)
    done.assert_outcomes(skipped=2)
    done.stdout.fnmatch_lines("left out: 2 device tests, needs a GPU: torch * sees no GPU here *")
