"""The stream of an external component, from its header to its handshake (XEP-0114).

There is no version, no feature and no SASL: the component names its own domain in ``to``, and proves by a hash of our
stream id that it knows the secret of that domain. The hash is SHA-1, as the protocol has it, over an id that nobody can
choose or guess.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

from xmppservice.protocol.errors import StreamError
from xmppservice.protocol.jid import JID, prepareDomain
from xmppservice.protocol.stream import events
from xmppservice.protocol.stream.base import State, StreamBase, secondHeader
from xmppservice.protocol.stream.events import Ask
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.parser import ParseError, StreamEnd, StreamHeader
from xmppservice.wire.serializer import serialize

MECHANISM = "handshake"
"""How the log and the figures call this way to log in."""


class ComponentMachine(StreamBase):
    """One stream of a component, seen from the server, until it is one of ours.

    `secretFor` gives the secret of a domain that a component may serve, None for any other; `defaultHost` names us to
    those who ask for no such domain. OPENING: a header must come. OFFERED: a handshake must come. DECIDING: the driver
    is asked to let the component in.
    """

    __slots__ = ("_secretFor", "claimed", "defaultHost", "domain", "mechanism")

    def __init__(self, secretFor: Callable[[str], bytes | None], defaultHost: str) -> None:
        super().__init__()
        self.mechanism = MECHANISM
        self.defaultHost = defaultHost
        #: The component's own, as its header says.
        self.domain = ""
        #: The same, also when nobody is expected there: for the log.
        self.claimed = ""
        self._secretFor = secretFor

    def receive(self, item: object) -> list[Ask]:
        """See `StreamBase.receive`."""
        if self.state is State.CLOSED:
            return []
        if isinstance(item, ParseError):
            return self._parseError(item)
        if isinstance(item, StreamEnd):
            return self._end(item)
        if isinstance(item, StreamHeader):
            return self._open(item)
        assert isinstance(item, Element)
        return self._shake(item)

    def _open(self, header: StreamHeader) -> list[Ask]:
        """The header names the domain that the component serves."""
        if self.state is not State.OPENING:
            return self.fail(secondHeader())
        try:
            self.domain = self._check(header)
        except StreamError as error:
            return self.fail(error, header)
        self.state = State.OFFERED
        return [events.Send(self._header(header))]

    def _check(self, header: StreamHeader) -> str:
        if header.ns != ns.STREAM:
            raise StreamError("invalid-namespace", "unknown stream namespace")
        if header.name != "stream":
            raise StreamError("bad-format", "a stream begins with <stream>")
        if header.contentNs != ns.COMPONENT:
            raise StreamError("invalid-namespace", f"components speak {ns.COMPONENT}")
        try:
            domain = prepareDomain(header.attrs.get("to", ""))
        except ValueError:
            raise StreamError("improper-addressing", "the 'to' of the header is the component's domain") from None
        self.claimed = domain
        if self._secretFor(domain) is None:
            raise StreamError("host-unknown", "no component is expected at this domain")
        return domain

    def _header(self, header: StreamHeader | None) -> bytes:
        """Our header comes from the component's own domain (XEP-0114, example 2)."""
        attributes = {"from": self.domain or self.defaultHost, "id": self._newId()}
        return self._framing.header(ns.COMPONENT, attributes)

    def _shake(self, element: Element) -> list[Ask]:
        """The handshake; anything else is from somebody who has proved nothing."""
        # The content namespace of the stream is the client's in here, see `wire.parser`.
        if (element.ns, element.name) != (ns.CLIENT, "handshake"):
            return self.fail(StreamError("not-authorized"))
        secret = self._secretFor(self.domain)
        given = element.text.strip()
        if secret is None or element.elements() or not given.isascii() or not self._proves(given, secret):
            return [
                events.Refuse(b"", "not-authorized", MECHANISM),
                *self.fail(StreamError("not-authorized", "the handshake is wrong")),
            ]
        self.state = State.DECIDING
        return [events.Join(self.domain)]

    def _proves(self, given: str, secret: bytes) -> bool:
        return hmac.compare_digest(given.lower(), handshake(self.id, secret))

    def joined(self) -> list[Ask]:
        """Answer `Join`: the component is let in."""
        if self.state is State.CLOSED:
            return []
        self.state = State.BOUND
        self.jid = JID.of("", self.domain)
        return [events.Send(serialize(Element(ns.CLIENT, "handshake"), ns.CLIENT))]

    def joinFailed(self, error: StreamError) -> list[Ask]:
        """Answer `Join`: it is not, such as when another one is there (``conflict``)."""
        return self.fail(error)


def handshake(id: str, secret: bytes) -> str:
    """What the component has to say: SHA-1 over stream id and secret, in lower-case hexadecimal digits."""
    return hashlib.sha1(id.encode() + secret, usedforsecurity=False).hexdigest()
