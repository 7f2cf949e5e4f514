from __future__ import annotations

import logging
import sys
import textwrap
import types

import pytest
import torch

from oom_suite.errors import StubUsedError, SubjectError, UsageError
from oom_suite.subjects.families.vllm import VLLM
from oom_suite.workloads.sparse_mla.workload import VLLM_ENTRY

NAME = "vllm.v1.attention.ops.rocm_aiter_mla_sparse"


@pytest.fixture
def load(make_tree):
    """A function that loads a decode file with this source."""

    def load(source, arch="generic", **others):
        return VLLM.open(make_tree(textwrap.dedent(source), **others), VLLM_ENTRY.file, arch)

    return load


def test_it_is_the_real_file_under_its_true_name(load, decode_file):
    """Stacks and torch's registries see the name and path that vLLM itself has."""
    loaded = load("def run(): pass\n")
    assert NAME == loaded.module.__name__
    assert str(loaded.root / decode_file) == loaded.module.run.__code__.co_filename


def test_nothing_of_it_is_left_in_the_process(load):
    """Outside of loading and running, no module of vLLM's and no finder is installed."""
    finders = list(sys.meta_path)
    loaded = load("import vllm.envs\nfrom vllm.config import VllmConfig\n")
    assert not [name for name in sys.modules if name.partition(".")[0] in {"vllm", "aiter"}]
    assert finders == sys.meta_path
    with loaded.running():
        assert loaded.module is sys.modules[NAME]
    assert NAME not in sys.modules


def test_a_vllm_that_was_imported_already_comes_back(load, monkeypatch):
    """A vLLM of the process's own is out of the way meanwhile, and unharmed."""
    own = types.ModuleType("vllm")
    monkeypatch.setitem(sys.modules, "vllm", own)
    loaded = load("import vllm\nmade = vllm\n")
    assert own is not loaded.module.made
    assert own is sys.modules["vllm"]


def test_two_trees_live_in_one_process(load):
    """Each tree's late imports find its own modules."""
    source = "def value():\n    from vllm.utils.math_utils import v\n    return v\n"
    first = load(source, name="a", **{"vllm/utils/math_utils.py": "v = 1\n"})
    second = load(source, name="b", **{"vllm/utils/math_utils.py": "v = 2\n"})
    with first.running():
        with second.running():
            assert 2 == second.module.value()
        assert 1 == first.module.value()


def test_no_byte_code_is_written_into_the_tree(load):
    """A tree under test is only read."""
    loaded = load("def run(): pass\n", **{"vllm/utils/math_utils.py": "v = 1\n"})
    assert not list(loaded.root.rglob("*.pyc"))


def test_a_changed_file_is_loaded_as_it_is_now(make_tree, decode_file):
    """Two commits whose files have the same size and time are told apart."""
    root = make_tree("v = 1\n")
    assert 1 == VLLM.open(root, decode_file).module.v
    (root / decode_file).write_text("v = 2\n")
    assert 2 == VLLM.open(root, decode_file).module.v


def test_a_stub_may_be_named_in_every_way_at_import(load):
    """Annotations, base classes, decorators, constants and registrations need no real vLLM."""
    loaded = load("""
        import functools
        from typing import Optional
        import vllm.envs as envs
        from vllm import _custom_ops as ops
        from vllm.config import CUDAGraphMode, get_config
        from vllm.utils.torch_utils import direct_register_custom_op

        LIMIT = envs.VLLM_LIMIT_MB * 1024 * 1024
        KNOWN = {CUDAGraphMode.FULL: 1}

        class Metadata(CUDAGraphMode):
            pass

        @get_config("x")
        def decorated(): return 1

        def run(a: CUDAGraphMode | None, b: Optional[ops.Thing], c: list[ops.Thing]) -> None:
            return a

        direct_register_custom_op(op_name="x", op_func=run)
        SAME = isinstance(run, CUDAGraphMode)
    """)
    with loaded.running():
        assert 1 == loaded.module.run(1, 2, 3)
    assert [] == loaded.used_stubs


USES = {
    "called": "stub()",
    "tested": "1 if stub else 2",
    "compared": "stub == 1",
    "ordered": "stub < 1",
    "indexed": "stub[0]",
    "read and called": "stub.a.b()",
    "asked for an attribute": "hasattr(stub, 'a')",
    "added": "1 + stub",
    "iterated": "list(stub)",
    "formatted": "f'{stub}'",
    "hashed": "{stub: 1}",
    "isinstance": "isinstance(1, stub)",
    "entered": "stub.__enter__()",
    "given to torch": "torch.add(torch.ones(1), stub)",
    "given to torch in a list": "torch.cat([torch.ones(1), stub])",
    "instantiated by a subclass": "Child()",
    "decorated": "decorated()",
    "computed at import": "DOUBLE + 1",
    "inside a module": "module.stub()",
    "platform": "current_platform.is_navi()",
    "platform asked": "hasattr(current_platform, 'is_navi')",
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("swallowed", [False, True], ids=["raised", "swallowed"])
def test_a_use_in_a_call_is_an_error_that_names_it(load, use, swallowed):
    """No use of a stub passes unseen, even where the code under test swallows the exception."""
    body = f"try: {use}\n        except Exception: pass" if swallowed else use
    loaded = load(f"""
    import torch
    import vllm.made.up as module
    from vllm.made.up import stub
    from vllm.platforms import current_platform
    DOUBLE = stub * 2
    class Child(stub): pass
    @stub
    def decorated(): return 1
    def run():
        {body}
    """)
    named = r"vllm\.(made\.up\.stub|platforms\.current_platform\.is_navi)"
    with pytest.raises(StubUsedError, match=named), loaded.running():
        loaded.module.run()
    assert loaded.used_stubs


def test_a_healthy_twin_passes(load):
    """The same file without a use runs, and a use is not held against the next run."""
    loaded = load("""
    from vllm.made.up import stub
    def bad(): stub()
    def good(): return 1
    """)
    with pytest.raises(StubUsedError), loaded.running():
        loaded.module.bad()
    with loaded.running():
        assert 1 == loaded.module.good()


def test_another_exception_after_a_use_is_blamed_on_the_stub(load):
    """When the swallowed use leads to another failure, the stub is still what is named."""
    loaded = load("""
    from vllm.made.up import stub
    def run():
        try: stub()
        except Exception: raise ValueError("no workspace")
    """)
    with pytest.raises(StubUsedError, match=r"vllm\.made\.up\.stub"), loaded.running():
        loaded.module.run()


def test_an_exception_of_the_code_itself_is_left_alone(load):
    """What has nothing to do with stubs is the code's own failure."""
    loaded = load("def run(): raise ValueError('its own')\n")
    with pytest.raises(ValueError, match="its own"), loaded.running():
        loaded.module.run()


def test_a_decision_at_import_is_refused(load):
    """A file whose import branches on a made-up value does not load."""
    with pytest.raises(StubUsedError, match=r"vllm\.envs\.VLLM_FAST"):
        load("import vllm.envs as envs\nif envs.VLLM_FAST: pass\n")


def test_a_pass_through_decorator_keeps_the_function(load):
    """A decorator that only calls the function outside of a capture is passed through."""
    loaded = load("""
    from vllm.compilation.breakable_cudagraph import eager_break_during_capture
    @eager_break_during_capture
    def run(): return 1
    """)
    with loaded.running():
        assert 1 == loaded.module.run()


def test_pure_modules_are_the_trees_own(load):
    """Arithmetic that needs nothing else comes from the tree, also when imported in a call."""
    loaded = load(
        "def run():\n    from vllm.utils import math_utils\n    return math_utils.cdiv(5, 2)\n",
        **{"vllm/utils/math_utils.py": "def cdiv(a, b): return -(a // -b)\n"},
    )
    with loaded.running():
        assert 3 == loaded.module.run()


def test_aiter_is_absent_even_where_it_is_installed(load, tmp_path, monkeypatch):
    """What runs is vLLM's own code and not what AITER happens to supply."""
    (tmp_path / "aiter").mkdir()
    (tmp_path / "aiter" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    loaded = load("""
    from importlib.util import find_spec
    def run():
        try:
            import aiter
        except ImportError:
            return find_spec("aiter")
        return aiter
    """)
    with loaded.running():
        assert loaded.module.run() is None


PLATFORM = """
from vllm.logger import init_logger
from vllm.platforms import current_platform as p
from vllm.platforms.rocm import _ON_GFX942, _ON_GFX950, on_mi3xx
logger = init_logger(__name__)
facts = (p.fp8_dtype(), p.is_fp8_fnuz(), _ON_GFX942, _ON_GFX950, on_mi3xx())
kind = (p.is_rocm(), p.is_cuda_alike(), p.is_cuda())
"""


@pytest.mark.parametrize(
    ("arch", "facts"),
    [
        ("generic", (torch.float8_e4m3fn, False, False, False, False)),
        ("gfx942", (torch.float8_e4m3fnuz, True, True, False, True)),
        ("gfx950", (torch.float8_e4m3fn, False, False, True, True)),
    ],
)
def test_the_platform_follows_the_architecture(load, arch, facts):
    """The fp8 format and the architecture's flags are those of the GPU asked for."""
    module = load(PLATFORM, arch).module
    assert facts == module.facts
    assert (True, True, False) == module.kind


def test_the_logger_is_the_standard_library_s(load, caplog):
    """Messages go to logging under the module's name, vLLM's once-methods too."""
    loaded = load(PLATFORM)
    with caplog.at_level(logging.INFO), loaded.running():
        loaded.module.logger.info("plain %d", 1)
        loaded.module.logger.info_once("once", scope="global")
    assert [(NAME, "plain 1"), (NAME, "once")] == [(r.name, r.message) for r in caplog.records]


def test_an_unknown_architecture_names_the_known_ones(load):
    """A misspelt architecture is a usage error with a suggestion."""
    with pytest.raises(UsageError, match=r"'gfx94'.*gfx942.*did you mean"):
        load("", "gfx94")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import torch\n1 / 0\n", "ZeroDivisionError: division by zero at "),
        ("def broken(:\n", "SyntaxError: invalid syntax at "),
        ("<<<<<<< HEAD\n", "SyntaxError"),
        ("import nothing_of_that_name\n", "No module named 'nothing_of_that_name' at "),
    ],
)
def test_a_file_that_does_not_load_is_one_line(load, decode_file, source, said):
    """A broken checkout is named by version, exception, file and line."""
    with pytest.raises(SubjectError) as caught:
        load(source)
    message = str(caught.value)
    assert "vLLM 9.9.9 cannot be loaded" in message
    assert said in message
    assert f"{decode_file}:" in message
    assert "\n" not in message


def test_a_closed_module_says_so(load):
    """Using a tree after closing it is a clear error."""
    loaded = load("v = 1\n")
    loaded.close()
    with pytest.raises(SubjectError, match="was closed"):
        _ = loaded.module
