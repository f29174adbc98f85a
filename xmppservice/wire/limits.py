"""How much XML a peer may send before we stop reading."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one stream, in force from the next stanza on.

    :ivar stanzaBytes: bytes from the first to the last of one top-level element.
    :ivar elements: elements in one stanza, itself included.
    :ivar depth: levels of one stanza; the stanza itself is the first.
    :ivar attributes: attributes of one element, namespace declarations apart.
    :ivar token: bytes of one tag (attributes included), as far as it arrives unfinished.
    :ivar totalBytes: bytes of the whole stream, white space too; None for no bound.
    :ivar declarations: namespace declarations in one stanza.
    """

    stanzaBytes: int = 262144
    elements: int = 4096
    depth: int = 64
    attributes: int = 64
    token: int = 65536
    totalBytes: int | None = None
    declarations: int = 512


PRE_AUTH = Limits(
    stanzaBytes=8192,
    elements=32,
    depth=16,
    attributes=32,
    token=8192,
    totalBytes=65536,
    declarations=32,
)
"""For peers that have not yet said who they are."""

AUTHENTICATED = Limits()
"""For everybody else."""
