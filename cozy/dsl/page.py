"""What the YAML parser complained of, and the page it was reading."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cozy.dsl.diagnostics import Diagnostic, Place, Related, error
from cozy.dsl.layout import Line, structure

At = tuple[int, int]
"""Line and column, from 0."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """What the parser said."""

    kind: str
    """The class of its exception."""
    context: str
    context_at: At | None
    problem: str
    problem_at: At | None


@dataclass(frozen=True, slots=True)
class Mistake:
    """A complaint, explained."""

    diagnostic: Diagnostic
    local: bool
    """The rest of the file can be read without the entry in which it stands."""


@dataclass(frozen=True, slots=True)
class Page:
    """A file's text, with a finger on what the parser complained of."""

    complaint: Complaint
    lines: Sequence[str]
    name: str

    @property
    def problem(self) -> At:
        return self._inside(self.complaint.problem_at)

    @property
    def context(self) -> At:
        return self._inside(self.complaint.context_at or self.complaint.problem_at)

    def _inside(self, at: At | None) -> At:
        """A position in the text: the parser names the end of the file by a line that is not there."""
        line, column = at or (0, 0)
        while line > 0 and (line >= len(self.lines) or not self.lines[line].strip()):
            line -= 1
            column = len(self.lines[line].rstrip()) if line < len(self.lines) else 0
        return line, min(column, len(self.lines[line]))

    def before(self, at: At) -> str:
        """The line up to there."""
        return self.lines[at[0]][: at[1]]

    def rest(self, at: At) -> str:
        """The line from there on, without its comment."""
        return re.split(r"\s#", self.lines[at[0]][at[1] :], maxsplit=1)[0].rstrip()

    def word(self, at: At) -> int:
        """How long the word is that begins there."""
        match = re.match(r"[^\s:]+", self.rest(at))
        return match.end() if match else 1

    def quoted(self, at: At) -> str:
        """The rest of the line in quotes, or what stands for it."""
        rest = self.rest(at)
        return f"'{rest}'" if 0 < len(rest) <= 40 and "'" not in rest else "'…'"

    def structure(self, up_to: int) -> list[Line]:
        """The lines that make up the mappings and lists as far as line `up_to`."""
        return list(structure(self.lines[: up_to + 1]))

    def mistake(
        self,
        code: str,
        message: str,
        at: At,
        length: int = 1,
        *,
        hint: str,
        related: tuple[Related, ...] = (),
        local: bool = False,
    ) -> Mistake:
        return Mistake(error(code, message, self.place(at, length), hint, related), local)

    def place(self, at: At, length: int) -> Place:
        return Place(self.name, at[0] + 1, at[1] + 1, max(length, 1))
