"""The common shape of all mechanisms, and what they may know of the stream they run on."""

from __future__ import annotations

import secrets as _random
from collections.abc import Callable, Mapping
from typing import TypeAlias

from xmppservice.protocol.errors import SASLFailure
from xmppservice.protocol.sasl.credentials import ClientCertificate, SASLCredentials
from xmppservice.protocol.sasl.encoding import MAX_MESSAGE
from xmppservice.protocol.sasl.identity import authorize
from xmppservice.protocol.sasl.steps import Credentials, Step, Success

#: Channel binding type → its data, or what computes it when it is wanted.
Bindings: TypeAlias = Mapping[str, "bytes | Callable[[], bytes]"]


def freshNonce() -> str:
    """Return 192 random bits as printable text without a comma."""
    return _random.token_urlsafe(24)


class SASLContext:
    """What a mechanism may know of its stream.

    `host` is the prepared domain of the virtual host; `bindings` the channel bindings that this connection
    has (RFC 9266, RFC 5929); `plusOffered` says whether a -PLUS mechanism stood in the features we sent.
    """

    __slots__ = ("bindings", "clientCertificate", "host", "nonce", "plusOffered", "tls")

    def __init__(
        self,
        host: str,
        tls: bool = False,
        bindings: Bindings | None = None,
        clientCertificate: ClientCertificate | None = None,
        plusOffered: bool = False,
        nonce: Callable[[], str] = freshNonce,
    ) -> None:
        self.host = host
        self.tls = tls
        self.bindings: Bindings = {} if bindings is None else bindings
        self.clientCertificate = clientCertificate
        self.plusOffered = plusOffered
        self.nonce = nonce


class Mechanism:
    """One authentication exchange, seen from the server. An object serves one attempt only.

    Whoever drives it calls `respond` with each message of the client (None: <auth/> came without an initial
    response) and does what the step says. Every failure is raised as SASLFailure; the machine is dead then.
    """

    __slots__ = ("_done", "_issued", "context", "name")

    def __init__(self, name: str, context: SASLContext) -> None:
        self.name = name
        self.context = context
        self._issued: SASLCredentials | None = None
        self._done = False

    def respond(self, data: bytes | None) -> Step:
        """Take a message of the client; say what comes next."""
        if self._done or (data is not None and len(data) > MAX_MESSAGE):
            self._done = True
            raise SASLFailure("malformed-request")
        try:
            return self._advance(data)
        except SASLFailure:
            self._done = True
            raise

    def secrets(self, salt: bytes, iterations: int) -> Step:
        """Answer a NeedSecrets step."""
        raise RuntimeError(f"{self.name} did not ask for secrets")

    def accepted(self) -> Success:
        """Say that the portal accepted the credentials of the Credentials step."""
        if self._issued is None:
            raise RuntimeError(f"{self.name} has issued no credentials")
        return Success(self._finalData(self._issued))

    def _advance(self, data: bytes | None) -> Step:
        raise NotImplementedError

    def _finalData(self, credentials: SASLCredentials) -> bytes | None:
        return None

    def _claim(self, local: str, authzid: str, credentials: SASLCredentials) -> Credentials:
        """End the exchange with a claim; there is no other way to a Credentials step that names a user."""
        authorize(authzid, local, self.context.host)
        return self._issue(credentials)

    def _issue(self, credentials: SASLCredentials) -> Credentials:
        self._done = True
        self._issued = credentials
        return Credentials(credentials)


def decodeText(data: bytes) -> str:
    """Decode a message as UTF-8 without NUL; anything else is malformed."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise SASLFailure("malformed-request") from None
    if "\0" in text:
        raise SASLFailure("malformed-request")
    return text
