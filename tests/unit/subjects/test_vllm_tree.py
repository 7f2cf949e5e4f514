from __future__ import annotations

import shutil
import subprocess

import pytest

from oom_suite.errors import SubjectError
from oom_suite.subjects import parse
from oom_suite.subjects.families.vllm import VLLM

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def root_of(text):
    """The root of the tree that this spelling names."""
    (root,) = VLLM.source_folders(parse(text))
    return root


def git(root, *arguments):
    """What git says in that folder, whoever the user is."""
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    command = ["git", *who, "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_metadata_goes_before_the_version_file(make_tree):
    """A source archive says what it is."""
    metadata = "Metadata-Version: 2.4\nName: vllm\nVersion: 0.21.0\n\nVersion: 7\n"
    assert "0.21.0" == VLLM.version(make_tree("", "9.9.9", **{"PKG-INFO": metadata}))


def test_the_version_file_is_read_and_not_run(make_tree):
    """The file that a build writes gives the version."""
    text = "raise SystemExit\nversion: str\n__version__ = version = '0.22.1.dev3+g12'\n"
    assert "0.22.1.dev3+g12" == VLLM.version(make_tree("", **{"vllm/_version.py": text}))


@needs_git
def test_a_checkout_says_its_tag_or_commit(make_tree):
    """Without either file, git says which commit it is."""
    root = make_tree("", **{"vllm/_version.py": None})
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "x")
    assert git(root, "rev-parse", "--short", "HEAD") == VLLM.version(root)
    git(root, "tag", "v0.23.0")
    assert "0.23.0" == VLLM.version(root)


@needs_git
def test_a_repository_around_the_tree_is_not_asked(make_tree, tmp_path):
    """A tree that lies in someone else's repository has no version from it."""
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "x")
    assert "unknown" == VLLM.version(make_tree("", **{"vllm/_version.py": None}))


def test_a_tree_is_given_by_its_root(make_tree):
    """The absolute root of a tree that holds vLLM's package."""
    root = make_tree("")
    assert root == root_of(f"vllm@{root}")


def test_a_folder_without_vllm_says_what_to_give(tmp_path, make_tree):
    """A missing folder, another folder, and the package itself are told apart."""
    with pytest.raises(SubjectError, match="does not exist"):
        root_of(f"vllm@{tmp_path / 'none'}")
    with pytest.raises(SubjectError, match="holds no `vllm` folder"):
        root_of(f"vllm@{tmp_path}")
    root = make_tree("", **{"vllm/__init__.py": ""})
    with pytest.raises(SubjectError, match=f"did you mean vllm@{root}\\?"):
        root_of(f"vllm@{root / 'vllm'}")


def test_the_installed_vllm_is_found_without_importing_it(make_tree, monkeypatch):
    """Its package is not executed, for that takes seconds and a GPU's libraries."""
    root = make_tree("", **{"vllm/__init__.py": "raise RuntimeError\n"})
    monkeypatch.syspath_prepend(str(root))
    assert root == root_of("vllm")


def test_no_installed_vllm_names_the_other_spellings(monkeypatch, tmp_path):
    """A folder that happens to be called vllm is not an installation."""
    (tmp_path / "vllm").mkdir()
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    with pytest.raises(SubjectError, match=r"not installed.*vllm==VERSION.*vllm@PATH"):
        root_of("vllm")
