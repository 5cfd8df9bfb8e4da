"""The sandboxed Jinja environment that prompts, contexts and `when:` share.

Everything is compiled at startup. A template sees values, never functions with effects: the environment is
jinja2's immutable sandbox, without loaders.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import compress
from typing import Any, Literal

from jinja2 import ChainableUndefined, TemplateError, TemplateSyntaxError, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from cozy.errors import TemplateFailed, did_you_mean
from cozy.stages.template_errors import BadTemplate, in_our_words
from cozy.stages.template_tree import Condition, Reference, condition, outcomes, references

# what templates may name beside the stages of their pipeline; how steady each is decides where it may stand
Steadiness = Literal["stable", "slow", "turn"]
VARIABLES: dict[str, Steadiness] = {
    "personality": "stable",
    "tools": "stable",
    "language": "stable",
    "channel": "stable",
    "profile": "slow",
    "summary": "slow",
    "history": "turn",
    "memory": "turn",
    "knowledge": "turn",
    "now": "turn",
    "message": "turn",
    "turn": "turn",
}
SECTION_VARIABLES: tuple[Literal["history", "summary", "profile", "memory", "knowledge"], ...] = (
    "history",
    "summary",
    "profile",
    "memory",
    "knowledge",
)
"""Variables that hold a ContextPart; known in `prompt` and `context` only."""

_OPEN, _MIDDLE, _CLOSE = "\ue000", "\ue001", "\ue002"

LONGEST_REPEAT = 100_000
"""How long a list or a text may become by `*`."""


class _Environment(ImmutableSandboxedEnvironment):
    """Computes nothing without bounds, neither in a turn nor while it folds constants at startup."""

    intercepted_binops: frozenset[str] = frozenset({"*", "**"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**":
            raise SecurityError("there is no `**` in templates")
        for times, what in ((left, right), (right, left)):
            if isinstance(times, int) and hasattr(what, "__len__") and times * len(what) > LONGEST_REPEAT:
                raise SecurityError("`*` would make a text that is too long")
        return super().call_binop(context, operator, left, right)


def _environment() -> _Environment:
    environment = _Environment(undefined=ChainableUndefined, keep_trailing_newline=True)
    # each of these would give two turns different prompts, or hide what a prompt holds
    for name in ("random", "pprint"):
        environment.filters.pop(name)
    for name in ("lipsum", "cycler", "joiner"):
        environment.globals.pop(name)
    return environment


_ENVIRONMENT = _environment()


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a rendered template: its own words, or what one expression gave."""

    text: str
    expression: str | None
    line: int


def _parse(source: str) -> tuple[nodes.Template, tuple[Reference, ...]]:
    """The tree, and what it takes from outside."""
    try:
        tree = _ENVIRONMENT.parse(source)
        named = references(tree, frozenset(_ENVIRONMENT.globals))
    except TemplateSyntaxError as error:
        raise in_our_words(error.message or "", error.lineno, source) from None
    except RecursionError:
        raise BadTemplate(1, "the template is nested too deeply") from None
    for node in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends, nodes.Block)):
        tag = re.sub(r"(?<!^)(?=[A-Z])", " ", type(node).__name__).lower()
        raise BadTemplate(node.lineno, "a template cannot load another one, or be one's frame", tag)
    for node in tree.find_all((nodes.Filter, nodes.Test)):
        kind, known = (
            ("test", _ENVIRONMENT.tests) if isinstance(node, nodes.Test) else ("filter", _ENVIRONMENT.filters)
        )
        if node.name not in known:  # jinja2 itself leaves some of them to the turn
            raise BadTemplate(
                node.lineno, f"there is no {kind} `{node.name}`", node.name, did_you_mean(node.name, known)
            )
    for node in tree.find_all(nodes.Pow):
        raise BadTemplate(node.lineno, "there is no `**` in templates", "**")
    return tree, named


class Template:
    """A compiled template. Compiling raises BadTemplate, rendering TemplateFailed."""

    def __init__(self, source: str, name: str) -> None:
        self.source = source
        self.name = name
        """How an error names it: `personalities/mia.yaml: prompt`."""
        self._constant = None if "{" in source else _tidy(source)
        self.references, self._template = _program(source)
        self.names = frozenset(r.name for r in self.references)

    def render(self, variables: Mapping[str, Any]) -> str:
        """The text, without white space around it or more than one blank line in a row within it."""
        if self._constant is not None:
            return self._constant
        try:
            return _tidy(self._template.render(variables))
        except (TemplateError, ArithmeticError, TypeError, ValueError, LookupError) as error:
            raise TemplateFailed(
                f"{self.name}: {error}", hint="try the values with `cozy render PERSONALITY TEXT`"
            ) from error

    @cached_property
    def _spanned(self) -> tuple[Any, list[tuple[str | None, int]]]:
        """The same template with each expression's output between marks, and what the marks stand for."""
        tree, _ = _parse(self.source)
        sources: list[tuple[str | None, int]] = []
        lines = self.source.splitlines()
        computed = (nodes.AssignBlock, nodes.Macro, nodes.CallBlock, nodes.FilterBlock)
        read = {id(o) for block in tree.find_all(computed) for o in block.find_all(nodes.Output)}
        for output in tree.find_all(nodes.Output):
            if id(output) in read:  # the template goes on to compute with this text: no marks in it
                continue
            for i, node in enumerate(output.nodes):
                own = isinstance(node, nodes.TemplateData)
                sources.append((None if own else _expression_source(lines, node), node.lineno))
                head = nodes.Const(f"{_OPEN}{len(sources) - 1}{_MIDDLE}")
                output.nodes[i] = nodes.Concat([head, node, nodes.Const(_CLOSE)])
        return _compiled(tree, self.source), sources

    def spans(self, variables: Mapping[str, Any]) -> list[Span]:
        """What `render` gives, in pieces, each with the expression it came from."""
        text = self.render(variables)
        whole = [Span(text, None, 1)] if text else []
        if self._constant is not None:
            return whole
        template, sources = self._spanned
        try:
            spans = _tidied(list(_split(template.render(variables), sources)))
        except (TemplateError, ArithmeticError, TypeError, ValueError, LookupError):
            return whole
        # to be sure: a text that marks have changed is shown without them
        return spans if "".join(span.text for span in spans) == text else whole


@lru_cache(
    maxsize=2048
)  # many personalities share a pipeline, and the check has compiled what the engine runs
def _program(source: str) -> tuple[tuple[Reference, ...], Any]:
    """What a template takes from outside, and its code."""
    if "{" not in source:
        return (), None
    tree, named = _parse(source)
    return named, _compiled(tree, source)


def _compiled(tree: nodes.Template, source: str) -> Any:
    try:
        code = _ENVIRONMENT.compile(tree)
    except TemplateSyntaxError as error:
        raise in_our_words(error.message or "", error.lineno, source) from None
    except SyntaxError as error:
        raise BadTemplate(1, f"the template does not compile: {error.msg}") from None
    return _ENVIRONMENT.template_class.from_code(_ENVIRONMENT, code, _ENVIRONMENT.make_globals(None))


_BLANK_LINES = re.compile(r"\n[ \t]*\n(?:[ \t]*\n)+")


def _tidy(text: str) -> str:
    return _BLANK_LINES.sub("\n\n", text).strip()


def _tidied(spans: list[Span]) -> list[Span]:
    """The spans without what `_tidy` would take out of their text."""
    text = "".join(span.text for span in spans)
    keep = bytearray(b"\1") * len(text)
    for blank in _BLANK_LINES.finditer(text):
        keep[blank.start() + 1 : blank.end() - 1] = bytes(blank.end() - blank.start() - 2)
    keep[: len(text) - len(text.lstrip())] = bytes(len(text) - len(text.lstrip()))
    keep[len(text.rstrip()) :] = bytes(len(text) - len(text.rstrip()))
    kept: list[Span] = []
    at = 0
    for span in spans:
        end = at + len(span.text)
        if left := "".join(compress(span.text, keep[at:end])):
            kept.append(replace(span, text=left))
        at = end
    return kept


def _expression_source(lines: list[str], node: nodes.Expr) -> str:
    """The expression as the author wrote it, as near as its line tells; else its first name."""
    line = lines[node.lineno - 1] if node.lineno <= len(lines) else ""
    written = re.findall(r"{{-?\s*(.*?)\s*-?}}", line)
    names = [n.name for n in (node, *node.find_all(nodes.Name)) if isinstance(n, nodes.Name)]
    names += [n.attr for n in (node, *node.find_all(nodes.Getattr)) if isinstance(n, nodes.Getattr)]
    for text in written if names else ():
        if all(re.search(rf"\b{re.escape(name)}\b", text) for name in names):
            return text
    return next(iter(names), written[0] if len(written) == 1 else "")


def _split(text: str, sources: list[tuple[str | None, int]]) -> Iterator[Span]:
    """The text between marks; where marks stand within marks, the outermost count."""
    depth, index = 0, 0
    for piece in re.split(f"({_OPEN}[0-9]+{_MIDDLE}|{_CLOSE})", text):
        if piece.startswith(_OPEN) and piece.endswith(_MIDDLE):
            depth += 1
            if depth == 1:
                index = int(piece[1:-1])
        elif piece == _CLOSE:
            depth -= 1
        elif piece:
            yield Span(piece, *(sources[index] if depth > 0 else (None, 1)))


_FAILURES = (TemplateError, ArithmeticError, TypeError, ValueError, LookupError)


class Expression:
    """A compiled `when:` or `top_k:`. Compiling raises BadTemplate, evaluating TemplateFailed."""

    def __init__(self, source: str, name: str) -> None:
        self.source = source
        self.name = name
        self.references, self.condition, self.outcomes, self._evaluate = _test(source)
        self.names = frozenset(r.name for r in self.references)

    def holds(self, variables: Mapping[str, Any]) -> bool:
        """Whether it is true of these values."""
        try:
            return bool(self._evaluate(variables))
        except _FAILURES as error:
            raise TemplateFailed(f"{self.name}: `{self.source}`: {error}") from error

    def count(self, variables: Mapping[str, Any], most: int) -> int:
        """The whole number from 1 to `most` that it gives; raises TemplateFailed for anything else."""
        try:
            given = self._evaluate(variables)
            if _is_count(given, most):
                return int(given)
            shown = _shown(given)
        except _FAILURES as error:
            raise TemplateFailed(f"{self.name}: `{self.source}`: {error}") from error
        raise TemplateFailed(
            f"{self.name}: `{self.source}` gives {shown}, not a whole number from 1 to {most}",
            hint="try the values with `cozy render PERSONALITY TEXT`",
        )

    def miscounts(self, most: int) -> list[str]:
        """What some of its branches give instead of a whole number from 1 to `most`."""
        return [_shown(given) for given in self.outcomes if not _is_count(given, most)]


def _is_count(given: object, most: int) -> bool:
    """Whether it is a whole number from 1 to `most`."""
    return isinstance(given, int | float) and not isinstance(given, bool) and given in range(1, most + 1)


def _shown(given: object) -> str:
    if isinstance(given, str):
        return repr(given[:40])
    return "nothing" if given is None else str(given)[:40] or "nothing"


@lru_cache(maxsize=2048)
def _test(source: str) -> tuple[tuple[Reference, ...], Condition, tuple[object, ...], Any]:
    """What an expression takes from outside, when it holds, what its branches give, and its code."""
    if "{{" in source or "{%" in source:
        raise BadTemplate(
            1, "expected an expression without braces around it", source[source.index("{") :][:2]
        )
    try:
        tree, named = _parse("{{ " + source + " }}")
    except BadTemplate as bad:
        message = bad.message.replace("`}}`", "the end of the expression")
        raise BadTemplate(bad.line, message, bad.needle, bad.hint) from None
    match tree.body:
        case [nodes.Output(nodes=[nodes.Expr() as expression])] if not isinstance(
            expression, nodes.TemplateData
        ):
            pass
        case _:
            raise BadTemplate(1, "expected one expression")
    try:
        run = _ENVIRONMENT.compile_expression(source, undefined_to_none=False)
        return named, condition(expression), tuple(outcomes(expression)), run
    except TemplateSyntaxError as error:
        raise in_our_words(error.message or "", error.lineno, source) from None
