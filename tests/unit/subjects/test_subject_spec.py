from __future__ import annotations

import subprocess
import sys

import pytest

from oom_suite.errors import UsageError
from oom_suite.subjects.spec import BUILTIN_NAMES, SubjectKind, parse


@pytest.mark.parametrize(
    ("text", "kind", "fields"),
    [
        ("streaming", SubjectKind.BUILTIN, {"name": "streaming"}),
        ("vllm", SubjectKind.VLLM_INSTALLED, {}),
        ("vllm==0.21.0", SubjectKind.VLLM_RELEASE, {"version": "0.21.0"}),
        ("vllm==0.22.0rc1", SubjectKind.VLLM_RELEASE, {"version": "0.22.0rc1"}),
        ("vllm@~/src/vllm", SubjectKind.VLLM_TREE, {"path": "~/src/vllm"}),
        ("a b/c.py:run", SubjectKind.FILE, {"path": "a b/c.py", "function": "run"}),
        ("pkg.kernels:run", SubjectKind.MODULE, {"module": "pkg.kernels", "function": "run"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_spelling_is_taken_apart(text, kind, fields):
    """Every documented spelling gives its kind and the parts that this kind has."""
    spec = parse(f" {text} ")
    unset = dict.fromkeys({"name", "version", "path", "module", "function"} - fields.keys())
    expected = {"text": text, "kind": kind} | unset | fields
    assert expected == {name: getattr(spec, name) for name in expected}


@pytest.mark.parametrize("name", BUILTIN_NAMES)
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
        "import sys; import oom_suite.subjects.spec, oom_suite.subjects.families.vllm.releases; "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "False" == done.stdout.strip()
