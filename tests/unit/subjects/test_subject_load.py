from __future__ import annotations

import sys
from pathlib import Path

import pytest

import oom_suite
from oom_suite.errors import NotApplicableError, StubUsedError, SubjectError
from oom_suite.subjects import builtin_names, load, parse
from oom_suite.workloads.sparse_mla.workload import DECODE


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def failure(text):
    """The one-line message that loading this subject fails with."""
    with pytest.raises(SubjectError) as caught:
        load(parse(text), DECODE)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", builtin_names())
def test_a_builtin_is_loaded(name):
    """Each built-in is there, with paths shown from the package's parent."""
    from oom_suite.workloads.sparse_mla.builtins import BUILTINS

    with load(parse(name), DECODE) as subject:
        assert BUILTINS[name] is subject.call
        assert Path(oom_suite.__file__).parents[1] == subject.root


def test_a_file_s_function_is_loaded_as_a_script_s_would_be(here, keywords, step):
    """Its folder is where it imports from, when loaded and when called, and until it is closed."""
    (here / "sub").mkdir()
    (here / "sub" / "first.py").write_text("v = 1\n")
    (here / "sub" / "late").mkdir()
    (here / "sub" / "late" / "__init__.py").write_text("v = 2\n")
    (here / "sub" / "kernel.py").write_text(
        f"import first\ndef run({keywords}):\n    import late\n    return first.v, late.v\n"
    )
    path_before, modules_before = list(sys.path), set(sys.modules)
    with load(parse("sub/kernel.py:run"), DECODE) as subject:
        assert (1, 2) == subject.call(**step)
        assert (here, None) == (subject.root, subject.version)
    assert path_before == sys.path
    assert not {name for name in set(sys.modules) - modules_before if "oom_suite" not in name}
    assert not list(here.rglob("*kernel*.pyc"))


def test_a_file_elsewhere_is_shown_from_its_own_folder(here, tmp_path, keywords):
    """Outside the current folder, paths are relative to the file's."""
    (tmp_path / "kernel.py").write_text(f"def run({keywords}): pass\n")
    with load(parse(f"{tmp_path}/kernel.py:run"), DECODE) as subject:
        assert tmp_path == subject.root


def test_dataclasses_and_keywords_of_any_name_work(here, step):
    """A function may take **kwargs, and its module is found by name while it is loaded."""
    (here / "kernel.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass A:\n    x: int\ndef run(**kwargs): return len(kwargs)\n"
    )
    with load(parse("kernel.py:run"), DECODE) as subject:
        assert 14 == subject.call(**step)


def test_a_module_s_function_is_loaded_from_the_current_folder(here, keywords, step):
    """The current folder is searched first, as with python -m."""
    (here / "kernels_of_mine").mkdir()
    (here / "kernels_of_mine" / "__init__.py").write_text("")
    (here / "kernels_of_mine" / "a.py").write_text(f"def run({keywords}): return 1\n")
    with load(parse("kernels_of_mine.a:run"), DECODE) as subject:
        assert 1 == subject.call(**step)
        assert here == subject.root


def test_an_installed_module_is_shown_from_its_package_s_parent(here, tmp_path, monkeypatch):
    """Outside the current folder, paths start with the package's name."""
    package = tmp_path / "site" / "installed_kernels"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("def run(**kwargs): pass\n")
    monkeypatch.syspath_prepend(str(package.parent))
    with load(parse("installed_kernels:run"), DECODE) as subject:
        assert package.parent == subject.root


def test_a_tree_s_decode_path_is_loaded(make_tree, keywords, step):
    """A vLLM tree gives its entry, its root and its version."""
    root = make_tree(f"def rocm_sparse_attn_decode({keywords}): return 1\n")
    with load(parse(f"vllm@{root}"), DECODE) as subject:
        assert 1 == subject.call(**step)
        assert (root, "9.9.9") == (subject.root, subject.version)


def test_a_release_s_tree_may_be_given(make_tree, keywords, step):
    """Who has obtained the release already passes its root, and nothing is fetched."""
    root = make_tree(f"def rocm_sparse_attn_decode({keywords}): return 1\n")
    with load(parse("vllm==9.9.9"), DECODE, root=root) as subject:
        assert 1 == subject.call(**step)


def test_the_installed_vllm_is_loaded_like_a_tree(make_tree, keywords, step, monkeypatch):
    """An installed vLLM's file is loaded alone, and vLLM itself is not imported."""
    source = f"def rocm_sparse_attn_decode({keywords}): return 1\n"
    root = make_tree(source, **{"vllm/__init__.py": "raise RuntimeError\n"})
    monkeypatch.syspath_prepend(str(root))
    with load(parse("vllm"), DECODE) as subject:
        assert 1 == subject.call(**step)


def test_the_architecture_reaches_the_code(make_tree, keywords, step):
    """What the code asks of the platform is answered for the GPU named."""
    source = (
        "from vllm.platforms.rocm import _ON_GFX950\n"
        f"def rocm_sparse_attn_decode({keywords}): return _ON_GFX950\n"
    )
    with load(parse(f"vllm@{make_tree(source)}"), DECODE, arch="gfx950") as subject:
        assert subject.call(**step) is True


def test_not_applicable_stays_what_it_is(make_tree):
    """A tree without the path is told from one that is broken."""
    with pytest.raises(NotApplicableError):
        load(parse(f"vllm@{make_tree('')}"), DECODE)


@pytest.mark.parametrize(
    ("source", "text", "said"),
    [
        (None, "kernel.py:run", "kernel.py does not exist"),
        ("def runs(**k): pass", "kernel.py:run", "has no function 'run'; did you mean 'runs'?"),
        ("run = 3", "kernel.py:run", "'run' in kernel.py is int, not a function"),
        ("def run(q): pass", "kernel.py:run", "does not take `kv_cache`, `swa_k_cache`"),
        ("def run(extra, **k): pass", "kernel.py:run", "requires `extra`"),
        ("def run(q, /, **k): pass", "kernel.py:run", "requires `q`"),
        ("\n1 / 0", "kernel.py:run", "ZeroDivisionError: division by zero at kernel.py:2"),
        ("def (", "kernel.py:run", "SyntaxError: invalid syntax at kernel.py:1"),
        ("import sys\nsys.exit(3)", "kernel.py:run", "SystemExit: 3 at kernel.py:2"),
        ("import no_such_thing", "kernel.py:run", "install it in this Python"),
        (
            "import torch\ntorch.ones(2) + torch.ones(3)",
            "kernel.py:run",
            "must match the size of tensor b (3) at non-singleton dimension 0 at kernel.py:2",
        ),
        (None, "no_such_package.x:run", "No module named 'no_such_package'"),
        ("def other(**k): pass", "kernel:run", "has no function 'run'; it has other"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(here, monkeypatch, source, text, said):
    """A bad file, function or signature is named with what was seen and what to do."""
    monkeypatch.delitem(sys.modules, "kernel", raising=False)
    if source is not None:
        (here / "kernel.py").write_text(source)
    path_before = list(sys.path)
    assert said in failure(text)
    assert path_before == sys.path
    sys.modules.pop("kernel", None)


def test_a_folder_and_a_file_with_one_parameter_missing(here, keywords):
    """A folder is no file, and the one keyword that is missing is the one that is named."""
    (here / "kernel.py").mkdir()
    assert "is a folder" in failure("kernel.py:run")
    (here / "k2.py").write_text(f"def run({keywords.replace('swa_lens, ', '')}): pass\n")
    assert "does not take `swa_lens` by keyword" in failure("k2.py:run")


STUBBED = """
import made_up_kernels as kernels
from made_up_kernels.ops import fused

@kernels.registered
class Registered(kernels.Base): pass

def healthy({keywords}): return 1
def uses({keywords}): return fused(q)
def hides({keywords}):
    try: fused(q)
    except Exception: return 1
def late({keywords}):
    import made_up_kernels.later
    return made_up_kernels.later.x + 1
"""


@pytest.fixture
def stubbed(here, keywords, step):
    """A function that calls a function of a file whose missing package is replaced by stubs."""
    (here / "kernel.py").write_text(STUBBED.replace("{keywords}", keywords))

    def call(function, spelling="kernel.py:"):
        spec = parse(f"{spelling}{function} --stub made_up_kernels")
        with load(spec, DECODE) as subject:
            return subject.call(**step)

    return call


@pytest.mark.parametrize("spelling", ["kernel.py:", "kernel:"])
def test_code_loads_without_a_package_that_is_replaced_by_stubs(stubbed, spelling):
    """Decorators, base classes and names of the package may be used while the file is executed."""
    assert 1 == stubbed("healthy", spelling)
    assert not [name for name in sys.modules if name.startswith("made_up_kernels")]


@pytest.mark.parametrize(
    ("function", "named"),
    [("uses", "ops.fused"), ("hides", "ops.fused"), ("late", "later.x")],
)
def test_the_use_of_such_a_stub_in_a_call_is_an_error_naming_it(stubbed, function, named):
    """A result would not be about the real package, whatever becomes of the exception."""
    with pytest.raises(StubUsedError, match=rf"`made_up_kernels\.{named}"):
        stubbed(function)


def test_the_error_for_a_missing_package_says_how_to_replace_it(here):
    """The package that is missing is named in the option."""
    (here / "kernel.py").write_text("import made_up_kernels.ops\ndef run(**k): pass\n")
    said = "install it in this Python, or have it replaced by stubs (--stub made_up_kernels)"
    assert said in failure("kernel.py:run")


FORK = """
from vllm.platforms import current_platform
from vllm.triton_utils import triton
from vllm_fork.config import options
from vllm_fork.utils.math_utils import cdiv
def rocm_forward_decode_fallback({keywords}):
    return cdiv(5, 2), current_platform.is_rocm(), __name__
"""


@pytest.fixture
def fork(make_tree, keywords):
    """The root of a fork whose package has another name, and its decode file's text."""
    moved = {
        "vllm_fork/v1/attention/ops/rocm_aiter_mla_sparse.py": FORK.replace("{keywords}", keywords),
        "vllm_fork/utils/math_utils.py": "def cdiv(a, b): return -(a // -b)\n",
        "vllm_fork/_version.py": "version = '0.21.0+fork'\n",
        "vllm/v1/attention/ops/rocm_aiter_mla_sparse.py": None,
        "vllm/_version.py": None,
    }
    return make_tree("", **moved)


def test_a_fork_that_is_laid_out_as_another_package_is_loaded(fork, step):
    """Its files are looked for under its own name; vLLM's modules are as in a tree of vLLM's."""
    with load(parse(f"vllm@{fork} --package vllm_fork"), DECODE) as subject:
        expected = (3, True, "vllm_fork.v1.attention.ops.rocm_aiter_mla_sparse")
        assert (expected, "0.21.0+fork") == (subject.call(**step), subject.version)


def test_the_error_for_such_a_fork_says_how_to_name_its_package(fork):
    """Whoever gives its root as a tree of vLLM's learns of the option."""
    with pytest.raises(SubjectError, match=r"holds no `vllm` folder; .* --package for a fork"):
        load(parse(f"vllm@{fork}"), DECODE)


def test_a_fork_without_the_file_is_not_applicable(fork):
    """The file is named as it would be in the fork."""
    (fork / "vllm_fork/v1/attention/ops/rocm_aiter_mla_sparse.py").unlink()
    with pytest.raises(NotApplicableError, match=r"vllm_fork/v1/attention/ops/rocm_aiter.*exist"):
        load(parse(f"vllm@{fork} --package vllm_fork"), DECODE)
