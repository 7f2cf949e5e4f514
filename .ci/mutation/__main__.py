"""Mutation testing of the folders that judge: cosmic-ray's mutants against this repository's tests.

    tox -e mutation -- allocator --sample 60 --seed 1
    python .ci/mutation laws safety --jobs 16

`docs/mutation.md` says how it works, and what it last found.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from choice import Seen, parts
from cosmic_ray.work_db import use_db
from cosmic_ray.work_item import TestOutcome, WorkerOutcome
from folders import EXPLAINED, FOLDERS, holders, sources
from mutants import draw, offer_operators
from runs import TIMED_OUT, baseline, begin, judge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cosmic_ray.work_db import WorkDB
    from cosmic_ray.work_item import WorkItem, WorkResult

ROOT = Path(__file__).parents[2]


@dataclass
class Score:
    """What became of a folder's mutants.

    Attributes:
        num_mutants: how many there are.
        counts: of those tried: killed, timed out, survived, explained.
        survivors: a report of each that no test noticed, and no row of the docs explains.
    """

    num_mutants: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    survivors: list[str] = field(default_factory=list)

    @property
    def tried(self) -> int:
        """How many were tried."""
        return sum(self.counts.values())

    def share(self, *kinds: str) -> float:
        """The part of those tried that these kinds are, in percent."""
        return 100 * sum(self.counts[kind] for kind in kinds) / max(1, self.tried)


def main() -> int:
    """Run what the command line asks for; 1 where a survivor is left unexplained."""
    options = _options()
    os.chdir(options.root)
    explained = set(_explained(Path(EXPLAINED)))
    scores = {}
    with tempfile.TemporaryDirectory(prefix="oom-mutation-") as copies:
        os.environ["OOM_MUTATION_COPIES"] = copies
        for name in options.folders:
            scores[name] = _try_folder(name, options, explained)
    for score in scores.values():
        print(*score.survivors, sep="\n")
    print(_table(scores))
    return int(any(score.survivors for score in scores.values()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mutation", description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help=", ".join(FOLDERS))
    parser.add_argument("--sample", type=int, help="mutants of each folder; all by default")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--jobs", type=int, default=1, help="mutants tried at once")
    parser.add_argument(
        "--again", action="store_true", help="only what survived the last run; sources as then"
    )
    parser.add_argument("--file", default="", help="only of source files whose path contains this")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to mutate")
    options = parser.parse_args()
    for name in options.folders:
        if name not in FOLDERS:
            parser.error(f"no folder {name}: choose from {', '.join(FOLDERS)}")
    options.folders = options.folders or list(FOLDERS)
    options.root = options.root.resolve()
    return options


def _try_folder(name: str, options: argparse.Namespace, explained: set[tuple[str, ...]]) -> Score:
    score, holding = Score(), holders(options.root, name)
    files = [file for file in sources(options.root, name) if options.file in str(file)]
    Path("results").mkdir(exist_ok=True)
    with use_db(f"results/mutation-{name}.sqlite") as work_db:
        if options.again:
            chosen = list(_survivors(work_db, score))
        else:
            chosen, score.num_mutants = draw(work_db, files, options.sample, options.seed)
        needed = {test for item in chosen for test in holding[_file(item)]}
        workers = ProcessPoolExecutor(
            options.jobs,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=begin,
            initargs=(options.root,),
        )
        with workers:
            seen = workers.submit(baseline, sorted(needed)).result() if needed else Seen()
            print(f"{name}: {len(chosen)} of {score.num_mutants} mutants", file=sys.stderr)
            waiting = {}
            for item in chosen:
                line = item.mutations[0].start_pos[0]
                tests = parts(_file(item), line, holding[_file(item)], seen)
                waiting[workers.submit(judge, item, tests)] = item
            for done in as_completed(waiting):
                _note(waiting[done], done.result(), work_db, score, explained)
    return score


def _survivors(work_db: WorkDB, score: Score) -> Iterator[WorkItem]:
    """What survived the last run; the rest of it is counted as it was."""
    offer_operators()
    for item, result in work_db.completed_work_items:
        score.num_mutants += 1
        if result.test_outcome is TestOutcome.SURVIVED:
            yield item
        else:
            score.counts["timed out" if result.output == TIMED_OUT else "killed"] += 1


def _file(item: WorkItem) -> Path:
    return item.mutations[0].module_path


def _note(
    item: WorkItem,
    result: WorkResult,
    work_db: WorkDB,
    score: Score,
    explained: set[tuple[str, ...]],
) -> None:
    work_db.set_result(item.job_id, result)
    if result.worker_outcome is not WorkerOutcome.NORMAL:
        message = f"{_file(item)}: {item.mutations[0].operator_name}: {result.output}"
        raise SystemExit(message)
    # Behind the two lines of a diff that name its files.
    mutation, lines = item.mutations[0], (result.diff or "").splitlines()[2:]
    changed = [line for line in lines if line[:1] in {"-", "+"}]
    kind = "timed out" if result.output == TIMED_OUT else "killed"
    if result.test_outcome is TestOutcome.SURVIVED:
        key = (str(_file(item)), *(_squeezed(line) for line in changed))
        kind = "explained" if key in explained else "survived"
    score.counts[kind] += 1
    place = f"{_file(item)}:{mutation.start_pos[0]} ({mutation.operator_name})"
    by = re.findall(r"^(?:FAILED|ERROR) (\S+)", result.output, flags=re.MULTILINE)
    print(f"  {kind:9} {place}", *by[:1], file=sys.stderr, flush=True)
    if kind == "survived":
        score.survivors.append("\n".join([place, *changed, ""]))


def _explained(page: Path) -> Iterator[tuple[str, ...]]:
    """The mutants that the page says are the same program: the file, and the changed lines."""
    rows = page.read_text(encoding="utf-8").splitlines() if page.exists() else []
    for row in rows:
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
        if len(cells) == 4 and cells[0].startswith("`oom_suite/"):
            file, before, after = (cell.strip("`").replace("\\|", "|") for cell in cells[:3])
            lines = [*_signed("-", before), *_signed("+", after)]
            yield (file, *(_squeezed(line) for line in lines))


def _signed(sign: str, code: str) -> list[str]:
    return [sign + line for line in code.split(" ⏎ ")]


def _squeezed(line: str) -> str:
    return line[:1] + " ".join(line[1:].split())


def _table(scores: Mapping[str, Score]) -> str:
    heads = ("folder", "mutants", "tried", "killed", "timed out", "explained", "survived")
    rows: list[Sequence[str]] = [(*heads, "killed %", "killed or explained %")]
    for name, score in scores.items():
        counts = [score.counts[kind] for kind in heads[3:]]
        shares = (score.share("killed", "timed out"), 100 - score.share("survived"))
        rows.append(
            (
                name,
                f"{score.num_mutants:,}",
                *map(str, (score.tried, *counts)),
                *(f"{share:.0f}" for share in shares),
            )
        )
    rows.insert(1, ["---", *["---:"] * (len(rows[0]) - 1)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    raise SystemExit(main())
