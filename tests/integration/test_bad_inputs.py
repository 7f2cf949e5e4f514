"""Bad input to every command: one clear line, exit code 2, nothing started and nothing lost."""

from __future__ import annotations

import subprocess

import pytest
import typer

from oom_suite.cli.main import _with_plugins
from oom_suite.pipeline import session
from oom_suite.processes import child
from oom_suite.processes.askers import Respawning

LONG = "9" * 23
CHOOSE = "choose cpu, cuda or cuda:N"

BAD = {
    "bench": [
        ("--json folder", "--json: cannot write 'folder': it is a folder"),
        ("--compare none.json", "--compare none.json: No such file or directory"),
        ("--compare old.json", "--compare old.json is no file of `oom-suite bench --json`"),
        (
            "--only gahter",
            "unknown part 'gahter': choose from decode, gather, prefill; did you mean",
        ),
        ("--only gather --peer vllm==0.33.0", "peers are timed for decode and prefill, and"),
        ("--only gather --subject fused", "--subject fused is timed by none of gather"),
        (
            "--subject s.py:f",
            "--subject s.py:f: say with --only which of gather, decode, prefill it",
        ),
        ("--peer vlm==0.33.0", "vlm==0.33.0"),
    ],
    "bisect": [
        ("", "give --bad vllm==VERSION, or for commits --repo PATH and --good REV"),
        ("--bad vllm@.", "--bad 'vllm@.' is not a release"),
        ("--bad vllm==0.21.0 --set num_tokens=1 --set num_tokens=2", "gives num_tokens twice"),
        ("--bad vllm==0.21.0 --json folder", "--json: cannot write 'folder': it is a folder"),
        ("--bad torch==2.13.0", "versions of several parts need both ends: add --good torch=="),
        ("--bad torch==2.13.0 --good torch==2.12.1", "give what is judged once: a SUBJECT, or the"),
        ("full_dequant --bad torch==2 --good torch=2", "--good 'torch=2': 'torch=2' is not NAME=="),
        ("full_dequant --bad torch==2 --good torch==2", "--good and --bad are the same, torch==2"),
        ("--bad vllm==0.21.0 --axis num_blocks --at-most 3GiB", "are different questions: ask one"),
        ("full_dequant --repo . --good HEAD --walk", "--walk is for releases: give two as"),
        ("--bad vllm==0.21.0 --by check", "--by 'check' has no {} where the release stands: write"),
        ("--bad vllm@. --by check{}", "--by is for releases: give --bad vllm==VERSION, and no"),
        ("--bad vllm==0.21.0 --by x{} --axis a", "--axis means nothing beside --by: give it to"),
        ("--bad vllm==0.21.0 --budget 12", "'12' has no unit: write 12GiB or 12MiB, or 12B"),
    ],
    "check": [
        ("--json folder", "--json: cannot write 'folder': it is a folder"),
        ("--json nowhere/x.json", "there is no folder"),
        ("--json old.json/x.json", "there is no folder"),
        (f"--json {'n' * 300}", "File name too long"),
        ("--html folder", "--html: cannot write 'folder': it is a folder"),
        ("--html -", "--html -: only JSON goes to standard output, with --json -"),
        ("--json new --html new", "--json and --html both write 'new': give two files"),
        ("--json new --report html=./new", "--json and --report html both write 'new'"),
        ("--report json=folder", "--report json: cannot write 'folder'"),
        ("--report jsn=x", "unknown reporter 'jsn': choose from html, json"),
        ("--report json", "is not NAME=FILE; write it like json=FILE"),
        ("--device cuda", "--device means nothing without --lane measure: add it, or leave"),
        ("--device cpu", "--device means nothing without --lane measure"),
        ("--lane measure --device tpu", f"--device 'tpu': {CHOOSE}"),
        ("--lane measure --device rocm", f"--device 'rocm': {CHOOSE}; torch calls AMD's devices"),
        ("--lane gpu", "unknown lane 'gpu': choose from measure, shadow"),
        ("--unexplained 1KiB", "--unexplained means nothing without --lane measure"),
        ("--repeat 1", "--repeat means nothing without --lane measure"),
        ("--lane measure --repeat 0", "--repeat '0': "),
        ("--lane measure --unexplained many", "--unexplained: not an amount of bytes: 'many'"),
        ("--file oom-laws.toml", "--file means nothing without --locked"),
        ("--locked --file none.toml", "none.toml"),
        ("--locked --target cpu --target MI325X", "one target here, not cpu and MI325X"),
        ("--safety --lane shadow", "--lane means nothing with --safety"),
        ("--safety --set num_blocks=4", "--set means nothing with --safety"),
        ("--safety --html new", "--html means nothing with --safety"),
        ("--safety --file a.toml", "--file means nothing with --safety"),
        (f"--set num_tokens={LONG}", f"num_tokens is {LONG}: choose at most 1,099,511,627,776"),
        ("--set num_tokens=1 --set num_tokens=1", "--set gives num_tokens twice, as 1 and 1"),
        ("--set num_tokens=-4", "num_tokens is -4: choose a whole number of at least 1"),
        ("--set num_tokens=0", "num_tokens is 0: choose a whole number of at least 1"),
        ("--set num_tokens=1e6", "'1e6' is not a whole number; write it like"),
        ("--set num_tokens", "is not AXIS=VALUE; write it like --set num_blocks=512"),
        ("--set num_token=1", "unknown axis 'num_token'"),
        ("--budget 12", "'12' has no unit: write 12GiB or 12MiB, or 12B for bytes"),
        ("--budget MI325X:12", "'12' has no unit"),
        ("--budget -5GiB", "unknown budget '-5GiB': give a device"),
        ("--budget nan", "unknown budget 'nan': give a device"),
        ("--memory-limit 0", "--memory-limit '0' leaves nothing to run in: give some"),
        ("--memory-limit 2", "--memory-limit: '2' has no unit"),
        ("--memory-limit -1GiB", "--memory-limit: not an amount of bytes: '-1GiB'"),
        ("--time-limit nan", "--time-limit 'nan': "),
        ("--time-limit inf", "--time-limit inf: give at most 604,800 seconds, a week"),
        ("--time-limit soon", "--time-limit 'soon': "),
        ("--time-limit -1", "--time-limit '-1': "),
        ("--scenario small --scenario production", "--scenario is given 2 times, and takes one"),
        ("--target MI325", "unknown target 'MI325'"),
        ("--jsn new", "No such option: --jsn"),
        ("ful_dequant", "unknown subject 'ful_dequant'"),
        ("full_dequant --stub flashinfer", "--stub flashinfer means nothing for full_dequant"),
    ],
    "compare": [
        ("old.json", "Missing argument 'NEW.json'; see oom-suite compare --help"),
        ("old.json none.json", "cannot read results from 'none.json': No such file"),
        ("old.json folder", "cannot read results from 'folder': Is a directory"),
    ],
    "conformance": [
        ("--device tpu", f"--device 'tpu': {CHOOSE}"),
        ("--out folder", "--out: cannot write 'folder'"),
        ("--limit-s nan", "--limit-s 'nan': "),
        ("--against none.json", "--against none.json: No such file"),
        ("--against old.json", "--against old.json: no run of oom-suite conformance (KeyError"),
        ("--against none.json --device cuda", "--device: the file of --against was measured"),
    ],
    "covers": [
        ("--target MI325X vllm==0.20.0", "profile run of a release on rocm '0.20.0': choose from"),
        ("--target generic vllm==0.33.0", "the profile run of vllm==0.33.0 is known on cuda and"),
        ("--target MI325X vllm==0.33.0 --model gpt2", "unknown model 'gpt2': choose from deepseek"),
        ("--target MI325X vllm==0.33.0 --max-model-len 3", "should be greater than or equal to"),
        ("--target MI325X vllm==0.33.0 --step decod", "unknown step"),
        ("--target MI325X vllm==0.33.0 --profile-bytes lots", "not an amount of bytes: 'lots'"),
        ("--target MI325X vllm==0.33.0 --json folder", "--json: cannot write 'folder'"),
    ],
    "doctor": [
        ("--json folder", "--json: cannot write 'folder'"),
        ("--json /nonexistent/x", "there is no folder '/nonexistent'"),
        ("cuda", "unexpected extra argument"),
    ],
    "history": [
        ("--since soon", "--since 'soon' is no date: write it like 2026-11-28"),
        ("--store nosuch://h/d", "the store nosuch://h/d cannot be used: give a file, sqlite:///"),
        ("--store none.db", "nothing is recorded in "),
    ],
    "law": [
        ("", "Missing argument 'SUBJECT'; see oom-suite law --help"),
        ("full_dequant streaming", "unexpected extra argument"),
        ("full_dequant --html nowhere/x", "there is no folder"),
        ("full_dequant --set num_tokens=two", "'two' is not a whole number"),
    ],
    "lock": [
        ("--file folder", "--file: cannot write 'folder': it is a folder"),
        ("--file nowhere/laws.toml", "there is no folder"),
        ("--time-limit 1e9", "--time-limit 1e+09: give at most 604,800 seconds"),
    ],
    "measure": [
        ("--device tpu", f"--device 'tpu': {CHOOSE}"),
        ("--device cuda:x", f"--device 'cuda:x': {CHOOSE}"),
        ("--grid --set num_tokens=1", "--set means nothing with --grid, which has its own sizes"),
        ("--repeat two", "--repeat 'two': "),
        ("--json folder", "--json: cannot write 'folder'"),
    ],
    "probe": [
        ("", "give a subject, or a test by --test FILE::TEST"),
        ("full_dequant --expect maybe", "unknown --expect 'maybe': choose from bad, good"),
        ("full_dequant --file a.toml", "--file 'a.toml' names the lockfile of --locked"),
        ("full_dequant --time-limit nan", "--time-limit 'nan': "),
        ("full_dequant --jsn new", "No such option: --jsn"),
    ],
    "ranks": [
        ("--json folder", "--json: cannot write 'folder'"),
        ("--device npu", f"--device 'npu': {CHOOSE}"),
        ("--heads-total 0", "--heads-total '0': "),
    ],
    "record": [
        ("none.json", "cannot read results from 'none.json': No such file or directory"),
        ("none*.json", "no file is like 'none*.json': give files that --json wrote"),
        ("folder", "cannot read results from 'folder': Is a directory"),
    ],
    "replay": [
        ("--device cpu --by limit", "--by means nothing with --device cpu"),
        ("--device cpu --snapshot new", "--snapshot 'new': only a GPU's allocator has one"),
        ("--device cuda --snapshot old.json/x", "old.json' is no folder; give another"),
        ("--headroom 12", "--headroom: '12' has no unit"),
        ("--headroom lots", "--headroom: not an amount of bytes: 'lots'"),
        ("--json folder", "--json: cannot write 'folder'"),
    ],
    "sanitize": [
        ("full_dequant --tool memchek", "unknown tool 'memchek'"),
        ("full_dequant --workload decod", "unknown workload 'decod'"),
        ("full_dequant --json folder", "--json: cannot write 'folder'"),
    ],
    "scan": [
        ("streaming --every", "--every means nothing without --since"),
        ("vllm==0.33.0 --since vllm@.", "--since vllm@. is no release: with --since give two"),
        ("vllm==0.21.0 --since vllm==0.33.0", "is no earlier release than vllm==0.21.0: exchange"),
        ("vllm==0.33.0 sglang==0.5.23 --since vllm==0.21.0", "--since compares with one subject"),
        ("streaming --workload indexer-logits", "streaming has code for decode, decode-swa, not"),
        ("streaming --workload decod", "unknown workload 'decod'"),
        ("streaming --jobs 0", "--jobs '0': "),
        ("streaming --shard 5/4", "--shard '5/4': give I/N, the I-th of N shares, as 1/4 to 4/4"),
        ("streaming --shard 0/4", "--shard '0/4': give I/N, the I-th of N shares"),
        ("streaming --shard half", "--shard 'half': give I/N, the I-th of N shares"),
        ("old.json --merge", "'old.json' is no shard of a scan: give files of oom-suite scan"),
        ("none.json --merge", "cannot read 'none.json': No such file or directory"),
        ("old.json --merge --jobs 2", "--jobs means nothing with --merge, which runs nothing"),
        ("old.json --merge --scheduler tcp://a:1", "--scheduler means nothing with --merge, which"),
        ("streaming --scheduler tcp://a:1 --jobs 2", "--jobs means nothing with --scheduler, "),
        ("streaming --scheduler a:1", "--scheduler 'a:1': give the address of a Dask scheduler, "),
        (
            "streaming --scheduler tcp://a",
            "'tcp://a': give the address of a Dask scheduler",
        ),
        ("old.json --merge --resume", "--resume means nothing with --merge, which runs nothing"),
        ("streaming --resume", "--resume goes on with the rows of a file: add --json FILE"),
        ("streaming --resume --json -", "--resume goes on with the rows of a file: add --json"),
        ("streaming --resume --json old.json", "'old.json' is no file of oom-suite scan --json"),
        ("streaming --json folder", "--json: cannot write 'folder'"),
    ],
    "selfcheck": [
        ("--device cuda:1", "choose cpu or cuda"),
        ("--half third", "unknown half 'third': choose from long, quick"),
        ("--only nothing", "unknown group 'nothing'"),
        ("--json folder", "--json: cannot write 'folder'"),
    ],
}
"""By command: what is wrong, and what the line says of it."""

CODES = {"probe": 125}
"""git takes 2 for *bad*: what it runs says of no commit that, but by a verdict."""

CASES = [(f"{name} {words}".strip(), said) for name, rows in BAD.items() for words, said in rows]


@pytest.fixture
def refused(suite, tmp_path, monkeypatch):
    """Runs a command in a folder with a file of results; starting a process fails the test.

    git may be asked where a search stands.
    """
    start = subprocess.Popen

    def started(words, *others, **options):
        if isinstance(words, list) and words[0].endswith("/git"):
            return start(words, *others, **options)
        raise AssertionError(f"a process was started: {words} {options}")

    # What other tests ran is not remembered here: it would be answered without a process.
    monkeypatch.setattr(session, "Respawning", Respawning)
    monkeypatch.setattr(child, "_start", started)
    monkeypatch.setattr(subprocess, "Popen", started)
    (tmp_path / "folder").mkdir()
    (tmp_path / "old.json").write_text('{"results": [], "environment": {}}', encoding="utf-8")
    return suite


def test_every_command_is_given_something_bad():
    """Three things each at least, and sixty in all."""
    assert set(BAD) == set(typer.main.get_command(_with_plugins()).commands)
    assert min(len(rows) for rows in BAD.values()) >= 3
    assert len(CASES) >= 60


@pytest.mark.parametrize(("words", "said"), CASES, ids=[words for words, _ in CASES])
def test_bad_input_is_one_line_at_once(refused, tmp_path, words, said):
    """It names what was wrong; no process is started, no file is made, and none is changed."""
    there = sorted(tmp_path.iterdir())
    done = refused(*words.split())
    (line,) = done.stderr.splitlines()
    assert (CODES.get(words.split()[0], 2), "") == (done.returncode, done.stdout)
    assert line.startswith("oom-suite: ")
    assert said in line
    assert there == sorted(tmp_path.iterdir())
    assert '{"results": [], "environment": {}}' == (tmp_path / "old.json").read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--scenario prodution", "did you mean 'production'?"),
        ("--set num_tokens=1 --set num_tokens=2", "--set gives num_tokens twice"),
        ("--budget 12", "'12' has no unit"),
    ],
)
def test_what_depends_on_the_commit_is_no_verdict_on_it(refused, words, said):
    """Another commit may have that scenario or axis: git is told to pass this one over."""
    done = refused("probe", "full_dequant", *words.split())
    (line,) = done.stdout.splitlines()
    assert (125, "") == (done.returncode, done.stderr)
    assert line.startswith("INCONCLUSIVE ")
    assert said in line


@pytest.mark.parametrize("words", ["chek", "--versoin", "check --help=no"])
def test_what_is_no_command_at_all_is_one_line(refused, words):
    done = refused(*words.split())
    (line,) = done.stderr.splitlines()
    assert (2, "") == (done.returncode, done.stdout)
    assert line.endswith(" --help")


@pytest.mark.usefixtures("without_plotly")
@pytest.mark.parametrize("words", ["check", "law full_dequant"])
def test_a_page_is_refused_at_once_where_it_could_not_be_made(refused, words):
    """Not after the work, when nothing of it could be shown."""
    done = refused(*words.split(), "--html", "new.html")
    expected = (
        "oom-suite: --html: an HTML page needs plotly, which is not installed: "
        "pip install oom-suite[report]\n"
    )
    assert (2, "", expected) == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    "words",
    [
        "check full_dequant --lane measure --device cpu --unexplained 0 --repeat 1 -q",
        "check full_dequant --budget free --device cpu",
        "check full_dequant --safety --device cpu --json new.json",
        "check full_dequant --budget 12B",
        "check full_dequant --budget 1048576",
        "check full_dequant --set num_blocks=1099511627776",
        "check full_dequant --time-limit 604800",
    ],
)
def test_what_means_something_is_begun(refused, words):
    """The same options where they have an effect, and values at the very edge."""
    with pytest.raises(AssertionError, match="a process was started"):
        refused(*words.split())
