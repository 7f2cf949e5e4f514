"""Mutations that cosmic-ray lacks: rows of tables, statements, min and max, membership.

Each operator has examples, which `checked` holds it to before a run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Example, Operator
from parso.python import tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    Span = tuple[tuple[int, int], tuple[int, int]]


class DropEntry(Operator):
    """Leaves out one entry of a written dict, set, list or tuple: a row of a table."""

    def mutation_positions(self, node: Any) -> Iterator[Span]:
        """The span of every entry, where there are two or more."""
        for entry in _entries(node):
            yield entry[0].start_pos, entry[-1].end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """The display without that entry; a comma after the last keeps a tuple one."""
        kept = _entries(node)
        del kept[index]
        commas = [[*entry, tree.Operator(",", entry[-1].end_pos)] for entry in kept]
        node.children[1].children = [child for entry in commas for child in entry]
        return node

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A dict's first row, and a tuple's last."""
        return (
            Example("x = {1: 2, 3: 4}", "x = { 3: 4,}"),
            Example("x = (a, *b)", "x = (a,)", occurrence=1),
        )


def _entries(node: Any) -> list[list[Any]]:
    """The nodes of each entry; none where it is no display, a comprehension, or one entry."""
    inner = node.children[1] if node.type == "atom" and len(node.children) == 3 else None
    if inner is None or inner.type not in {"testlist_comp", "dictorsetmaker"}:
        return []
    entries: list[list[Any]] = [[]]
    for child in inner.children:
        if child.type in {"comp_for", "sync_comp_for"}:
            return []
        if child == ",":
            entries.append([])
        else:
            entries[-1].append(child)
    found = [entry for entry in entries if entry]
    return found if len(found) > 1 else []


class DropStatement(Operator):
    """Leaves out a call, a raise, a deletion, or an assignment into something."""

    def mutation_positions(self, node: Any) -> Iterator[Span]:
        """The statement's span."""
        if node.type == "simple_stmt" and _is_effect(node.children[0]):
            yield node.children[0].start_pos, node.children[0].end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """``pass`` in its place."""
        del index
        dropped = node.children[0]
        prefix = dropped.get_first_leaf().prefix
        node.children[0] = tree.Keyword("pass", dropped.start_pos, prefix)
        return node

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A call, a raise, and an assignment to an item."""
        return (
            Example("def f():\n    x.clear()\n", "def f():\n    pass\n"),
            Example("raise E\n", "pass\n"),
            Example("x[0] = 1\n", "pass\n"),
            Example("x += 1\n", "pass\n"),
        )


def _is_effect(node: Any) -> bool:
    if node.type == "expr_stmt":
        return node.children[1].type != "annassign" and (
            node.children[1] != "=" or node.children[0].type in {"atom_expr", "power"}
        )
    if node.type in {"atom_expr", "power"}:
        return node.children[-1].type == "trailer" and node.children[-1].children[0] == "("
    return node.type in {"raise_stmt", "del_stmt"}


_OTHER = {"min": "max", "max": "min", "any": "all", "all": "any", "abs": ""}


class SwapCall(Operator):
    """``min`` for ``max``, ``any`` for ``all``, a number for its absolute value."""

    def mutation_positions(self, node: Any) -> Iterator[Span]:
        """The function's name where it is called, or given as an argument."""
        if node.type == "name" and node.value in _OTHER:
            before, after = node.get_previous_leaf(), node.get_next_leaf()
            is_called = after == "(" and before not in {".", "def"}
            if is_called:
                yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """The other function."""
        del index
        node.value = _OTHER[node.value]
        return node

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """One of each kind."""
        return (
            Example("x = min(a, b)", "x = max(a, b)"),
            Example("x = all(a)", "x = any(a)"),
            Example("x = abs(a)", "x = (a)"),
        )


class SwapMembership(Operator):
    """``in`` for ``not in``, in conditions."""

    def mutation_positions(self, node: Any) -> Iterator[Span]:
        """The operator's span."""
        for at in _memberships(node):
            yield node.children[at].start_pos, node.children[at].end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """The opposite condition."""
        at = _memberships(node)[index]
        there = node.children[at]
        other = "in" if there.type == "comp_op" else "not in"
        node.children[at] = tree.Keyword(other, there.start_pos, " ")
        return node

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Both ways."""
        return (Example("a in b", "a not in b"), Example("a not in b", "a in b"))


def _memberships(node: Any) -> list[int]:
    if node.type != "comparison":
        return []
    texts = [child.get_code().split() for child in node.children]
    return [at for at in range(1, len(texts), 2) if texts[at] in (["in"], ["not", "in"])]


OPERATORS = {one.__name__: one for one in (DropEntry, DropStatement, SwapCall, SwapMembership)}
"""The operators by name, as cosmic-ray looks a provider's up."""


def checked() -> dict[str, type[Operator]]:
    """The operators, after each has made of its examples what they say.

    Raises:
        SystemExit: one did not.
    """
    for name, operator in OPERATORS.items():
        for example in operator.examples():
            made = mutate_code(example.pre_mutation_code, operator(), example.occurrence)
            if made != example.post_mutation_code:
                message = f"{name} makes {made!r} of {example.pre_mutation_code!r}"
                raise SystemExit(message)
    return OPERATORS
