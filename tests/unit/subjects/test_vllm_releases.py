from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from packaging.version import Version

from oom_suite.errors import FetchError, UsageError
from oom_suite.subjects.families import archive, cache, registry
from oom_suite.subjects.families.vllm import VLLM
from oom_suite.workloads.sparse_mla.workload import VLLM_ENTRY

DECODE_FILE = VLLM_ENTRY.file

EVIL = tarfile.TarInfo("vllm-1.0.0/../../evil.py")
EVIL.size = 1
OUTWARD_LINK = tarfile.TarInfo(f"vllm-1.0.0/{DECODE_FILE}")
OUTWARD_LINK.type, OUTWARD_LINK.linkname = tarfile.SYMTYPE, "/etc/passwd"
INWARD_LINK = tarfile.TarInfo(f"vllm-1.0.0/{DECODE_FILE}")
INWARD_LINK.type, INWARD_LINK.linkname = tarfile.SYMTYPE, "other.py"


def failure(version="1.0.0", **options):
    """The one-line message that obtaining the release fails with."""
    with pytest.raises(FetchError) as caught:
        VLLM.fetch(version, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def files_in(tree):
    """Paths from the tree's root, the marker left out."""
    found = (path.relative_to(tree) for path in tree.rglob("*") if path.is_file())
    return sorted(str(path) for path in found if not path.name.startswith("."))


def fetch(_number):
    """The tree's root."""
    return str(VLLM.fetch("1.0.0"))


def test_versions_are_sorted_and_leave_prereleases_out(index):
    """Release numbers sort as numbers, and candidates are listed only when asked for."""
    for version in ("0.9.0", "0.21.0", "0.22.0rc1", "0.3.0"):
        index.add(version)
    index.files["vllm-0.40.0-cp38-abi3-manylinux1_x86_64.whl"] = b""
    final = tuple(map(Version, ("0.3.0", "0.9.0", "0.21.0")))
    assert final == VLLM.releases()
    assert (*final, Version("0.22.0rc1")) == VLLM.releases(prereleases=True)


def test_a_release_is_fetched_once_and_only_what_is_needed(index):
    """The second time nothing at all is asked of the network."""
    index.add("1.0.0")
    tree = VLLM.fetch("1.0.0")
    assert ["PKG-INFO", "vllm/_version.py", DECODE_FILE] == files_in(tree)
    assert "1.0.0" == VLLM.version(tree)
    num_requests = len(index.requests)
    assert tree == VLLM.fetch("1.0")
    assert num_requests == len(index.requests)


def test_a_cached_release_needs_no_index(index, monkeypatch):
    """Offline, what is in the cache is used."""
    index.add("1.0.0")
    tree = VLLM.fetch("1.0.0")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    assert tree == VLLM.fetch(Version("1.0.0"))


def test_nothing_else_is_left_in_the_cache(index, tmp_path):
    """The archive and the temporary folder are gone afterwards."""
    index.add("1.0.0")
    tree = VLLM.fetch("1.0.0")
    shown = [p.name for p in tree.parent.iterdir() if not p.name.endswith(".lock")]
    assert ["vllm-1.0.0"] == shown


def test_the_cache_folder_can_be_given(index, tmp_path):
    """An argument goes before the environment."""
    index.add("1.0.0")
    assert VLLM.fetch("1.0.0", cache_dir=tmp_path / "mine").is_relative_to(tmp_path / "mine")


def test_progress_ends_at_the_whole_archive(index):
    """The progress function hears the bytes done and the bytes in all."""
    name = index.add("1.0.0")
    heard = []
    VLLM.fetch("1.0.0", on_bytes=lambda done, total: heard.append((done, total)))
    num_bytes = len(index.files[name])
    assert (num_bytes, num_bytes) == heard[-1]


def test_a_release_without_the_file_gives_what_it_has(index):
    """A release from before the decode file existed is a whole entry without it."""
    index.add("0.5.0", index.sdist("0.5.0", {"PKG-INFO": "Name: vllm\nVersion: 0.5.0\n"}))
    assert ["PKG-INFO"] == files_in(VLLM.fetch("0.5.0"))
    assert ["PKG-INFO"] == files_in(VLLM.fetch("0.5.0"))
    assert 1 == sum(path.endswith(".tar.gz") for path in index.requests)


@pytest.mark.parametrize("harm", ["changed", "deleted", "marker deleted", "marker garbage"])
def test_a_damaged_entry_is_fetched_again(index, harm):
    """A file that is not what was extracted, or an unfinished entry, is replaced."""
    index.add("1.0.0")
    tree = VLLM.fetch("1.0.0")
    marker = tree / cache.MARKER
    match harm:
        case "changed":
            (tree / DECODE_FILE).write_text("x = 'changed'\n")
        case "deleted":
            (tree / DECODE_FILE).unlink()
        case "marker deleted":
            marker.unlink()
        case "marker garbage":
            marker.write_text("[]")
    assert "x = 1\n" == (VLLM.fetch("1.0.0") / DECODE_FILE).read_text()
    assert 2 == sum(path.endswith(".tar.gz") for path in index.requests)


def poisoned(tree, how):
    """Make an entry hold other code, with a marker that says that all is as it was fetched."""
    evil = "x = 'evil'\n"
    (tree / DECODE_FILE).write_text(evil)
    marker = json.loads((tree / cache.MARKER).read_text())
    match how:
        case "nothing is listed":
            marker["files"] = {}
        case "its digest is listed":
            marker["files"][DECODE_FILE] = hashlib.sha256(evil.encode()).hexdigest()
        case "no signature":
            marker["files"] = {}
            del marker["signature"]
    (tree / cache.MARKER).write_text(json.dumps(marker))


@pytest.mark.parametrize("how", ["nothing is listed", "its digest is listed", "no signature"])
def test_code_that_others_put_into_the_cache_is_not_run(index, how):
    """Whoever fills the cache can write its marker, too; without the key it counts for nothing."""
    index.add("1.0.0")
    poisoned(VLLM.fetch("1.0.0"), how)
    assert "x = 1\n" == (VLLM.fetch("1.0.0") / DECODE_FILE).read_text()


def test_a_release_under_the_name_of_another_is_not_used(index):
    """A signed entry holds for its own release alone."""
    index.add("1.0.0")
    index.add("2.0.0", index.sdist("2.0.0", {DECODE_FILE: "x = 2\n"}))
    old = VLLM.fetch("1.0.0")
    shutil.copytree(old, old.with_name("vllm-2.0.0"))
    assert "x = 2\n" == (VLLM.fetch("2.0.0") / DECODE_FILE).read_text()


@pytest.mark.parametrize(("key", "num_fetched"), [("ours", 1), ("theirs", 2)])
def test_a_key_can_be_given_for_a_cache_that_machines_share(index, monkeypatch, key, num_fetched):
    index.add("1.0.0")
    monkeypatch.setenv("OOM_SUITE_CACHE_KEY", "ours")
    VLLM.fetch("1.0.0")
    monkeypatch.setenv("OOM_SUITE_CACHE_KEY", key)
    VLLM.fetch("1.0.0")
    assert num_fetched == sum(path.endswith(".tar.gz") for path in index.requests)


def test_the_key_is_the_users_own(index, tmp_path):
    index.add("1.0.0")
    VLLM.fetch("1.0.0")
    (file,) = (path for path in (tmp_path / "state").rglob("*") if path.is_file())
    assert 0o600 == file.stat().st_mode & 0o777


def test_without_a_place_for_the_key_one_line_says_what_to_give(index, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    index.add("1.0.0")
    assert "give a secret in OOM_SUITE_CACHE_KEY" in failure()


def test_a_file_that_is_in_the_archive_twice_is_refused(index):
    """The second one would be taken, whatever a person saw of the first."""
    again = tarfile.TarInfo(f"vllm-1.0.0/{DECODE_FILE}")
    index.add("1.0.0", index.sdist("1.0.0", extra_members=[again]))
    assert f"{DECODE_FILE} is in it twice" in failure()


@pytest.mark.parametrize(("num_bytes", "is_taken"), [(100, True), (101, False)])
@pytest.mark.parametrize("limit", ["MAX_FILE_BYTES", "MAX_ARCHIVE_BYTES"])
def test_an_archive_may_not_unpack_to_any_size(index, monkeypatch, limit, num_bytes, is_taken):
    monkeypatch.setattr(archive, limit, 100)
    index.add("1.0.0", index.sdist("1.0.0", {DECODE_FILE: "x" * num_bytes}))
    if is_taken:
        assert num_bytes == len((VLLM.fetch("1.0.0") / DECODE_FILE).read_text())
    else:
        assert "more than 100 B" in failure()


def test_two_processes_fetch_it_once(index):
    """The second process waits for the first and uses what it fetched."""
    index.add("1.0.0")
    code = "from oom_suite.subjects.families.vllm import VLLM; print(VLLM.fetch('1.0.0'))"
    command = [sys.executable, "-c", code]
    racing = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    trees = [process.communicate(timeout=60)[0].strip() for process in racing]
    assert [str(VLLM.fetch("1.0.0"))] * 3 == trees
    assert 1 == sum(path.endswith(".tar.gz") for path in index.requests)


def test_without_locks_the_race_is_still_safe(index, monkeypatch):
    """Where files cannot be locked each may fetch, and all get the same whole tree."""
    import fcntl

    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    monkeypatch.setattr(cache.shutil, "rmtree", lambda *_, **__: None)
    index.add("1.0.0")
    with ThreadPoolExecutor(4) as pool:
        trees = set(pool.map(fetch, range(4)))
    assert 1 == len(trees)
    assert cache.is_whole(Path(trees.pop()))


def test_a_truncated_download_says_so(index):
    """A download that ends early names the bytes and says to run again; nothing is kept."""
    name = index.add("1.0.0", send_bytes=100)
    message = failure()
    assert "cut short" in message
    assert f"its {len(index.files[name])} bytes; run the command again" in message
    del index.cut[name]
    assert (VLLM.fetch("1.0.0") / DECODE_FILE).is_file()


def test_a_tampered_archive_is_refused(index):
    """An archive whose sha256 is not the index's is not used."""
    index.add("1.0.0", digest="0" * 64)
    assert "its sha256 differs" in failure()


def test_an_index_without_digests_is_refused(index):
    """What cannot be verified is not used."""
    index.add("1.0.0", digest="")
    assert "gives no sha256 for vllm-1.0.0.tar.gz" in failure()


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (EVIL, "leads outside"),
        (OUTWARD_LINK, "leads outside"),
        (INWARD_LINK, "not a plain file"),
    ],
    ids=["path traversal", "link out of the tree", "link for a file"],
)
def test_an_unsafe_archive_is_refused_as_a_whole(index, tmp_path, member, said):
    """One unsafe member refuses the archive, and nothing is written outside the cache."""
    index.add("1.0.0", index.sdist("1.0.0", {"PKG-INFO": "x"}, [member]))
    message = failure()
    assert said in message
    assert "vllm-1.0.0.tar.gz is refused" in message
    assert not list(tmp_path.rglob("evil.py"))


def test_what_is_no_archive_is_refused(index):
    """A verified file that is not a tar archive is one clear line."""
    index.add("1.0.0", b"<html>not an archive</html>")
    assert "not a readable archive" in failure()


def test_an_unknown_version_names_the_nearest_and_the_latest(index):
    """A release that does not exist is answered with those that do."""
    for version in ("0.20.0", "0.21.0", "0.22.0", "0.33.0"):
        index.add(version)
    message = failure("0.21.7")
    assert message.endswith("has no vLLM 0.21.7: nearest is 0.21.0 and 0.22.0, latest is 0.33.0")


def test_a_release_with_wheels_alone_says_so(index):
    """A release without a source archive is told from one that does not exist."""
    index.add("0.20.0")
    index.files["vllm-0.20.5-cp38-abi3-manylinux1_x86_64.whl"] = b""
    assert "no source archive of vLLM 0.20.5, only built packages" in failure("0.20.5")


def test_an_index_without_vllm_says_so(index, monkeypatch):
    """A mirror that lacks the project is named as the reason."""
    monkeypatch.setenv("PIP_INDEX_URL", index.url + "/elsewhere")
    assert "does not have vllm: point PIP_INDEX_URL" in failure()


@pytest.mark.parametrize("url", ["http://user:secret@127.0.0.1:9/simple", "nonsense"])
def test_no_network_names_the_way_out_and_no_password(index, monkeypatch, url):
    """An index that cannot be reached is one line, without what its address may hold."""
    monkeypatch.setenv("PIP_INDEX_URL", url)
    message = failure()
    assert "cannot be reached" in message
    assert "vllm@PATH" in message
    assert "secret" not in message


def test_a_cache_that_cannot_be_written_names_the_variable(index, tmp_path):
    """A cache folder under a file is one line that says how to choose another."""
    index.add("1.0.0")
    (tmp_path / "file").write_text("")
    message = failure(cache_dir=tmp_path / "file")
    assert "cannot be written" in message
    assert "OOM_SUITE_CACHE" in message


def test_a_full_disk_says_so(index, monkeypatch):
    """Running out of space is told from a folder without permission."""
    index.add("1.0.0")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(registry.PyPISimple, "download_package", full)
    assert "no space left" in failure()


def test_what_is_no_version_is_a_usage_error(index):
    """A version that is none is found before anything is asked of the network."""
    with pytest.raises(UsageError, match=r"'new': not a version|not a version: 'new'"):
        VLLM.fetch("new")
    assert [] == index.requests
