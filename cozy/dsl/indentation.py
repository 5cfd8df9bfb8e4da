"""Mistakes in how lines stand to one another: indentation, colons, dashes, keys twice."""

from __future__ import annotations

import re
from itertools import pairwise

from cozy.dsl.diagnostics import Related
from cozy.dsl.layout import Line
from cozy.dsl.page import At, Mistake, Page

_FULL_WIDTH = re.compile(r"\s*(?:-\s+)?[^\s：:#|>]{1,60}(：)")
_NO_SPACE = re.compile(r"\s*(?:-\s+)?([\w.-]{1,60}):(?=[^\s/:])")


def colon_typo(page: Page, line: int) -> Mistake | None:
    """The colon of Chinese keyboards, or a colon without its space."""
    text = page.lines[line]
    if match := _FULL_WIDTH.match(text):
        return page.mistake(
            "CZ008",
            "a full-width colon `：` does not end a key",
            (line, match.start(1)),
            hint="write an ASCII colon and a space: `: `",
            local=True,
        )
    if match := _NO_SPACE.match(text):
        return page.mistake(
            "CZ016",
            f"there is no space behind the colon of `{match[1]}`",
            (line, match.end(1)),
            hint=f"write `{match[1]}: `",
            local=True,
        )
    return None


def no_colon(page: Page, at: At) -> Mistake:
    line, column = at
    if typo := colon_typo(page, line):
        return typo
    above = page.structure(line - 1) if line else []
    hint = "a text that goes over several lines is indented below its key"
    if above and above[-1].opens_block and above[-1].key:
        hint = f"if it belongs to the text of `{above[-1].key}`, indent it"
    return page.mistake(
        "CZ016",
        "here should be `key: value`, and there is no colon",
        (line, column),
        len(page.rest(at)),
        hint=hint,
        local=True,
    )


def unexpected_colon(page: Page) -> Mistake:
    at = page.problem
    if before := re.match(r"(.*?:\s+)\S", page.before(at)):
        value = (at[0], before.end(1))
        return page.mistake(
            "CZ017",
            "a second `: ` in one line: a value that holds one needs quotes",
            at,
            hint=f"put the value in quotes: `{page.quoted(value)}`",
            local=True,
        )
    above = page.structure(at[0])
    for here in above[:-3:-1]:  # the line itself and the one above, which it may have been read on from
        if typo := colon_typo(page, here.index):
            return typo
    owner = next((x for x in reversed(above[:-1]) if x.key and x.level < above[-1].level), None)
    return _too_deep(page, above[-1], owner) if owner else no_colon(page, at)


def no_key(page: Page) -> Mistake:
    return page.mistake(
        "CZ016",
        "there is no key in front of this colon",
        page.problem,
        hint="a text that begins with a colon goes in quotes",
        local=True,
    )


def _too_deep(page: Page, here: Line, owner: Line) -> Mistake:
    return page.mistake(
        "CZ015",
        f"`{here.key}` is indented deeper than `{owner.key}`, which has a value already",
        (here.index, here.level),
        len(here.key or " "),
        hint=f"begin it in the column of `{owner.key}`, or put the value of `{owner.key}` in quotes",
    )


def between_levels(page: Page, at: At) -> Mistake:
    return page.mistake(
        "CZ015",
        "the indentation of this line fits none of the lines above",
        at,
        page.word(at),
        hint="keys that belong together begin in the same column; the lines of a text "
        "stay indented at least as far as its first",
    )


def uneven(page: Page) -> Mistake:
    """Mappings side by side that are indented differently: YAML allows it, the language does not."""
    at = page.context
    above = page.structure(at[0])
    parent = next((x for x in reversed(above) if x.level < at[1]), above[0])
    message = "this mapping is indented unlike the ones beside it"
    for other, child in pairwise(above[:-1]):
        if other.level == parent.level < child.indent:
            message = (
                f"what is in `{parent.key}` is indented by {at[1] - parent.level}, "
                f"what is in `{other.key}` by {child.indent - other.level}"
            )
            break
    return page.mistake(
        "CZ015",
        message,
        at,
        page.word(at),
        hint="mappings that stand side by side are indented alike; two spaces for each level is usual",
    )


def tab(page: Page) -> Mistake:
    at = page.problem
    if page.before(at).strip():
        return page.mistake(
            "CZ009", "a tab cannot stand here", at, hint="put spaces in its place", local=True
        )
    return page.mistake("CZ009", "a tab cannot indent", at, hint="indent with spaces, two for each level")


def duplicate(page: Page, at: At) -> Mistake:
    line, column = at
    *above, here = page.structure(line)
    key = here.key or ""
    related = ()
    for other in reversed(above):
        if other.level < column:
            break
        if other.level == column and other.key and other.key.strip("'\"") == key.strip("'\""):
            place = page.place((other.index, other.level), len(other.key))
            related = (Related("it is here already", place),)
            break
    return page.mistake(
        "CZ012",
        f"the key `{key}` is here twice",
        at,
        len(key),
        hint="keep one of them",
        related=related,
        local=True,
    )


def mixed(page: Page) -> Mistake:
    at = page.problem
    if page.rest(at).startswith("-"):
        message = "a list item stands among keys"
        hint = "items belong below a key, indented: `tools:`, then `  - calculator`"
    else:
        message = "a key stands among list items"
        hint = "begin it in the column of the key that it stands beside"
    return page.mistake("CZ026", message, at, page.word(at), hint=hint)


def item_beside_key(page: Page) -> Mistake:
    return page.mistake(
        "CZ026",
        "a list begins on the line below its key",
        page.problem,
        hint="move the item down, indented; a text that begins with `- ` goes in quotes",
        local=True,
    )


def second_document(page: Page) -> Mistake:
    line, _ = page.problem
    mark = next((i for i in range(line, -1, -1) if re.match(r"(---|\.\.\.)(\s|$)", page.lines[i])), None)
    if mark is None:
        first = page.structure(line)[0]
        if first.key is None:  # a text stands above the keys
            return no_colon(page, (first.index, first.indent))
        return between_levels(page, page.problem)
    return page.mistake(
        "CZ019",
        f"`{page.lines[mark][:3]}` ends the document: a file holds one",
        (mark, 0),
        3,
        hint="put the second one into a file of its own; in a text, indent the line",
    )
