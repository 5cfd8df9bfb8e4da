"""What the YAML parser stumbled over, in words that help."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from cozy.dsl import indentation
from cozy.dsl.layout import Line, first_duplicate
from cozy.dsl.page import At, Complaint, Mistake, Page


def explained(complaint: Complaint, lines: Sequence[str], name: str) -> Mistake:
    """What is wrong with the YAML text `lines` of the file `name`."""
    page = Page(complaint, lines, name)
    if directive := _directive(page):
        return directive
    match complaint.kind:
        case "FlowMappingDisallowed":
            return _flow(page)
        case "AnchorTokenDisallowed" | "ConstructorError":
            return _reference(page, page.context)
        case "TagTokenDisallowed":
            return _tag(page, page.problem)
        case "DuplicateKeysDisallowed":
            return indentation.duplicate(page, page.context)
        case "InconsistentIndentationDisallowed":
            return indentation.uneven(page)
        case "ComposerError" if "alias" in complaint.problem:
            return _reference(page, page.problem)
        case "ComposerError":
            return indentation.second_document(page)
        case "ParserError":
            return _from_parser(page)
        case "ScannerError":
            return _from_scanner(page)
        case _:
            return _broken_down(page)


def _directive(page: Page) -> Mistake | None:
    """What begins a file with `%` changes how the parser reads the rest of it."""
    first = next((line.index for line in page.structure(len(page.lines))), 0)
    if not page.lines[first].startswith("%"):
        return None
    return page.mistake(
        "CZ027",
        "directives (`%YAML`) are not part of the language",
        (first, 0),
        page.word((first, 0)),
        hint="delete the line",
        local=True,
    )


def _from_scanner(page: Page) -> Mistake:
    context, problem = page.complaint.context, page.complaint.problem
    match context.removeprefix("while ").split(" ", 1)[-1]:
        case "an alias" | "an anchor":
            return _reference(page, page.context)
        case "a tag":
            return _tag(page, page.context)
        case "a directive":  # in the middle of a file
            return _first_character(page, page.context)
        case "a quoted scalar":
            return _quote(page)
        case "a double-quoted scalar":
            return _escape(page)
        case "a block scalar":
            return _block_header(page)
        case "a simple key":
            return indentation.no_colon(page, page.context)
        case "for the next token" if "\\t" in problem:
            return indentation.tab(page)
        case "for the next token":
            return _first_character(page, page.problem)
        case _ if problem.startswith("mapping values"):
            return indentation.unexpected_colon(page)
        case _ if problem.startswith("mapping keys"):
            return _question_mark(page, page.problem)
        case _:
            return indentation.item_beside_key(page)


def _from_parser(page: Page) -> Mistake:
    problem = page.complaint.problem
    found = re.match(r"expected (?:<block end>|the node content), but found '(.*)'", problem)
    token = found[1] if found else ""
    if token and page.before(page.problem).rstrip().endswith(("'", '"')):
        return _behind_quote(page)
    match token:
        case "-" | "?":
            return indentation.mixed(page)
        case ":":
            return indentation.no_key(page)
        case "<block mapping start>" | "<block sequence start>" | "<scalar>" | "{" | "[":
            return indentation.between_levels(page, page.problem)
        case "]" | "}" | ",":
            return _first_character(page, page.problem)
        case "<alias>" | "<anchor>":
            return _reference(page, page.problem)
        case "<tag>":
            return _tag(page, page.problem)
        case "<document end>":
            return indentation.second_document(page)
        case _:
            return _unknown(page)


def _broken_down(page: Page) -> Mistake:
    """The parser itself fell over: it does over a list as a key, over a key twice that has a comment, and
    over a plain text below a comment."""
    lines = page.structure(len(page.lines))
    for line in lines:
        if "?" in line.dashes:
            return _question_mark(page, (line.index, line.indent + line.dashes.index("?")), local=False)
    if twice := first_duplicate(lines):
        return indentation.duplicate(page, (twice.index, twice.level))
    for line, below in pairwise(lines):
        if line.key and line.value.startswith("#") and below.key is None and not below.dashes:
            return _text_below_comment(page, line)
    return _unknown(page)


def _text_below_comment(page: Page, line: Line) -> Mistake:
    return page.mistake(
        "CZ025",
        f"the text of `{line.key}` stands below a comment",
        (line.index, line.level),
        len(line.key or ""),
        hint=f"write `{line.key}: |` in front of the comment",
    )


def _flow(page: Page) -> Mistake:
    at = page.context
    rest = page.rest(at)
    if rest.startswith(("{{", "{%", "{#")):
        return _braces(page, at)
    what, closing, instead = {
        "[": ("a list in brackets", "]", "write `- item` on a line of its own for each"),
        "{": ("a mapping in braces", "}", "write `key: value` on a line of its own for each, indented"),
    }[rest[0]]
    if re.match(r"\[\s*\]|\{\s*\}", rest):
        instead = "for an empty one write the key alone, with nothing behind its colon"
    return page.mistake(
        "CZ010",
        f"{what} is not part of the language",
        at,
        rest.find(closing) + 1 or len(rest),
        hint=f"{instead}; a text that begins with `{rest[0]}` goes in quotes",
        local=closing in rest,
    )


def _braces(page: Page, at: At) -> Mistake:
    opening = page.rest(at)[:2]
    return page.mistake(
        "CZ011",
        f"a text that begins with `{opening}` needs quotes, or YAML takes it for a mapping",
        at,
        2,
        hint=f"put the whole text in quotes, `{page.quoted(at)}`, or below a `|`, indented",
        local=True,
    )


def _reference(page: Page, at: At) -> Mistake:
    text = page.lines[at[0]]
    mark = text[at[1] : at[1] + 1]
    hint = f"write the value out; a text that begins with `{mark}` goes in quotes: `{page.quoted(at)}`"
    if text.strip().startswith("<<"):
        at = (at[0], text.index("<<"))
        what = "merge keys (`<<`)"
        hint = "write the values out; stages that several personalities share belong in a pipeline"
    else:
        what = "references (`*name`)" if mark == "*" else "anchors (`&name`)"
    return page.mistake(
        "CZ013", f"{what} are not part of the language", at, page.word(at), hint=hint, local=True
    )


def _tag(page: Page, at: At) -> Mistake:
    return page.mistake(
        "CZ014",
        "tags (`!name`) are not part of the language: each key knows the type of its value",
        at,
        page.word(at),
        hint=f"leave the tag out; a text that begins with `!` goes in quotes: `{page.quoted(at)}`",
        local=True,
    )


def _question_mark(page: Page, at: At, *, local: bool = True) -> Mistake:
    return page.mistake(
        "CZ023",
        "`? ` makes a key of what follows, and keys are plain names here",
        at,
        hint=f"a text that begins with `?` goes in quotes: `{page.quoted(at)}`",
        local=local,
    )


def _first_character(page: Page, at: At) -> Mistake:
    character = page.rest(at)[:1]
    if character == "%" and page.before(at).endswith("{"):
        return _braces(page, (at[0], at[1] - 1))
    shown = "a backtick" if character == "`" else f"`{character}`"
    return page.mistake(
        "CZ024",
        f"a text cannot begin with {shown}",
        at,
        hint=f"put it in quotes: `{page.quoted(at)}`",
        local=True,
    )


def _inside(quote: str) -> str:
    return (
        "an apostrophe inside is written twice: `''`" if quote == "'" else 'a quote inside is written `\\"`'
    )


def _quote(page: Page) -> Mistake:
    quote = page.rest(page.context)[:1]
    return page.mistake("CZ018", f"the quote `{quote}` is never closed", page.context, hint=_inside(quote))


def _behind_quote(page: Page) -> Mistake:
    quote = page.before(page.problem).rstrip()[-1]
    return page.mistake(
        "CZ022",
        "the text ended at the quote before this",
        page.problem,
        len(page.rest(page.problem)),
        hint=f"let the quotes enclose the whole value; {_inside(quote)}",
        local=True,
    )


def _escape(page: Page) -> Mistake:
    line, column = page.problem
    start = max(page.lines[line].rfind("\\", 0, column + 1), 0)
    return page.mistake(
        "CZ021",
        f"`{page.lines[line][start : start + 2]}` is no escape sequence",
        (line, start),
        2,
        hint="write a backslash as `\\\\`, or put the text in single quotes, where it stands for itself",
        local=True,
    )


def _block_header(page: Page) -> Mistake:
    mark = page.rest(page.context)[:1]
    return page.mistake(
        "CZ025",
        f"the text of `{mark}` begins on the next line",
        page.problem,
        len(page.rest(page.problem)),
        hint=f"move it below, indented; a text of one line needs no `{mark}`",
        local=True,
    )


def _unknown(page: Page) -> Mistake:
    return page.mistake(
        "CZ027",
        "from here on the file cannot be read as YAML",
        page.problem,
        hint="compare this line and the one above with the examples in `cozy explain CZ027`",
    )
