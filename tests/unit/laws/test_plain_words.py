"""Torch's insides do not reach a reader: each message is a sentence about the code."""

from __future__ import annotations

import pytest

from oom_suite.laws.plain_words import plain

AT = "at my/code.py:8 (call)"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            f"raised: TypeError: unhashable type: non-nested SymInt {AT}",
            (
                f"the code uses a size as a key, of a dict, a set or functools.cache {AT}, and a "
                "key has to be one number"
            ),
        ),
        (
            (
                "raised: RuntimeError: /pytorch/build/aten/src/ATen/Register.cpp:13083: "
                f"SymIntArrayRef expected to contain only concrete integers {AT}"
            ),
            f"the code calls an operator of torch {AT} that takes sizes as plain numbers alone",
        ),
        (
            f"raised: RuntimeError: Cannot call numel() on tensor with symbolic sizes/strides {AT}",
            f"the code calls an operator of torch {AT} that takes sizes as plain numbers alone",
        ),
        (
            f"raised: TypeError: 'SymInt' object is not iterable {AT}",
            f"the code calls a function {AT} that takes plain numbers alone, and gives it a size",
        ),
        (
            f"raised: ZeroDivisionError: by zero {AT}",
            f"the code does not run {AT} where a size is a symbol instead of a number",
        ),
        (
            "raised: ValueError: no line is known",
            "the code does not run where a size is a symbol instead of a number",
        ),
        (
            f"the code needs a number that data decides {AT}: Could not guard on u0 > 5",
            f"the code needs a number that data decides {AT}",
        ),
        (
            "the code needs a number that data decides: aten.item",
            "the code needs a number that data decides",
        ),
        (
            f"custom operator x {AT} has no fake kernel",
            f"custom operator x {AT} has no fake kernel",
        ),
    ],
)
def test_a_message_says_what_the_code_did(message, said):
    assert said == plain(message)
