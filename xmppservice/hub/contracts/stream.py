"""What the edge and the hub promise each other about one stream (RFC 6120 section 4).

The edge owns sockets and negotiation, the hub owns sessions. They meet in four
interfaces: `IStream` (the edge as a session sees it), `ISession` (a bound session as
the edge sees it), `IAccount` (the Cred avatar that binds sessions) and `IStreamHost`
(a virtual host as the edge sees it).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from xmppservice.protocol.errors import StreamError
    from xmppservice.wire.element import Element


class ResumeFailed(Exception):
    """A stream could not be resumed (XEP-0198 section 5); the client may bind instead.

    `condition` is a stanza error condition such as ``item-not-found``; `h` is the number
    of stanzas handled on the former stream if that is still known, else None.
    """

    def __init__(self, condition: str, h: int | None = None) -> None:
        super().__init__(condition, h)
        self.condition = condition
        self.h = h


class IStream(Interface):
    """The edge side of a session: one XML stream to one peer.

    Nothing here ever raises because of the state of the connection: on a stream that has
    ended every method is silently without effect.
    """

    id: str = Attribute("str: the stream id of the current response header (RFC 6120 4.7.3)")
    peer: str = Attribute("str: the peer's address, for logs and throttles")
    secure: bool = Attribute("bool: whether TLS protects the stream")

    def send(data: bytes) -> None:
        """Queue complete first-level elements; they leave at the end of the read turn."""

    def afterFlush(callback: Callable[[], None]) -> None:
        """Call back once when all that was sent so far is in the kernel.

        The callback is dropped, never called, if the connection is lost first.
        """

    def fail(error: StreamError) -> None:
        """Send a stream error, close the stream, then the connection (RFC 6120 4.9)."""

    def close() -> None:
        """Close the stream and then the connection (RFC 6120 4.4).

        The caller ends the relation: neither `ISession.streamLost` nor
        `ISession.streamClosed` is called after `fail` or `close`.
        """

    def pause() -> None:
        """Stop reading. Calls nest: each needs its own `resume`."""

    def resume() -> None:
        """Undo one `pause`."""

    def admit() -> None:
        """The peer has proved itself after its session was made: no deadline any more, and room for larger stanzas."""

    def charge(deliveries: int) -> None:
        """The stanza that is being taken goes to so many others: the sender's budget pays for them.

        Called once per broadcast, before it. A sender that is over its budget is not read for a while.
        """


class ISession(Interface):
    """A bound session. The edge calls exactly one of the two ends, at most once."""

    jid = Attribute("JID: the full JID that was bound")

    def receive(element: Element) -> None:
        """Take one first-level element, in the order of the stream. This is the hot path.

        May raise `StreamError`, which ends the stream with that error (and `streamLost`
        follows); any other exception is internal-server-error.
        """

    def streamLost() -> None:
        """The connection is gone, or was given up, without a closing tag from the peer."""

    def streamClosed() -> None:
        """The peer sent its closing tag; the edge answers with ours."""


class IProbingSession(ISession):
    """A session that can ask a silent peer for a sign of life (RFC 6120 4.6.4)."""

    def probe() -> bool:
        """Send an ``<r/>`` (XEP-0198) or an IQ ping (XEP-0199); whether the peer has to answer that, with any bytes."""


class IClosingSession(ISession):
    """A session that has last words when the server shuts down."""

    def prepareShutdown() -> None:
        """Send the last acknowledgement (XEP-0198); ``system-shutdown`` comes next."""


class IAccount(Interface):
    """The Cred avatar of an account: where authenticated streams become sessions."""

    jid = Attribute("JID: the account's bare JID")

    def bind(stream: IStream, resource: str | None) -> Deferred[ISession]:
        """Bind a resource (RFC 6120 section 7); None asks the server to choose.

        Fails with `StanzaError` (bad-request, conflict, resource-constraint, not-allowed).
        The session must not send before this Deferred has fired.
        """

    def resume(stream: IStream, previd: str, h: int) -> Deferred[ISession]:
        """Resume a former stream (XEP-0198 section 5). Fails with `ResumeFailed`.

        The session itself sends ``<resumed/>`` and then what the peer has not seen.
        """


class IStreamHost(Interface):
    """What the edge needs to know of a virtual host."""

    name: str = Attribute("str: the domain, prepared")
    portal = Attribute("twisted.cred.portal.Portal: judges credentials, yields IAccount")
    secrets = Attribute("IScramSecrets or None: salts and counts; without it SCRAM is not offered")
    throttle = Attribute("IThrottle or None: growing delay per address and per account")

    def streamFeatures(stage: str, stream: IStream) -> list[Element]:
        """What modules add to the features, for stage "auth" or "bind" (RFC 6120 4.3.2)."""

    def preAuth(iq: Element, stream: IStream) -> Deferred[Element]:
        """Answer an IQ that came before authentication (XEP-0077); the reply is complete."""
