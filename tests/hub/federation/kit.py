"""A server with a federation whose other side is played by the test, or by another server like it."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from xmppservice.hub.contracts.federation import IConnector, IIdentity, Unreachable
from xmppservice.hub.federation.domains import Federation
from xmppservice.hub.federation.link import ServerLink
from xmppservice.hub.federation.managing import Management
from xmppservice.hub.federation.policy import FederationPolicy
from xmppservice.protocol.errors import StreamError
from xmppservice.protocol.stream.s2s import Verdict
from xmppservice.testing import MemoryServer
from xmppservice.testing.client import MemoryStream
from xmppservice.wire.element import Element
from xmppservice.wire.parser import AUTHENTICATED, StreamParser, parseDocument

OURS, THEIRS = "localhost", "theirs.example"
HEADER = (
    b"<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' "
    b"xmlns:db='jabber:server:dialback' version='1.0'>"
)
CHAT = ("roster", "offline", "stream_management")


class ServerStream(MemoryStream):
    """A stream between servers without an edge. `admitted` counts the proofs."""

    def __init__(self, id: str = "s1") -> None:
        super().__init__(id)
        self.admitted = 0
        self._parser = StreamParser(AUTHENTICATED)
        self._parser.feed(HEADER)

    def admit(self) -> None:
        """See `IStream.admit`."""
        self.admitted += 1

    def take(self) -> list[Element]:
        """What was sent since last time."""
        taken = list(self.received)
        self.received.clear()
        return taken


@implementer(IIdentity)
class Certificate:
    """The other end's certificate, good for some domains."""

    def __init__(self, *domains: str) -> None:
        self.domains = domains

    def judge(self, domain: str) -> Deferred[Verdict]:
        """See `IIdentity.judge`."""
        valid = domain in self.domains
        return succeed(Verdict(valid, "pkix" if valid else "", "" if valid else "it is for another domain"))


@implementer(IConnector)
class Connector:
    """Says what the test wants: `asked` has every attempt, which the test answers."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self.asked: list[tuple[str, str, Deferred[ServerLink]]] = []

    def connect(self, local: str, remote: str) -> Deferred[ServerLink]:
        """See `IConnector.connect`."""
        answer: Deferred[ServerLink] = Deferred()
        self.asked.append((local, remote, answer))
        return answer

    def reach(
        self, authenticated: bool = True, managed: bool = False, bidi: bool = False, dialback: bool = True
    ) -> tuple[ServerLink, ServerStream]:
        """The oldest attempt gets its stream."""
        local, remote, answer = self.asked.pop(0)
        stream = ServerStream()
        link = ServerLink(self.kit.federation, stream, Certificate(remote), remote, local)
        link.dialback, link.bidi, link.managed = dialback, bidi, Management(managed)
        if authenticated:
            link.proof = "pkix"
            link.accepted(local, remote, "certificate")
        answer.callback(link)
        return link, stream

    def fail(self, reason: str = "refused", condition: str = "remote-server-timeout", lasting: bool = False) -> None:
        """The oldest attempt comes to nothing."""
        self.asked.pop(0)[2].errback(Unreachable(reason, condition, lasting))


class Kit:
    """Alice is online at one of our servers."""

    def __init__(self, policy: FederationPolicy | None = None, domains: Sequence[str] = (OURS,)) -> None:
        self.server = MemoryServer(modules=CHAT, domains=domains)
        server = self.server
        self.federation = Federation(
            server.router, server.database.store, server.clock, policy or FederationPolicy()
        )
        self.federation.secret = b"s3cr3tf0rd14lb4ck"
        self.connector = Connector(self)
        self.federation.connector = self.connector
        server.router.remote = self.federation.route
        self.alice = server.client("alice/phone", available=True)

    def say(self, *ids: str, to: str = f"bob@{THEIRS}", kind: str = "chat") -> None:
        """Alice sends messages."""
        for id in ids:
            self.alice.send(f"<message to='{to}' type='{kind}' id='{id}'><body>{id}</body></message>")

    def incoming(self, *certified: str, remote: str = "", bidi: bool = False) -> tuple[ServerLink, ServerStream]:
        """A stream that another server has opened; with `remote` it has authenticated."""
        stream = ServerStream()
        link = ServerLink(self.federation, stream, Certificate(*certified), remote)
        link.dialback, link.bidi = True, bidi
        if remote:
            link.accept(remote, OURS, "pkix")
        return link, stream

    def stop(self) -> None:
        """The end."""
        self.federation.stop()
        self.server.stop()


def element(text: str) -> Element:
    """A first-level element of a stream between servers."""
    return parseDocument(
        b"<x xmlns='jabber:client' xmlns:db='jabber:server:dialback'>" + text.encode() + b"</x>"
    ).elements()[0]


def give(link: ServerLink, *texts: str) -> StreamError | None:
    """Let the other server say something; returns the error that this ends the stream with, as the edge would."""
    for text in texts:
        try:
            link.receive(element(text))
        except StreamError as error:
            stream, link.stream = link.stream, None
            if stream is not None:
                stream.fail(error)
            link.streamLost()
            return error
    return None


def cut(link: ServerLink, stream: ServerStream) -> None:
    """The connection is lost."""
    stream.close()
    link.streamLost()


def ids(elements: Sequence[Element]) -> list[str]:
    """The ids of the messages among them."""
    return [each.get("id") or "" for each in elements if each.name == "message"]
