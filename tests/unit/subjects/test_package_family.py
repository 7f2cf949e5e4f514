"""A family for anybody's released package: a wheel from the index, a tree, what is installed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oom_suite import doors
from oom_suite.errors import FetchError, NotApplicableError, StubUsedError, SubjectError, UsageError
from oom_suite.records import Contract, Convention, Workload
from oom_suite.records.workload import Entry
from oom_suite.subjects.families.package import PackageFamily

ENTRY = Entry("toyserver/ops/sums.py", ("total", "whole"), "sum", first_release="1.0")
SUM = Workload(
    "sum", (), "", Contract(), convention=Convention(("a", "b")), entries={"toys": ENTRY}
)
OTHER = Workload("other", (), "", Contract(), convention=Convention(("a",)))

SUMS = """
import toyserver.config as config
from toyserver.maths import plus
from toyserver.clock import ticks

def total(a, b):
    return plus(a, b) + ticks
"""


def given_ticks(given):
    """The stand-in for a module: what `supplies` names."""
    return {"ticks": 100 if given.arch == "generic" else 200, "lazy": given.stub("toyserver.lazy")}


TOYS = PackageFamily(
    "toys",
    title="Toy Server",
    project="toyserver",
    archive="wheel",
    pure_files=("toyserver/maths.py",),
    version_file="toyserver/_version.py",
    supplies={"toyserver.clock": f"{__name__}:given_ticks"},
    absent=("turbo",),
    unknown_modules="as released",
    has_arch=True,
)


def files(sums=SUMS, version="1.2.0", **others):
    """A wheel's files, its list of them included."""
    found = {
        "toyserver/__init__.py": "raise RuntimeError('never executed')\n",
        "toyserver/config.py": "raise RuntimeError('never executed')\n",
        "toyserver/maths.py": "def plus(a, b): return a + b\n",
        "toyserver/ops/sums.py": sums,
        "toyserver/fast.cpython-311-x86_64-linux-gnu.so": "",
        **others,
    }
    info = f"toyserver-{version}.dist-info"
    found[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: toyserver\nVersion: {version}\n"
    found[f"{info}/RECORD"] = "".join(f"{name},sha256=x,1\n" for name in found)
    return found


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """Two workloads, of which the package has code for one."""
    monkeypatch.setattr(doors, "workloads", lambda: {"sum": SUM, "other": OTHER})


@pytest.fixture
def serve(index):
    """A function that puts a wheel on the index."""

    def serve(version="1.2.0", tag="py3-none-any", **options):
        body = index.wheel(files(version=version, **options))
        index.add(version, body, name=f"toyserver-{version}-{tag}.whl")
        return index

    return serve


def load(text="toys==1.2.0", workload=SUM, arch="generic"):
    """The family's subject of that spelling."""
    spec = TOYS.parse(text)
    return TOYS.load(spec, workload, root=TOYS.obtain(spec), arch=arch)


def wheels_fetched(index):
    """The names of the wheels that were downloaded."""
    return [path.rpartition("/")[2] for path in index.requests if path.endswith(".whl")]


def test_a_wheel_is_fetched_and_its_file_called(serve):
    """Of a wheel the entry, the pure files and the lists are kept; the rest is not executed."""
    index = serve()
    with load() as subject:
        assert (105, "1.2.0") == (subject.call(a=2, b=3), subject.version)
        kept = {str(path.relative_to(subject.root)) for path in subject.root.rglob("*.*")}
    assert {"toyserver/ops/sums.py", "toyserver/maths.py"} <= kept
    assert not {"toyserver/__init__.py", "toyserver/config.py"} & kept
    with load(arch="gfx950") as subject:
        assert 205 == subject.call(a=2, b=3)
    assert ["toyserver-1.2.0-py3-none-any.whl"] == wheels_fetched(index)


def test_the_same_wheel_is_taken_everywhere(serve):
    """A pure wheel goes first, then x86-64, then the first name."""
    for tag in ("cp312-cp312-manylinux_2_34_x86_64", "cp311-cp311-manylinux_2_34_aarch64"):
        index = serve(tag=tag)
    serve(tag="cp311-cp311-manylinux_2_34_x86_64")
    load().close()
    assert ["toyserver-1.2.0-cp311-cp311-manylinux_2_34_x86_64.whl"] == wheels_fetched(index)


def test_what_is_needed_later_is_fetched_then(serve, monkeypatch):
    """A workload that came in by the door since has its file fetched, and no file is lost."""
    index = serve(**{"toyserver/ops/more.py": "def more(a): return a\n"})
    load().close()
    entries = {"toys": Entry("toyserver/ops/more.py", ("more",), "more")}
    later = Workload("more", (), "", Contract(), convention=Convention(("a",)), entries=entries)
    monkeypatch.setattr(doors, "workloads", lambda: {"more": later})
    with load(workload=later) as subject:
        assert 7 == subject.call(a=7)
        assert (subject.root / "toyserver/ops/sums.py").is_file()
    monkeypatch.setattr(doors, "workloads", lambda: {"sum": SUM})
    load().close()
    assert 2 == len(wheels_fetched(index))


@pytest.mark.parametrize("when", ["at import", "in the call", "swallowed"])
def test_a_module_that_the_release_lacks_is_named(serve, when):
    """What no installation of the release could import is missing here too, and not a stub."""
    body = {
        "at import": "from toyserver.gone import x\ndef total(a, b): return 1\n",
        "in the call": "def total(a, b):\n    from toyserver.gone import x\n",
        "swallowed": (
            "def total(a, b):\n    try: import toyserver.gone\n    except ImportError: return 1\n"
        ),
    }[when]
    serve(sums=body)
    if when == "swallowed":
        with load() as subject:
            assert 1 == subject.call(a=1, b=2)
        return
    said = r"Toy Server 1\.2\.0 imports `toyserver\.gone`, which it does not hold"
    with pytest.raises(SubjectError, match=said):
        load().call(a=1, b=2)


@pytest.mark.parametrize("module", ["config", "fast"])
def test_a_module_that_the_release_holds_is_a_stub(serve, module):
    """Its names may be imported and not used, compiled modules too."""
    serve(sums=f"from toyserver.{module} import x\ndef total(a, b): return x()\n")
    with load() as subject, pytest.raises(StubUsedError, match=rf"toyserver\.{module}\.x"):
        subject.call(a=1, b=2)


def test_a_supplied_module_may_be_one_that_the_release_lacks(serve):
    """So that a package which has it can judge what the release alone cannot run."""
    serve()
    supplies = {"toyserver.gone.deep": f"{__name__}:given_ticks"}
    serve(sums="def total(a, b):\n    from toyserver.gone.deep import ticks\n    return ticks\n")
    family = replace(TOYS, supplies=supplies)
    spec = family.parse("toys==1.2.0")
    with family.load(spec, SUM, root=family.obtain(spec), arch="generic") as subject:
        assert 100 == subject.call(a=1, b=2)
    assert ("toyserver.gone.deep",) == family.supplied


def test_a_package_that_must_be_absent_is(serve):
    """What runs is the release's own code, and not what another package happens to supply."""
    serve(
        sums="try:\n    import turbo\nexcept ImportError:\n    turbo = None\n"
        "def total(a, b): return turbo\n"
    )
    with load() as subject:
        assert subject.call(a=1, b=2) is None


def test_the_first_function_that_is_there_is_called(serve):
    """An entry names what the function was called over the releases."""
    serve(sums="def whole(a, b): return a * b\n")
    with load() as subject:
        assert 6 == subject.call(a=2, b=3)


@pytest.mark.parametrize(
    ("sums", "said"),
    [
        ("x = 1\n", "Toy Server 1.2.0 has no sum: toyserver/ops/sums.py does not define total or "),
        ("def total(a): pass\n", "total of Toy Server 1.2.0 does not take `b` by keyword"),
        ("def total(a, b, c): pass\n", "total of Toy Server 1.2.0 requires `c`"),
    ],
)
def test_code_that_cannot_be_called_is_one_line(serve, sums, said):
    """The function, the release and what is amiss are named."""
    serve(sums=sums)
    with pytest.raises(SubjectError) as caught:
        load()
    assert said in str(caught.value)


def test_a_workload_without_an_entry_is_not_applicable(serve):
    """A subject that has no code for a workload says so, and for which it has."""
    serve()
    said = "no code of Toy Server is known for the workload other, only sum"
    with pytest.raises(NotApplicableError, match=said):
        load(workload=OTHER)


def test_a_family_may_have_its_own_entries(serve):
    """Code for a workload of somebody else's is named by the family."""
    serve()
    entry = Entry(ENTRY.file, ("total",), "sum", adapt=f"{__name__}:one_argument")
    family = replace(TOYS, entries={"other": entry})
    spec = family.parse("toys==1.2.0")
    assert ("sum", "other") == tuple(w.name for w in family.workloads(spec, [SUM, OTHER]))
    with family.load(spec, OTHER, root=family.obtain(spec), arch="generic") as subject:
        assert 103 == subject.call(a=1)


def one_argument(function):
    """Calls it in the convention of the other workload."""
    return lambda a: function(a, 2)


def test_a_tree_is_asked_for_its_own_files(serve, tmp_path):
    """A checkout has no list of files: what lies in it is what it holds."""
    for name, text in files(sums="from toyserver import gone\ndef total(a, b): pass\n").items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if ".dist-info" not in name:
            path.write_text(text)
    with load(f"toys@{tmp_path / 'tree'}") as subject:
        assert subject.call(a=1, b=2) is None
    (tmp_path / "tree/toyserver/ops/sums.py").write_text("import toyserver.gone\n")
    with pytest.raises(SubjectError, match=r"imports `toyserver\.gone`"):
        load(f"toys@{tmp_path / 'tree'}")


@pytest.mark.parametrize(
    ("name", "links", "said"),
    [
        ("../evil.py", (), "leads outside"),
        ("/evil.py", (), "leads outside"),
        ("toyserver/ops/sums.py", ("toyserver/ops/sums.py",), "not a plain file"),
    ],
    ids=["path traversal", "absolute path", "link"],
)
def test_an_unsafe_wheel_is_refused_as_a_whole(index, tmp_path, name, links, said):
    """One unsafe member refuses it, and nothing is written outside the cache."""
    index.add(
        "1.2.0", index.wheel({name: "/etc/passwd"}, links), name="toyserver-1.2.0-py3-none-any.whl"
    )
    with pytest.raises(FetchError, match=said):
        load()
    assert not list(tmp_path.rglob("evil.py"))


def test_a_damaged_wheel_is_refused(index):
    """A verified file that is no zip archive is one clear line."""
    index.add("1.2.0", b"PK not a wheel", name="toyserver-1.2.0-py3-none-any.whl")
    with pytest.raises(FetchError, match="is not a readable archive"):
        load()


def test_releases_are_those_with_a_wheel(serve, index):
    """Source archives are none of a family that takes wheels."""
    serve()
    index.add("1.3.0", b"", name="toyserver-1.3.0.tar.gz")
    assert ["1.2.0"] == [str(version) for version in TOYS.releases()]
    with pytest.raises(FetchError, match=r"no wheel of Toy Server 1\.3\.0, only source archives"):
        load("toys==1.3.0")


@pytest.mark.parametrize("text", ["toys>=1", "toys==", "toys@"])
def test_a_spelling_that_is_nearly_one_says_what_to_write(text):
    """It is meant for this family, so that no other is asked."""
    with pytest.raises(UsageError, match=r"write .*toys"):
        TOYS.parse(text)


def test_other_spellings_are_another_familys():
    """A name that merely begins alike is not a release of this one."""
    assert [None, None] == [TOYS.parse("toystore==1.0"), TOYS.parse("x.py:toys")]


def installed(site, found):
    """Lays these files out as an installer does."""
    for name, text in found.items():
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_an_installed_package_is_asked_for_its_own_list(tmp_path, monkeypatch):
    """Other packages that lie beside it say nothing of what it holds."""
    other = {"abc/__init__.py": "", "abc-1.dist-info/RECORD": "abc/__init__.py,,\n"}
    found = files(sums="from toyserver.config import x\ndef total(a, b): return 1\n")
    installed(tmp_path / "site", found | other)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    with load("toys") as subject:
        assert (1, "1.2.0") == (subject.call(a=1, b=2), subject.version)
    (tmp_path / "site/toyserver/ops/sums.py").write_text("import toyserver.gone\n")
    with pytest.raises(SubjectError, match=r"imports `toyserver\.gone`"):
        load("toys")


def test_a_package_installed_from_a_checkout_is_asked_for_its_files(tmp_path, monkeypatch):
    """Its list names a hook of the installer's, and none of its modules."""
    found = files(sums="from toyserver.config import x\ndef total(a, b): return 1\n")
    found["toyserver-1.2.0.dist-info/RECORD"] = "__editable__.toyserver-1.2.0.pth,,\n"
    installed(tmp_path / "site", found)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    with load("toys") as subject:
        assert 1 == subject.call(a=1, b=2)
