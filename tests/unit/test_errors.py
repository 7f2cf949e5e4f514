"""The suite's own errors: one clear line each."""

from __future__ import annotations

import pytest

from oom_suite import errors


def test_an_unknown_name_is_answered_with_the_choices_and_the_nearest():
    error = errors.unknown("scenario", "smal", ["small", "production"])
    assert isinstance(error, errors.UsageError)
    assert str(error) == (
        "unknown scenario 'smal': choose from production, small; did you mean 'small'?"
    )


def test_an_unknown_name_near_nothing_gets_no_guess():
    assert "did you mean" not in str(errors.unknown("lane", "zzz", ["prove", "shadow"]))


def test_the_choices_may_come_from_an_iterator():
    assert "did you mean 'shadow'" in str(errors.unknown("lane", "shadows", iter(["shadow"])))


@pytest.mark.parametrize(
    "kind",
    [
        errors.UsageError,
        errors.SubjectError,
        errors.NotApplicableError,
        errors.StubUsedError,
        errors.FetchError,
        errors.LaneError,
    ],
)
def test_every_error_can_be_caught_as_the_suites_own(kind):
    assert issubclass(kind, errors.OomSuiteError)


def test_a_broken_contract_is_an_assertion_and_carries_its_result():
    result = object()
    error = errors.ContractError("FAIL x", result)
    assert isinstance(error, AssertionError)
    assert str(error) == "FAIL x"
    assert error.result is result
