"""What a stream machine asks of its driver, one small class per request.

The machine does no I/O. `StreamMachine.receive` and its answer methods return a list of
these; the driver performs them in order. Where an ask needs an answer, its docstring
names the methods of the machine that take it, and no input may reach the machine before.
"""

from __future__ import annotations

from typing import TypeAlias

from xmppservice.protocol.errors import StreamError
from xmppservice.protocol.sasl.credentials import SASLCredentials
from xmppservice.wire.element import Element


class Send:
    """Write these bytes to the peer."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class Refuse(Send):
    """Send a SASL failure: `mechanism` is what the peer has asked for, whatever that was."""

    __slots__ = ("condition", "mechanism")

    def __init__(self, data: bytes, condition: str, mechanism: str) -> None:
        super().__init__(data)
        self.condition = condition
        self.mechanism = mechanism


class StartTLS:
    """Write `proceed`, then start TLS as the server (RFC 6120 5.4.2.3).

    If the peer sent even one byte after ``<starttls/>``, call `fail` instead: those bytes
    were not protected. When the handshake is done call `secured`.
    """

    __slots__ = ("proceed",)

    def __init__(self, proceed: bytes) -> None:
        self.proceed = proceed


class Restart:
    """Forget the parser: what follows is a new stream, beginning with a header (4.3.3)."""

    __slots__ = ()


class FetchSecrets:
    """Fetch salt and iteration count; answer `secretsFetched` or `loginFailed`."""

    __slots__ = ("mechanism", "user")

    def __init__(self, user: str, mechanism: str) -> None:
        self.user = user
        self.mechanism = mechanism


class Login:
    """Let the host's portal judge; answer `loggedIn` or `loginFailed`."""

    __slots__ = ("credentials",)

    def __init__(self, credentials: SASLCredentials) -> None:
        self.credentials = credentials


class Bind:
    """Bind a resource (None: the server chooses); answer `bound` or `bindFailed`."""

    __slots__ = ("resource",)

    def __init__(self, resource: str | None) -> None:
        self.resource = resource


class Resume:
    """Resume a former stream (XEP-0198 5); answer `resumed` or `resumeFailed`."""

    __slots__ = ("h", "previd")

    def __init__(self, previd: str, h: int) -> None:
        self.previd = previd
        self.h = h


class Join:
    """Let a component serve its domain (XEP-0114); answer `joined` or `joinFailed`."""

    __slots__ = ("domain",)

    def __init__(self, domain: str) -> None:
        self.domain = domain


class BeginTLS:
    """Start TLS as the initiating entity, then call `secured`: what it says waits for the handshake."""

    __slots__ = ()


class Judge:
    """Judge the certificate of the other server as one for `domain`; answer `judged`."""

    __slots__ = ("domain",)

    def __init__(self, domain: str) -> None:
        self.domain = domain


class Attach:
    """The stream between servers is negotiated: give it its link, and the link `first` if that came too early."""

    __slots__ = ("first",)

    def __init__(self, first: Element | None = None) -> None:
        self.first = first


class PreAuth:
    """An IQ that is allowed before authentication (XEP-0077); answer `preAuthAnswered`."""

    __slots__ = ("iq",)

    def __init__(self, iq: Element) -> None:
        self.iq = iq


class Close:
    """The stream is over on our side and all is sent: let go of the connection.

    `expected` says that the peer has closed its side too or was told of an error, so
    that nothing needs to be waited for; `error` is what the peer was told, if any.
    """

    __slots__ = ("error", "expected")

    def __init__(self, expected: bool, error: StreamError | None = None) -> None:
        self.expected = expected
        self.error = error


Ask: TypeAlias = (
    Send | StartTLS | BeginTLS | Restart | FetchSecrets | Login | Bind | Resume | Join | Judge | Attach | PreAuth
    | Close
)
