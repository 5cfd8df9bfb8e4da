"""The long story of each diagnostic code, as `cozy explain` tells it.

It is kept in `explanations/*.md`, a section for each code:

    ## CZ012 A key stands twice

    What it means and why it is so.

    Wrong:

    ```yaml
    # personalities/mia.yaml
    id: mia
    ...

Then `Right:` in the same way. Each fenced `yaml` block is a whole file; a comment in its first line names it
where it is not `personalities/mia.yaml`. A test runs the check over both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from cozy.errors import NotFound


@dataclass(frozen=True, slots=True)
class Explanation:
    """What there is to say of one code."""

    code: str
    title: str
    """What is wrong, in a line."""
    text: str
    """Markdown, without the heading."""

    @property
    def markdown(self) -> str:
        return f"## {self.code} {self.title}\n\n{self.text}\n"


@cache
def explanations() -> Mapping[str, Explanation]:
    """Every code's story, by code, in their order."""
    found: dict[str, Explanation] = {}
    for file in files("cozy.dsl").joinpath("explanations").iterdir():
        if file.name.endswith(".md"):
            for section in re.split(r"^## ", file.read_text("utf-8"), flags=re.MULTILINE)[1:]:
                heading, _, text = section.partition("\n")
                code, _, title = heading.partition(" ")
                found[code] = Explanation(code, title.strip(), text.strip())
    return dict(sorted(found.items()))


def codes() -> tuple[str, ...]:
    """Every diagnostic code there is."""
    return tuple(explanations())


def explanation(code: str) -> Explanation:
    """The story of a code, however it is written (`CZ012`, `cz012`, `12`). Raises NotFound."""
    known = explanations()
    digits = re.fullmatch(r"(?:cz)?0*(\d{1,3})", code.strip(), re.IGNORECASE)
    name = f"CZ{int(digits[1]):03}" if digits else code
    if name not in known:
        raise NotFound("diagnostic code", code, known=known)
    return known[name]
