"""Private names of torch are used in `torch_compat` and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch_names import is_private, own_names, private_uses, sources

import oom_suite
from oom_suite.torch_compat import (
    compiler,
    cuda_memory,
    dispatch,
    fake_cuda,
    fakes,
    printing,
    symbols,
)

PACKAGE = Path(oom_suite.__file__).parent
EXEMPT: frozenset[str] = frozenset()
"""Files that may use private names of torch all the same; never more than three."""

TRITONS = frozenset({"interpreter._patch_attr", "memory._reinterpret", "queries._reinterpret"})
"""Private names of Triton's: its interpreter says when it is another, and Gluon has no public one
for memory that is used again with another shape.
"""

MODULES = (
    compiler,
    cuda_memory,
    dispatch,
    fake_cuda,
    fakes,
    printing,
    symbols,
)
PROBED = frozenset(
    part
    for module in MODULES
    for name in (*module.NAMES, *getattr(module, "NAMES_OF_GPU_BUILDS", ()))
    for part in name.text.split(".")
    if is_private(part)
)


def uses(source, own=frozenset()):
    return [f"{line}: {name}" for line, name in private_uses(source, own, PROBED)]


def test_no_other_file_names_a_private_name_of_torch():
    files = sources(PACKAGE, skipped=frozenset({"torch_compat"}))
    own = own_names(list(files.values()))
    found = [
        f"{where}:{line}: {name}"
        for where, source in files.items()
        if where not in EXEMPT
        for line, name in private_uses(source, own, PROBED)
        if name not in TRITONS
    ]
    assert [] == found


def test_the_list_of_exceptions_stays_short():
    assert len(EXEMPT) <= 3


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import torch._dynamo", "1: torch._dynamo"),
        ("import torch.utils._pytree as trees", "1: torch.utils._pytree"),
        ("from torch._ops import OpOverload", "1: torch._ops.OpOverload"),
        ("from torch import _tensor_str", "1: torch._tensor_str"),
        ("if TYPE_CHECKING:\n    from torch._ops import A", "2: torch._ops.A"),
        ("def f():\n    import torch._C", "2: torch._C"),
        (
            "from torch.fx.experimental.symbolic_shapes import ShapeEnv",
            "1: torch.fx.experimental.symbolic_shapes.ShapeEnv",
        ),
        ("import torch\ntorch.cuda.memory._snapshot()", "2: torch.cuda.memory._snapshot"),
        ("from torch.cuda import memory as m\nm._snapshot()", "2: m._snapshot"),
        ("def f(func: torch._ops.OpOverload): ...", "1: torch._ops"),
        ("storage._cdata", "1: storage._cdata"),
        ("x.untyped_storage()._cdata", "1: x.untyped_storage()._cdata"),
        ("tensor._typed_storage()", "1: tensor._typed_storage"),
        ("class A:\n    def f(self):\n        self._fake_mode", "3: self._fake_mode"),
        ("getattr(frames, '_callback_from_stance', None)", "1: '_callback_from_stance'"),
        ("hasattr(env, '_unheard_of')", "1: '_unheard_of'"),
        ("mock.patch.object(shown, '_str', f)", "1: '_str'"),
        ("sys.modules['torch._dynamo.eval_frame']", "1: 'torch._dynamo.eval_frame'"),
        (
            "class A(Mode):\n    @classmethod\n    def _should_skip_dynamo(cls): ...",
            "3: def _should_skip_dynamo",
        ),
    ],
)
def test_a_planted_private_name_is_found(source, expected):
    assert expected in uses(source)


@pytest.mark.parametrize("defined", ["_cdata", "_schema"])
def test_a_name_of_our_own_does_not_hide_the_one_of_torch(defined):
    """A class of the package has such an attribute; on another object it is still torch's."""
    own = frozenset({defined})
    assert [[], [f"1: x.{defined}"]] == [
        uses(f"self.{defined}", own=own),
        uses(f"x.{defined}", own=own),
    ]


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.cuda.memory_stats()",
        "import torch\ntorch.__version__",
        "from torch.utils.checkpoint import checkpoint",
        "import sys\nsys._getframe(1)",
        "slots._replace(offset=3)",
        "class A:\n    def f(self):\n        self._lines = 3\n        return self._lines",
        "def f(other):\n    other._lines = 3\n    return other._lines",
        "class A:\n    __slots__ = ('_log',)\n\ndef f(a):\n    return getattr(a, '_log')",
        "class A:\n    def _died(self): ...\n    def f(self):\n        self._died()",
        "'torch.cuda.memory._snapshot() has the words for it'",
        "getattr(x, '__name__')",
    ],
)
def test_what_is_public_or_our_own_is_not_reported(source):
    assert [] == uses(source, own=own_names([source]))
