from __future__ import annotations

import re
import subprocess
import sys

import pytest

from oom_suite.errors import UsageError
from oom_suite.subjects import builtin_names, parse


@pytest.mark.parametrize(
    ("text", "family", "fields"),
    [
        ("streaming", "built-in", {"name": "streaming"}),
        ("vllm", "vllm", {}),
        ("vllm==0.21.0", "vllm", {"version": "0.21.0"}),
        ("vllm==0.22.0rc1", "vllm", {"version": "0.22.0rc1"}),
        ("vllm@~/src/vllm", "vllm", {"path": "~/src/vllm"}),
        ("a b/c.py:run", "file", {"path": "a b/c.py", "function": "run"}),
        ("pkg.kernels:run", "module", {"module": "pkg.kernels", "function": "run"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_spelling_is_taken_apart(text, family, fields):
    """Every documented spelling gives its family and the parts that it has there."""
    spec = parse(f" {text} ")
    unset = dict.fromkeys({"name", "version", "path", "module", "function"} - fields.keys())
    expected = {"text": text, "family": family} | unset | fields
    assert expected == {name: getattr(spec, name) for name in expected}


@pytest.mark.parametrize("name", builtin_names())
def test_every_builtin_is_a_spelling(name):
    """A built-in is written by its name."""
    assert name == parse(name).name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("streming", "did you mean 'streaming'?"),
        ("nothing", "package.module:function"),
        ("", "write one of"),
        ("vlm", "did you mean 'vllm'?"),
        ("vllm>=0.21", "write vllm==0.21"),
        ("vllm>=0.21,<0.23", "write vllm==0.21"),
        ("vllm=0.21.0", "write vllm==0.21.0"),
        ("vllm~=0.21.0", "write vllm==0.21.0"),
        ("vllm === 0.21.0", "write vllm==0.21.0"),
        ("vllm==", "'' is not a version"),
        ("vllm==0.21.*", "'0.21.*' is not a version"),
        ("vllm==newest", "'newest' is not a version"),
        ("vllm@", "vllm@PATH"),
        ("kernel.py", "write kernel.py:FUNCTION"),
        ("kernel.py:", "PATH.py:FUNCTION"),
        ("kernel.py:a-b", "'a-b' is not the name of a function"),
        ("kernel.py::run", "'kernel.py:run'"),
        ("pkg.mod:Class.run", "write one of"),
    ],
)
def test_other_spellings_are_one_clear_line(text, said):
    """What is no spelling is a usage error with the text seen and what to write instead."""
    with pytest.raises(UsageError) as caught:
        parse(text)
    message = str(caught.value)
    assert repr(text) in message
    assert said in message
    assert "\n" not in message


def test_reading_a_spelling_and_asking_for_releases_needs_no_torch():
    """The command line can list and fetch releases where torch is slow to import or missing."""
    code = (
        "import sys; from oom_suite import doors, subjects; "
        "from oom_suite.subjects.families import registry; "
        "subjects.workloads_for(subjects.parse('vllm==0.21.0')); doors.reporters(); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "False" == done.stdout.strip()


@pytest.mark.parametrize(
    ("text", "stubs", "package"),
    [
        ("a.py:f --stub one", ("one",), None),
        ("a.py:f  --stub=one --stub two", ("one", "two"), None),
        ("pkg.mod:f --stub one", ("one",), None),
        ("vllm@.. --package vllm_fork", (), "vllm_fork"),
        ("vllm@. --stub one --package vllm_fork", ("one",), "vllm_fork"),
        ("vllm --package vllm_fork", (), "vllm_fork"),
        ("vllm==0.21.0 --stub one", ("one",), None),
        ("a --stub.py:f", (), None),
    ],
)
def test_options_may_follow_a_spelling(text, stubs, package):
    """They are the subject's own, so that they go wherever its text goes."""
    spec = parse(text)
    assert (stubs, package) == (spec.stubs, spec.package)
    assert spec == parse(spec.text)
    assert " ".join(spec.text.split()) == spec.text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("streaming --stub one", "--stub one means nothing for streaming"),
        ("a.py:f --package p", "--package p means nothing for a.py:f"),
        ("vllm==0.21.0 --package p", "--package p means nothing for vllm==0.21.0"),
        ("vllm@. --package p --package q", "--package p means nothing for vllm@."),
    ],
)
def test_an_option_that_means_nothing_is_refused(text, said):
    """It is not ignored: the user thinks that it did something."""
    with pytest.raises(UsageError, match=re.escape(said)):
        parse(text)
