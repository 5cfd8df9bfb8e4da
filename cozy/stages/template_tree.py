"""What a template says, read from its syntax tree: which values it names, and when a condition holds.

Only `cozy.stages.templates` hands out trees; what is read from them holds no jinja2 objects.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from jinja2 import nodes

ITEM = "[]"
"""Stands for an item of a list in a Reference's fields."""

# filters that give an item of what they are given, or the same kind of list again
_GIVE_AN_ITEM = frozenset({"first", "last", "max", "min"})
_GIVE_THE_LIST = frozenset(
    {"list", "reject", "rejectattr", "reverse", "select", "selectattr", "sort", "unique"}
)


@dataclass(frozen=True, slots=True)
class Reference:
    """A value that a template takes from outside: `snippet.text` in a loop over `knowledge` is the
    variable `knowledge` and the fields `[]` and `text`."""

    name: str
    fields: tuple[str, ...]
    line: int
    """Line within the template, from 1."""


# -- names ---------------------------------------------------------------------------------------------

_Chain = tuple[str, tuple[str, ...]]
"""A variable from outside and the fields read of it."""


def references(tree: nodes.Template, known: frozenset[str]) -> tuple[Reference, ...]:
    """Every value that is taken from outside, in the order of the text; `known` names are the
    environment's own."""
    walk = _Walk(known)
    for node in tree.body:
        walk.visit(node)
    return tuple(walk.found)


class _Walk:
    """Follows names through loops, `set` and `with`."""

    def __init__(self, known: frozenset[str]) -> None:
        self.found: list[Reference] = []
        # what a local name stands for: something from outside, or (None) something made in the template
        self.scopes: list[dict[str, _Chain | None]] = [dict.fromkeys(known)]

    def visit(self, node: nodes.Node) -> None:
        match node:
            case nodes.For():
                self._loop(node)
            case nodes.Assign():
                self._bind(node.target, self.value(node.node))
            case nodes.AssignBlock():
                for child in (node.filter, *node.body):
                    if child is not None:
                        self.visit(child)
                self._bind(node.target, None)
            case nodes.With():
                self._with(node)
            case nodes.Macro() | nodes.CallBlock():
                self._macro(node)
            case nodes.Expr():
                self.value(node)
            case _:
                self._children(node)

    def value(self, node: nodes.Node) -> _Chain | None:
        """What an expression stands for; notes it down."""
        chain = self._chain(node)
        if chain is not None:
            self.found.append(Reference(*chain, node.lineno))
        return chain

    def _chain(self, node: nodes.Node) -> _Chain | None:
        match node:
            case nodes.Name():
                return self._lookup(node.name)
            case nodes.Getattr():
                return _extended(self._chain(node.node), node.attr)
            case nodes.Getitem(arg=nodes.Const(value=str(field))):
                return _extended(self._chain(node.node), field)
            case nodes.Getitem(arg=nodes.Const(value=int())):
                return _extended(self._chain(node.node), ITEM)
            case nodes.Filter(node=nodes.Expr() as inner) if node.name in _GIVE_AN_ITEM | _GIVE_THE_LIST:
                for argument in (*node.args, *node.kwargs):
                    self.visit(argument)
                chain = self._chain(inner)
                return _extended(chain, ITEM) if node.name in _GIVE_AN_ITEM else chain
            case _:
                self._children(node)
                return None

    def _lookup(self, name: str) -> _Chain | None:
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        return name, ()

    def _children(self, node: nodes.Node) -> None:
        for child in node.iter_child_nodes():
            self.visit(child)

    def _bind(self, target: nodes.Node, chain: _Chain | None) -> None:
        if isinstance(target, nodes.Name):
            self.scopes[-1][target.name] = chain
        else:  # several at once: which takes what is not followed
            self.scopes[-1].update({name.name: None for name in target.find_all(nodes.Name)})

    def _loop(self, node: nodes.For) -> None:
        items = _extended(self.value(node.iter), ITEM)
        self.scopes.append({"loop": None})
        self._bind(node.target, items)
        for child in (node.test, *node.body):
            if child is not None:
                self.visit(child)
        self.scopes.pop()
        for child in node.else_:
            self.visit(child)

    def _with(self, node: nodes.With) -> None:
        chains = [self.value(value) for value in node.values]
        self.scopes.append({})
        for target, chain in zip(node.targets, chains, strict=True):
            self._bind(target, chain)
        for child in node.body:
            self.visit(child)
        self.scopes.pop()

    def _macro(self, node: nodes.Macro | nodes.CallBlock) -> None:
        if isinstance(node, nodes.Macro):
            self.scopes[-1][node.name] = None
        else:
            self.visit(node.call)
        for default in node.defaults:
            self.visit(default)
        own = ("caller", "varargs", "kwargs", *(argument.name for argument in node.args))
        self.scopes.append(dict.fromkeys(own))
        for child in node.body:
            self.visit(child)
        self.scopes.pop()


def _extended(chain: _Chain | None, field: str) -> _Chain | None:
    return None if chain is None else (chain[0], (*chain[1], field))


# -- conditions ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same at every turn."""

    holds: bool


@dataclass(frozen=True, slots=True)
class Truth:
    """Something that is true or false, and that is all that is known of it."""

    of: str


@dataclass(frozen=True, slots=True)
class OneOf:
    """Something equals one of some constants."""

    of: str
    """The compared expression; equal ones are written alike."""
    reference: Reference | None
    """The value that it is, where it is nothing but a value from outside."""
    values: frozenset[Hashable]


@dataclass(frozen=True, slots=True)
class Not:
    condition: Condition


@dataclass(frozen=True, slots=True)
class Both:
    left: Condition
    right: Condition


@dataclass(frozen=True, slots=True)
class Either:
    left: Condition
    right: Condition


Condition = Fixed | Truth | OneOf | Not | Both | Either


def condition(node: nodes.Expr) -> Condition:
    """An expression in the terms of logic; what has none is a Truth of its own."""
    match node:
        case nodes.Const(value=value):
            return Fixed(bool(value))
        case nodes.Not(node=inner):
            return Not(condition(inner))
        case nodes.And(left=left, right=right):
            return Both(condition(left), condition(right))
        case nodes.Or(left=left, right=right):
            return Either(condition(left), condition(right))
        case nodes.Compare(expr=left, ops=[nodes.Operand(op=op, expr=right)]):
            return _comparison(left, op, right)
        case nodes.CondExpr(test=test, expr1=then, expr2=otherwise):
            asked = condition(test)
            without = condition(otherwise) if otherwise else Fixed(holds=False)
            return Either(Both(asked, condition(then)), Both(Not(asked), without))
        case _:
            return Truth(_subject(node)[0])


def outcomes(node: nodes.Expr | None) -> Iterator[object]:
    """The constants that the branches of an expression give; None where an `else` is missing."""
    match node:
        case nodes.CondExpr(expr1=then, expr2=otherwise):
            yield from outcomes(then)
            yield from outcomes(otherwise)
        case None:
            yield None
        case _:
            with suppress(nodes.Impossible):
                yield node.as_const()


def _subject(node: nodes.Expr) -> tuple[str, Reference | None]:
    """One name for expressions that mean the same, and the value from outside that it is, if no more."""
    if isinstance(node, (nodes.Name, nodes.Getattr, nodes.Getitem)):
        walk = _Walk(frozenset())
        reference = walk.value(node) and walk.found[-1]
        if reference and len(walk.found) == 1:
            return ".".join((reference.name, *reference.fields)), reference
    return repr(node), None


def _comparison(left: nodes.Expr, op: str, right: nodes.Expr) -> Condition:
    if op in ("ne", "notin"):
        return Not(_comparison(left, {"ne": "eq", "notin": "in"}[op], right))
    if op == "eq" and isinstance(left, nodes.Const):
        left, right = right, left
    constants = frozenset(_constants(right, op))
    if not constants:
        return Truth(f"{left!r} {op} {right!r}")
    subject, reference = _subject(left)
    return OneOf(subject, reference, constants)


def _constants(node: nodes.Expr, op: str) -> Iterator[Hashable]:
    """The constants that `==` or `in` compares with; none where there is anything else among them."""
    if op == "eq" and isinstance(node, nodes.Const):
        yield node.value
    elif op == "in" and isinstance(node, (nodes.Tuple, nodes.List)):
        items = [item.value for item in node.items if isinstance(item, nodes.Const)]
        if len(items) == len(node.items):
            yield from items
