from __future__ import annotations

import pytest

from oom_suite.errors import NotApplicableError, StubUsedError, SubjectError
from oom_suite.subjects import load, parse
from oom_suite.workloads.sparse_mla.workload import CONVENTION, DECODE


def load_decode(root):
    """The decode path of the tree at this root."""
    return load(parse(f"vllm@{root}"), DECODE)


def test_the_convention_is_the_fourteen_keywords(keywords):
    """The fourteen stand in one place, in vLLM 0.21.0's order."""
    assert tuple(keywords.split(", ")) == CONVENTION.keywords


@pytest.mark.parametrize("entry", ["rocm_forward_decode_fallback", "rocm_sparse_attn_decode"])
def test_either_entry_is_called_with_the_fourteen(make_tree, keywords, step, entry):
    """Whichever function the file defines gets exactly the keywords."""
    loaded = load_decode(make_tree(f"def {entry}({keywords}):\n    return locals()\n"))
    assert "9.9.9" == loaded.version
    assert step == loaded.call(**step)


def test_the_older_entry_goes_first(make_tree, keywords, step):
    """A tree with both is tested on the one that the bug was in."""
    source = "".join(
        f"def {name}({keywords}): return {name!r}\n"
        for name in ("rocm_sparse_attn_decode", "rocm_forward_decode_fallback")
    )
    assert "rocm_forward_decode_fallback" == load_decode(make_tree(source)).call(**step)


def test_ragged_indices_are_left_to_vllm(make_tree, keywords, step):
    """Required ragged parameters are None; optional ones keep their defaults."""
    source = (
        f"def rocm_sparse_attn_decode(swa_ragged_indices, topk_ragged_indptr, {keywords}, "
        "adaptive_splits=False, x_ragged_y=3):\n"
        "    return swa_ragged_indices, topk_ragged_indptr, adaptive_splits, x_ragged_y\n"
    )
    assert (None, None, False, 3) == load_decode(make_tree(source)).call(**step)


def test_an_unknown_required_parameter_is_named(make_tree, keywords):
    """A parameter that the suite cannot fill is an error, never a guess."""
    source = f"def rocm_sparse_attn_decode({keywords}, workspace): pass\n"
    with pytest.raises(SubjectError, match=r"of vLLM 9\.9\.9 requires `workspace`"):
        load_decode(make_tree(source))


def test_a_parameter_that_is_gone_is_named(make_tree, keywords):
    """A function that no longer takes one of the fourteen is an error that names it."""
    source = f"def rocm_sparse_attn_decode({keywords.replace('swa_lens, ', '')}): pass\n"
    with pytest.raises(SubjectError, match=r"of vLLM 9\.9\.9 does not take `swa_lens`"):
        load_decode(make_tree(source))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = 1\n", "does not define rocm_forward_decode_fallback or rocm_sparse_attn_decode"),
        (None, "does not exist"),
    ],
    ids=["no function", "no file"],
)
def test_a_tree_without_the_path_is_not_applicable(make_tree, decode_file, source, said):
    """An older release is told from a broken one, with the first release that has the path."""
    with pytest.raises(NotApplicableError) as caught:
        load_decode(make_tree(source, version="0.20.2"))
    expected = (
        "vLLM 0.20.2 has no DeepSeek-V4 decode path for ROCm: "
        f"{decode_file} {said}; first release with one is 0.21.0"
    )
    assert expected == str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        "current_workspace_manager()",
        "\n    try: current_workspace_manager()\n    except Exception: pass",
    ],
    ids=["raised", "swallowed"],
)
def test_a_planted_stub_use_is_an_error_naming_it(make_tree, keywords, step, body):
    """A decode path that needs what is stubbed gives no result, swallowed or not."""
    source = (
        "from vllm.v1.worker.workspace import current_workspace_manager\n"
        f"def rocm_sparse_attn_decode({keywords}): {body}\n"
    )
    loaded = load_decode(make_tree(source))
    with pytest.raises(StubUsedError, match=r"vllm\.v1\.worker\.workspace\.current_workspace_man"):
        loaded.call(**step)


def test_its_healthy_twin_passes(make_tree, keywords, step):
    """The same import without the use is no error."""
    source = (
        "from vllm.v1.worker.workspace import current_workspace_manager\n"
        f"def rocm_sparse_attn_decode({keywords}): return 1\n"
    )
    assert 1 == load_decode(make_tree(source)).call(**step)


def test_an_entry_under_a_stubbed_decorator_is_an_error(make_tree, keywords):
    """A decode path that an unknown decorator replaced is not run without it."""
    source = (
        "from vllm.compilation.new import fancy\n"
        f"@fancy\ndef rocm_sparse_attn_decode({keywords}): pass\n"
    )
    with pytest.raises(StubUsedError, match=r"vllm\.compilation\.new\.fancy"):
        load_decode(make_tree(source))
