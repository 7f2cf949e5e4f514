"""The doors: packages of anybody's, installed as far as an entry point needs it, on PYTHONPATH."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

from oom_suite import doors
from oom_suite.cli.main import main
from oom_suite.records import Workload

PLUGIN = """
from oom_suite.hookspecs import hookimpl
from oom_suite.records import Axis, Contract, Convention, Scenario, SubjectSpec, Workload
from oom_suite.records.workload import Builtin
from oom_suite.subjects.family import SubjectFamily

@hookimpl
def oom_workloads():
    return [
        Workload(
            name="toy",
            axes=(Axis("n", step=1, far=(1, 100)),),
            builder="toys.inputs:build",
            contract=Contract(independent_of=("n",)),
            convention=Convention(("a", "b")),
            scenarios={"small": Scenario("small", {"n": 2}, "small")},
            builtins={"toy_sum": Builtin("toys.inputs:toy_sum")},
        )
    ]

class Toys(SubjectFamily):
    name = "toys"

    def parse(self, text):
        return SubjectSpec(text, self.name) if text == "toys" else None

    def workloads(self, spec, known):
        return tuple(workload for workload in known if workload.name == "toy")

    def load(self, spec, workload, *, root, arch):
        raise NotImplementedError

@hookimpl
def oom_subject_families():
    return [Toys()]
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """A function that puts a package with an entry point of the group on the path."""

    def install(source, *, name="toys", value=None, package=None):
        folder = tmp_path / name
        (folder / (package or name)).mkdir(parents=True)
        (folder / (package or name) / "__init__.py").write_text(textwrap.dedent(source))
        info = folder / f"{name}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[oom_suite]\n{name} = {value or name}\n")
        monkeypatch.syspath_prepend(str(folder))
        return folder

    doors.plugins.cache_clear()
    doors._by_name.cache_clear()
    yield install
    doors.plugins.cache_clear()
    doors._by_name.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] in {"toys", "others"}]:
        del sys.modules[name]


@pytest.fixture
def fails(monkeypatch, capsys):
    """A function that runs a command which is to be refused, and gives its one line."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["oom-suite", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert (2, "", 1) == (ended.value.code, said.out, len(said.err.splitlines()))
        return said.err

    return run


def test_the_suites_own_come_in_by_the_same_door():
    """Without any other package there are two workloads, four families, two reporters."""
    assert ["decode", "decode-swa", "gather", "prefill-gather"] == list(doors.workloads())
    assert ["built-in", "vllm", "file", "module"] == list(doors.families())
    assert ["json", "html"] == list(doors.reporters())


def test_a_packages_workload_family_and_built_in_are_known(install):
    """What a package brings is found by name, and its subjects are spelled like ours."""
    from oom_suite import subjects

    install(PLUGIN)
    assert isinstance(doors.workload("toy"), Workload)
    toys, built_in = subjects.parse("toys"), subjects.parse("toy_sum")
    assert ("toys", "built-in") == (toys.family, built_in.family)
    assert ("toy",) == tuple(w.name for w in subjects.workloads_for(toys))
    assert ("toy",) == tuple(w.name for w in subjects.workloads_for(built_in))
    assert {"toys", "toy_sum", "vllm==VERSION"} <= set(subjects.spellings())


def test_the_nearest_name_may_be_another_packages(install):
    """A misspelt workload or subject is answered with one that a package brings."""
    from oom_suite import subjects
    from oom_suite.errors import UsageError

    install(PLUGIN)
    with pytest.raises(UsageError, match="did you mean 'toy'"):
        doors.workload("toi")
    with pytest.raises(UsageError, match="did you mean 'toy_sum'"):
        subjects.parse("toy_sun")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_package\n", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("raise RuntimeError('first line\\nsecond')\n", "RuntimeError: first line"),
        (
            "from oom_suite.hookspecs import hookimpl\n@hookimpl\ndef oom_workload(): return []\n",
            "unknown hook 'oom_workload'",
        ),
    ],
    ids=["import", "raises", "unknown-hook"],
)
def test_a_plugin_that_cannot_be_used_is_one_line(install, fails, source, said):
    """The package, what was raised and what to do are in one line, and the exit code is 2."""
    install(source)
    message = fails("check", "full_dequant")
    assert message.startswith("oom-suite: the plugin 'toys' (toys) of toys 1.2 cannot be used: ")
    assert said in message
    assert "update it or uninstall the package" in message


def test_a_hook_that_raises_is_one_line_that_names_the_plugin(install, fails):
    """A plugin whose function fails is told from one that cannot be imported."""
    install(
        "from oom_suite.hookspecs import hookimpl\n@hookimpl\ndef oom_workloads(): return 1 / 0\n"
    )
    message = fails("check", "full_dequant")
    assert "the plugin 'toys' cannot be used: its oom_workloads() raised ZeroDivision" in message


def test_two_workloads_of_one_name_are_refused(install, fails):
    """Neither is preferred silently; both plugins are named."""
    install(PLUGIN.replace('name="toy"', 'name="decode"'))
    expected = (
        "oom-suite: two plugins, 'oom_suite.workloads.sparse_mla.workload' and 'toys', bring a "
        "workload of the name 'decode': rename or uninstall one of them\n"
    )
    assert expected == fails("check", "full_dequant")


COMMAND = """
from oom_suite.hookspecs import hookimpl

@hookimpl
def oom_commands(app):
    @app.command("NAME")
    def greet(whom: str) -> None:
        print("hello", whom)
"""


def test_a_command_of_a_plugin_is_one_of_the_suite_s(install, monkeypatch, capsys):
    """Beside `sanitize`, which comes in the same way."""
    install(COMMAND.replace("NAME", "greet"))
    monkeypatch.setattr(sys, "argv", ["oom-suite", "greet", "you"])
    with pytest.raises(SystemExit) as end:
        main()
    assert (0, "hello you\n") == (end.value.code, capsys.readouterr().out)
    monkeypatch.setattr(sys, "argv", ["oom-suite", "--help"])
    with pytest.raises(SystemExit):
        main()
    commands = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert {"check", "sanitize", "greet"} <= set(commands)


def test_two_commands_of_one_name_are_refused(install, fails):
    """Neither is preferred silently."""
    install(COMMAND.replace("NAME", "check"))
    expected = "oom-suite: there are 2 commands of the name 'check': rename the one of a plugin\n"
    assert expected == fails("check", "full_dequant")


def test_a_plugin_whose_commands_cannot_be_added_is_named(install, fails):
    """In one line, as for the other hooks."""
    install(COMMAND.replace('"NAME"', "1 / 0"))
    message = fails("check", "full_dequant")
    assert "the plugin 'toys' cannot be used: its oom_commands() raised ZeroDivision" in message


def test_no_door_imports_torch(install):
    """Names are looked up in the parent, which does not need torch."""
    folder = install(PLUGIN)
    code = (
        "import sys; from oom_suite import doors; doors.workloads(); doors.families(); "
        "doors.reporters(); doors.faults(); print('torch' in sys.modules, *doors.workloads())"
    )
    path = os.pathsep.join((str(folder), os.environ.get("PYTHONPATH", "")))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
        check=True,
    )
    assert "False decode decode-swa gather prefill-gather toy" == done.stdout.strip()


def test_every_hook_shows_an_override():
    """Each specification's docstring has code with its own name, that compiles."""
    from oom_suite import hookspecs

    names = [name for name in vars(hookspecs) if name.startswith("oom_")]
    expected = {"oom_workloads", "oom_subject_families", "oom_reporters", "oom_faults"}
    assert expected | {"oom_commands"} == set(names)
    for name in names:
        text = textwrap.dedent(" " * 4 + getattr(hookspecs, name).__doc__)
        code = text.partition("```python\n")[2].partition("```")[0]
        compile(code, name, "exec")
        assert f"def {name}(" in code


COUNTS = """
from oom_suite.hookspecs import hookimpl

class Counts:
    name = "counts"

    def write(self, results, path):
        path.write_text(" ".join(f"{one.subject}:{one.verdict.value}" for one in results))

@hookimpl
def oom_reporters():
    return [Counts()]
"""


def test_a_packages_reporter_writes_the_results(install, suite, tmp_path):
    """It is asked for by name, beside ours."""
    install(COUNTS)
    words = ("check", "token_gather", "--workload", "decode-swa", "--scenario", "small")
    done = suite(*words, "--report", "counts=counts.txt", "--report", "json=out.json")
    assert 0 == done.returncode, done.stderr
    assert "token_gather:PASS" == (tmp_path / "counts.txt").read_text()
    assert (
        "token_gather" == json.loads((tmp_path / "out.json").read_text())["results"][0]["subject"]
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--report", "jsn=out"), "unknown reporter 'jsn': choose from html, json; did you mean"),
        (("--report", "json"), "--report 'json' is not NAME=FILE; write it like"),
        (("--safety", "--report", "json=x"), "--report means nothing with --safety"),
    ],
)
def test_a_report_that_cannot_be_written_is_refused_before_anything_is_run(fails, words, said):
    """It is bad usage, in one line."""
    assert said in fails("check", "token_gather", *words)
