"""The mutants of a folder: cosmic-ray's and our own, filtered, and a sample that can be redrawn."""

from __future__ import annotations

import ast
import random
from collections import defaultdict
from typing import TYPE_CHECKING

from cosmic_ray import plugins
from cosmic_ray.commands.init import init
from operators import checked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cosmic_ray.work_db import WorkDB
    from cosmic_ray.work_item import WorkItem

    Position = tuple[int, int]

_CORE = (
    "AddNot",
    "ExceptionReplacer",
    "NumberReplacer",
    "ReplaceAndWithOr",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "ReplaceFalseWithTrue",
    "ReplaceOrWithAnd",
    "ReplaceTrueWithFalse",
    "ReplaceUnaryOperator_Delete_Invert",
    "ReplaceUnaryOperator_Delete_Not",
    "ReplaceUnaryOperator_Delete_USub",
    "ZeroIterationForLoop",
    *(
        f"ReplaceBinaryOperator_{pair}"
        for pair in (
            "Add_Sub", "Sub_Add", "Mul_FloorDiv", "Div_Mul", "FloorDiv_Mul", "Mod_Mul", "Pow_Mul",
            "LShift_RShift", "RShift_LShift", "BitOr_BitAnd", "BitAnd_BitOr", "BitXor_BitOr",
        )
    ),
    *(
        f"ReplaceComparisonOperator_{pair}"
        for pair in (
            "Eq_NotEq", "NotEq_Eq", "Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_LtE",
            "GtE_Gt", "GtE_Lt", "Is_IsNot", "IsNot_Is",
        )
    ),
)  # fmt: skip
"""Of cosmic-ray's operators those whose mutants a reader would call another program.

One or two replacements of each operator: the eleven of every ``+`` are killed by the same test.
`RemoveDecorator` is left out: without ``@dataclass`` nothing imports, without ``@cache`` all holds.
"""


def offer_operators() -> None:
    """Let cosmic-ray know the chosen operators, ours among them, and no others."""
    core = plugins.OPERATOR_PROVIDERS["core"]
    chosen = {name: core[name] for name in _CORE}
    plugins.OPERATOR_PROVIDERS = {"core": chosen, "own": checked()}


def draw(
    work_db: WorkDB, files: Sequence[Path], sample: int | None, seed: int
) -> tuple[list[WorkItem], int]:
    """Put the chosen mutants of these files into the session; they, and how many there are.

    Args:
        work_db: the session.
        files: source files, relative to the working directory.
        sample: how many to choose, in proportion to each file's places; None for all.
        seed: of the choice: the same files, sample and seed give the same mutants.
    """
    offer_operators()
    init(files, work_db, {})
    by_file: dict[Path, list[WorkItem]] = defaultdict(list)
    for item in sorted(work_db.work_items, key=_order):
        by_file[item.mutations[0].module_path].append(item)
    by_file = {file: list(_meaningful(file, items)) for file, items in by_file.items()}
    num_all = sum(map(len, by_file.values()))
    chosen = _sampled(by_file, num_all if sample is None else sample, seed)
    work_db.clear()
    work_db.add_work_items(chosen)
    return chosen, num_all


def _order(item: WorkItem) -> tuple[object, ...]:
    mutation = item.mutations[0]
    return (
        mutation.module_path.as_posix(),
        mutation.start_pos,
        mutation.operator_name,
        mutation.occurrence,
    )


def _sampled(by_file: dict[Path, list[WorkItem]], sample: int, seed: int) -> list[WorkItem]:
    """So many mutants, each file's share by its places, one at most at a place while they last."""
    pools = {}
    for file, items in by_file.items():
        chance = random.Random(f"{seed}:{file.as_posix()}")
        places: dict[Position, list[WorkItem]] = defaultdict(list)
        for item in items:
            places[item.mutations[0].start_pos].append(item)
        for one in places.values():
            chance.shuffle(one)
        rounds = max(map(len, places.values()), default=0)
        order = []
        for turn in range(rounds):
            here = [one[turn] for one in places.values() if turn < len(one)]
            chance.shuffle(here)
            order += here
        pools[file] = (len(places), order)
    num_places = sum(number for number, _ in pools.values())
    exact = {file: sample * number / max(1, num_places) for file, (number, _) in pools.items()}
    taken = {file: int(share) for file, share in exact.items()}
    by_rest = sorted(exact, key=lambda file: (taken[file] - exact[file], file.as_posix()))
    for file in by_rest[: sample - sum(taken.values())]:
        taken[file] += 1
    return [item for file, (_, order) in pools.items() for item in order[: taken[file]]]


def _meaningful(file: Path, items: Sequence[WorkItem]) -> Iterator[WorkItem]:
    """Those that change what runs: no annotation, import for types, ``__all__`` or `dataclass`."""
    spans = list(_unrun(ast.parse(file.read_text(encoding="utf-8"))))
    for item in items:
        position = item.mutations[0].start_pos
        if not any(first <= position < last for first, last in spans):
            yield item


def _unrun(tree: ast.AST) -> Iterator[tuple[Position, Position]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name):
            if node.test.id == "TYPE_CHECKING":
                yield _span(node)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            if node.targets[0].id == "__all__":
                yield _span(node)
        elif isinstance(node, ast.AnnAssign) or (isinstance(node, ast.arg) and node.annotation):
            yield _span(node.annotation)
        elif isinstance(node, ast.FunctionDef) and node.returns:
            yield _span(node.returns)
        elif isinstance(node, ast.ClassDef):
            # Whether a record can be changed, or has slots, is no behaviour.
            yield from map(_span, node.decorator_list)


def _span(node: ast.AST) -> tuple[Position, Position]:
    return (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)
