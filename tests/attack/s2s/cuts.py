"""Defences cut out: each function runs in the process of a server before it starts."""

from __future__ import annotations

from typing import Any


def anyAnswer() -> None:
    """S01: an answer is not matched with a question."""
    from xmppservice.hub.federation import proofs

    def answered(link: Any, answer: Any) -> None:
        if answer.type == "valid" and not link.outgoing:
            link.accept(answer.sender, answer.target, "any answer")

    proofs._answered = answered


def anyKey() -> None:
    """S02: any key is ours."""
    from xmppservice.hub.federation import proofs

    proofs.isKey = lambda *rest: True


def nobodyIsAsked() -> None:
    """S03: the authoritative server has no say."""
    from xmppservice.hub.federation import proofs

    def prove(link: Any, asked: Any) -> None:
        link.accept(asked.sender, asked.target, "nobody was asked")

    proofs._prove = prove


def anySender() -> None:
    """S04, S09: any pair of domains is taken on any stream."""
    from xmppservice.hub.federation.link import ServerLink

    addresses = ServerLink._addresses

    def unchecked(self: Any, element: Any) -> Any:
        from xmppservice.protocol.jid import JID

        pair = JID.parse(element.attrs["from"]).domain, JID.parse(element.attrs["to"]).domain
        self.accepts[pair] = self.federation.router.homeOf(pair[1])
        return addresses(self, element)

    ServerLink._addresses = unchecked  # type: ignore[method-assign]


def whoeverIsUs() -> None:
    """S06: who calls may be one of us."""
    from xmppservice.protocol.stream.incoming import IncomingMachine

    begin = IncomingMachine.__init__

    def lax(self: Any, isOurs: Any, *rest: Any) -> None:
        begin(self, lambda domain: domain == "localhost", *rest)

    IncomingMachine.__init__ = lax  # type: ignore[assignment,method-assign]


def bothDirections() -> None:
    """S09: who asks for both directions gets them before a proof."""
    from xmppservice.hub.federation import proofs

    judge = proofs._judge

    def eager(link: Any, asked: Any) -> None:
        if link.bidi:
            link.federation.routeFor(asked.target, asked.sender).use(link)
        judge(link, asked)

    proofs._judge = eager


def clearCalls() -> None:
    """T02: TLS is not required of those who call."""
    from xmppservice.protocol.stream.incoming import IncomingMachine

    IncomingMachine._mustSecure = lambda self: False  # type: ignore[method-assign]


def clearAnswers() -> None:
    """T03: TLS is not required of those whom we call."""
    from xmppservice.protocol.stream import outgoing

    outgoing.REQUIRED = "never"


def anythingBehind() -> None:
    """T01: what follows in clear is let through."""
    from xmppservice.edge.negotiation import SecuringNegotiation

    SecuringNegotiation._smuggled = lambda self: False  # type: ignore[method-assign]


def anyCertificate() -> None:
    """T06: any certificate is good."""
    from xmppservice.edge.s2s import trust
    from xmppservice.protocol.stream.s2s import Verdict

    trust.judgeChain = lambda *rest: Verdict(True, "pkix")


def hurry() -> None:
    """No defence: times that no setting changes, shortened so that tests of them last seconds."""
    import attrs

    from xmppservice.edge.s2s import outgoing
    from xmppservice.server import federation

    outgoing.ONE_TARGET, outgoing.ALL_IN_ALL = 3.0, 8.0
    policy = federation.federationPolicy
    federation.federationPolicy = lambda settings: attrs.evolve(policy(settings), answerTime=3.0)
