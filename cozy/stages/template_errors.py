"""What is wrong with a template, for people who never heard of a token."""

from __future__ import annotations

import re

from cozy.errors import did_you_mean


class BadTemplate(Exception):
    """A template does not parse: `line` within it, from 1, and what is wrong."""

    def __init__(self, line: int, message: str, needle: str = "", hint: str | None = None) -> None:
        super().__init__(message)
        self.line = line
        self.message = message
        self.needle = needle
        """The words that are wrong, where they can be named."""
        self.hint = hint
        """What would be right."""


_TOKENS = {
    "end of print statement": "`}}`",
    "end of statement block": "`%}`",
    "end of template": "the end of the text",
}


def _token(name: str) -> str:
    return _TOKENS.get(name, f"`{name}`")


def in_our_words(said: str, line: int, source: str) -> BadTemplate:
    """What jinja2 says of a mistake in `source`."""
    if found := re.fullmatch(r"expected token '(.+)', got '(.+)'", said, re.DOTALL):
        needle = "" if found[2] in _TOKENS else found[2]
        hint = {"=": "`==` compares, `=` does not", "|": "write `or`"}.get(needle)
        expected = "a name" if found[1] == "name" else _token(found[1])
        return BadTemplate(line, f"expected {expected}, found {_token(found[2])}", needle, hint)
    if found := re.fullmatch(r"unexpected end of template, expected '(.+)'\.", said):
        return BadTemplate(line, f"{_token(found[1])} is missing")
    if found := re.fullmatch(r"unexpected '(.+)', expected '(.+)'", said, re.DOTALL):
        return BadTemplate(line, f"expected {_token(found[2])}, found {_token(found[1])}", found[1])
    if found := re.fullmatch(r"unexpected '(.+)'", said, re.DOTALL):
        if found[1] in _TOKENS:
            return BadTemplate(line, f"a value is missing before {_token(found[1])}")
        hint = "two braces close what two have opened" if found[1] == "}" else None
        return BadTemplate(line, f"`{found[1]}` does not belong here", found[1], hint)
    if found := re.fullmatch(r"Expected an expression, got '(.+)'", said):
        return BadTemplate(line, f"a value is missing before {_token(found[1])}")
    if found := re.fullmatch(r"unexpected char (['\"])(.+)\1 at \d+", said, re.DOTALL):
        character = found[2].encode().decode("unicode_escape") if found[2].startswith("\\") else found[2]
        return _stray(line, character)
    if found := re.match(r"Encountered unknown tag '(.+?)'\.(?: Jinja .* '(.+)'\.)?", said):
        tag, still_open = found[1], found[2]
        hint = f"`{still_open}` is still open: close it with `end{still_open}`" if still_open else None
        if tag in _TAGS:
            return BadTemplate(line, f"`{tag}` belongs to nothing that is open", tag, hint)
        return BadTemplate(line, f"there is no tag `{tag}`", tag, did_you_mean(tag, _TAGS) or hint)
    if found := re.match(r"Unexpected end of template\. .* closed is '(.+)'\.", said):
        return BadTemplate(
            _opened(source, found[1]) or line,
            f"`{found[1]}` is not closed: `end{found[1]}` is missing",
            found[1],
        )
    if said == "Missing end of comment tag":
        return BadTemplate(line, "a comment is not closed: `#}` is missing", "{#")
    if said == "expected name or number":
        return BadTemplate(line, "a name is missing behind a dot")
    return BadTemplate(line, said or "the template does not parse")


def _opened(source: str, tag: str) -> int | None:
    """The line of the innermost `tag` that is not closed."""
    lines: list[int] = []
    for number, line in enumerate(source.splitlines(), 1):
        for found in re.finditer(rf"{{%[-+]?\s*(end)?{tag}\b", line):
            if found[1] is None:
                lines.append(number)
            elif lines:
                lines.pop()
    return lines[-1] if lines else None


_TAGS = ("if", "elif", "else", "endif", "for", "endfor", "set", "endset", "with", "endwith", "raw", "endraw")
_ASCII = str.maketrans("“”‘’（）｛｝［］｜，：！＝％．", "\"\"''(){}[]|,:!=%.")


def _stray(line: int, character: str) -> BadTemplate:
    if character in "'\"":
        return BadTemplate(line, "a text in quotes is not closed", character)
    plain = character.translate(_ASCII)
    hint = {"&": "write `and`", "!": "write `not`, or `!=`"}.get(character)
    if plain != character:
        hint = f"within braces, write the ASCII `{plain}`"
    return BadTemplate(line, f"`{character}` means nothing in a template", character, hint)
