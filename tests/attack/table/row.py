"""A row of the table, and what is said of a reaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tests.attack.table.arena import Arena

RIGHT, NEAR, WRONG, NONE = "✓", "≈", "✗", "–"
LEGEND = {
    RIGHT: "what the RFC (or the XEP) asks for, its SHOULDs included",
    NEAR: "harmless: refused, but with another condition than the one that is asked for, or in another safe way",
    WRONG: "neither: accepted, answered wrongly, or something given away",
    NONE: "the server has no such feature as it was set up",
}


@dataclass(frozen=True)
class Row:
    """One input. ``wanted`` and ``near`` are patterns (``*``, ``?``, ``[…]``) that the reaction's text may have."""

    id: str
    sent: str
    rfc: str
    attempt: Callable[[Arena], str]
    wanted: tuple[str, ...]
    near: tuple[str, ...] = ()
    slow: bool = False

    @property
    def key(self) -> str:
        """The name of the row in a test run."""
        return f"{self.id} {self.sent}"

    def judge(self, reaction: str) -> str:
        """The mark that a reaction earns."""
        if any(fnmatchcase(reaction, pattern) for pattern in self.wanted):
            return RIGHT
        if any(fnmatchcase(reaction, pattern) for pattern in (*self.near, *self._refusals())):
            return NEAR
        return NONE if reaction.startswith("not offered") else WRONG

    def _refusals(self) -> tuple[str, ...]:
        """Where a refusal is asked for, one with another condition is nearly as good."""
        first = self.wanted[0]
        if first.startswith("failure:"):
            return ("failure: *", "*, closed")
        if first.startswith("error:"):
            return ("error: *, kept",)
        # A stream error has a condition; a connection that just ends tells nothing.
        return ("[a-z]*-*, closed",) if first.endswith(", closed") else ()
