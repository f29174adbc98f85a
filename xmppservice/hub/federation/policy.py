"""With whom we federate, and within which bounds."""

from __future__ import annotations

import attrs


@attrs.frozen
class FederationPolicy:
    """What an operator may set. Seconds and bytes throughout.

    `allow` and `deny` are domains; "*.example.org" is every domain below it. With an `allow` that is not empty, only
    those are spoken to; `deny` comes first. `certificates`: a server must show a valid certificate for its domain.
    """

    certificates: bool = True
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    #: How long a stanza waits for a server that does not answer, before it comes back.
    queueTime: float = 20.0
    #: What may wait for one server, and for all of them together.
    queueStanzas: int = 1000
    queueBytes: int = 1 << 20
    allBytes: int = 64 << 20
    #: The longest pause between two attempts.
    longestPause: float = 60.0
    #: How long the other side has to answer a question of dialback.
    answerTime: float = 30.0
    #: Pairs of domains on one stream; pairs that we try to reach at the same time, in all and for one sender; proofs
    #: under way, of all servers and of those at one address.
    pairs: int = 1000
    attempts: int = 5000
    attemptsEach: int = 500
    proofs: int = 500
    proofsEach: int = 50
    #: Stanzas and bytes that one stream may leave unacknowledged: less than may wait in it (`server.edges`), so that
    #: senders are told before it breaks. And how long a stream that broke may be resumed.
    unacknowledged: int = 10_000
    unacknowledgedBytes: int = 3 << 20
    resumption: int = 300

    def allows(self, domain: str) -> bool:
        """Whether we speak to the server of a domain."""
        if _listed(domain, self.deny):
            return False
        return not self.allow or _listed(domain, self.allow)


def _listed(domain: str, names: tuple[str, ...]) -> bool:
    for name in names:
        if domain == name or (name.startswith("*.") and domain.endswith(name[1:])):
            return True
    return False
