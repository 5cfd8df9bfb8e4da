"""Templates and expressions as they stand in a file: compiled, and able to say where in it a word is."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cozy.dsl.diagnostics import Diagnostic, Place, error, warning
from cozy.dsl.parse import Document, KeyPath
from cozy.stages.template_errors import BadTemplate
from cozy.stages.template_tree import ITEM, Reference
from cozy.stages.templates import SECTION_VARIABLES, VARIABLES, Expression, Template

PERSONAL_TEXT = frozenset(VARIABLES)
"""A personality's own templates see parts of the context under their names."""
STAGE_TEXT = PERSONAL_TEXT.difference(SECTION_VARIABLES)


@dataclass(frozen=True, slots=True)
class Text:
    """A template or an expression, and its place."""

    name: str
    """As messages call it: `ask`, `when`, `voice.prompt` …"""
    compiled: Template | Expression
    document: Document
    path: KeyPath
    taken: frozenset[str] = STAGE_TEXT
    """Names that mean something else here than a stage of that id."""

    @property
    def stages(self) -> frozenset[str]:
        """Names that mean a stage, if there is one."""
        return self.compiled.names - self.taken

    def variable(self, reference: Reference) -> Place:
        """Where the template names it."""
        return self.word(reference.name, reference.line)

    def field(self, reference: Reference, field: str) -> Place:
        """Where the template reads one of its fields."""
        return self.word(f".{field}", reference.line, len(field))

    def value(self, reference: Reference) -> Place:
        """The variable and its fields, as they are written; of an item in a loop, its last field."""
        whole = ".".join((reference.name, *reference.fields))
        if whole in self._line(reference.line) or not reference.fields:
            return self.word(whole, reference.line)
        named = [field for field in reference.fields if field != ITEM]
        return self.field(reference, named[-1]) if named else self.variable(reference)

    def word(self, word: str, line: int, last: int | None = None) -> Place:
        """Where a word stands in a line of it; only its `last` characters, if given."""
        place = self.document.inside(self.path, line, word if word in self._line(line) else "")
        if last is None or place.length != len(word):
            return place
        return replace(place, column=place.end - last, length=last)

    def _line(self, number: int) -> str:
        lines = self.compiled.source.split("\n")
        return lines[number - 1] if number <= len(lines) else ""


def read_text(
    name: str,
    source: str,
    document: Document,
    path: KeyPath,
    *,
    expression: bool = False,
    taken: frozenset[str] = STAGE_TEXT,
) -> tuple[Text | None, list[Diagnostic]]:
    """The text compiled, or what is wrong with it by itself."""
    where = f"{document.name}: {'.'.join(map(str, path))}"
    try:
        compiled = Expression(source, where) if expression else Template(source, where)
    except BadTemplate as bad:
        place = document.inside(path, bad.line, bad.needle)
        others = _full_width(name, source, document, path)
        if expression and "{" in bad.needle:
            bare = source.strip().removeprefix("{{").removesuffix("}}").strip("- \n")
            example = 'turn.channel == "voice"' if "{" in bare else bare
            hint = f"`{name}` is an expression by itself: `{name}: {example}`"
            return None, [error("CZ086", f"`{name}` takes no braces", place, hint)]
        return None, [error("CZ082", f"`{name}`: {bad.message}", place, bad.hint), *others]
    return Text(name, compiled, document, path, taken), _full_width(name, source, document, path)


def _full_width(name: str, source: str, document: Document, path: KeyPath) -> list[Diagnostic]:
    """Braces of a Chinese keyboard look like a template's, and are words to it."""
    for number, line in enumerate(source.split("\n"), 1):
        for braces, meant in (("｛｛", "{{"), ("｛%", "{%"), ("｛％", "{%")):
            if braces in line:
                message = f"`{name}`: `{braces}` is plain text to a template"
                place = document.inside(path, number, braces)
                return [warning("CZ069", message, place, f"write the ASCII `{meant}`")]
    return []
