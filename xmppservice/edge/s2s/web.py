"""Fetching small documents from the web servers of strangers: HTTPS only, and everything is bounded.

Each fetch has connections of its own, made by the dialler of federation, so what it refuses (hardening S10) is
refused after each redirect too. What comes over a connection is counted beneath TLS, which bounds headers as well as
the body. Compressed answers are not read, because a few bytes could become very many.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate, optionsForClientTLS, platformTrust, trustRootFromCertificates
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import Agent, ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IResponse
from zope.interface import implementer

from xmppservice.edge.certificates import readCertificates
from xmppservice.edge.s2s.dialler import Dialler
from xmppservice.edge.s2s.targets import Target

MAX_BODY: Final = 64 << 10
MAX_TRAFFIC: Final = 256 << 10
"""Bytes of one connection, with those of its handshake and headers."""
MAX_REDIRECTS: Final = 3
TIMEOUT: Final = 10.0


class NotFetched(Exception):
    """There is no document; the text says why, for people."""


class Fetcher:
    """Fetches; `authorities` is a PEM file of those who may vouch for web servers, by default the system's do.

    Raises ImportError without treq.
    """

    def __init__(self, reactor: Any, dialler: Dialler, authorities: Path | None = None) -> None:
        # Only who fetches needs it: it is an extra of the installation, and some memory.
        from treq.client import HTTPClient

        self._client = HTTPClient
        self._reactor = reactor
        self._dialler = dialler
        self._trust: Any = platformTrust()
        if authorities is not None:
            ders = [each.public_bytes(Encoding.DER) for each in readCertificates(authorities)]
            self._trust = trustRootFromCertificates(map(Certificate.load, ders))

    def fetch(self, url: str) -> Deferred[bytes]:
        """The document at an HTTPS address; fails with `NotFetched`, after ten seconds at most."""
        fetch = _Fetch(self._reactor, self._dialler, self._trust, self._client)
        done = Deferred.fromCoroutine(fetch.run(url)).addTimeout(TIMEOUT, self._reactor)
        return done.addBoth(fetch.end)


@implementer(IAgentEndpointFactory)
class _Fetch:
    """One fetch, with its connections."""

    def __init__(self, reactor: Any, dialler: Dialler, trust: Any, client: Callable[[IAgent], Any]) -> None:
        self._client = client
        self._reactor = reactor
        self._dialler = dialler
        self._trust = trust
        self._connections: list[ProtocolWrapper] = []

    async def run(self, url: str) -> bytes:
        """Follow redirects to the document."""
        for _ in range(MAX_REDIRECTS + 1):
            if not url.lower().startswith("https://"):
                raise NotFetched("it leads to an address that is not https")
            # One client for each request: cookies are none of our business.
            client = self._client(_Uncompressed(Agent.usingEndpointFactory(self._reactor, self)))
            response = await client.get(url, allow_redirects=False, unbuffered=True, reactor=self._reactor)
            if response.code in (301, 302, 303, 307, 308):
                places = response.headers.getRawHeaders("location") or [""]
                url = urljoin(url, places[0])
                continue
            if response.code != 200:
                raise NotFetched(f"the web server answers with status {response.code}")
            body = _Body()
            response.deliverBody(body)
            return await body.done
        raise NotFetched("it leads on too often")

    def end(self, result: bytes | Failure) -> bytes | Failure:
        """Leave no connection behind, and say what was wrong in our own words."""
        for connection in self._connections:
            transport: Any = connection.transport
            transport.abortConnection()
        if not isinstance(result, Failure) or result.check(NotFetched):
            return result
        cause = _innermost(result)
        if cause.check(NotFetched):
            return cause
        if cause.check(TookTooLong, CancelledError):
            raise NotFetched("the web server did not answer in time")
        # Whatever the other end did, and the text of that may be the other end's too.
        raise NotFetched(f"the web server could not be asked: {_textOf(cause)}")

    def endpointForURI(self, uri: Any) -> Any:
        """An endpoint of our own dialler, with a certificate that must be good (IAgentEndpointFactory)."""
        host = uri.host.decode("ascii")
        options = optionsForClientTLS(host, self._trust)
        return wrapClientTLS(options, _Endpoint(self._dialler, Target(host, uri.port), self._connections.append))


@implementer(IStreamClientEndpoint)
class _Endpoint:
    def __init__(self, dialler: Dialler, target: Target, remember: Callable[[ProtocolWrapper], None]) -> None:
        self._dialler = dialler
        self._target = target
        self._remember = remember

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        def connected(counted: Any) -> Any:
            self._remember(counted)
            return counted.wrappedProtocol

        counted = _CountedFactory(factory)  # type: ignore[no-untyped-call]
        return self._dialler.dial(self._target, counted).addCallback(connected)


class _Counted(ProtocolWrapper):
    """Ends a connection over which too much comes."""

    _left = MAX_TRAFFIC

    def dataReceived(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            transport: Any = self.transport
            transport.abortConnection()
        else:
            super().dataReceived(data)  # type: ignore[no-untyped-call]


class _CountedFactory(WrappingFactory[ProtocolWrapper]):
    protocol = _Counted
    noisy = False


@implementer(IAgent)
class _Uncompressed:
    """Refuses compressed answers, before anything unpacks them."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: Any = None
    ) -> Deferred[IResponse]:
        def check(response: Any) -> Any:
            if response.headers.hasHeader(b"content-encoding"):
                raise NotFetched("the web server's answer is compressed")
            return response

        plain = Headers({b"Accept": [b"application/json"], b"Accept-Encoding": [b"identity"]})
        return self._agent.request(method, uri, plain, bodyProducer).addCallback(check)


class _Body(Protocol):
    def __init__(self) -> None:
        self.done: Deferred[bytes] = Deferred()
        self._data = b""

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > MAX_BODY and not self.done.called:
            self.done.errback(NotFetched("the web server's answer is too long"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        if reason.check(ResponseDone):
            self.done.callback(self._data)
        else:
            self.done.errback(NotFetched("the web server's answer is not complete"))


def _innermost(failure: Failure) -> Failure:
    """The first of the reasons that Twisted gathers."""
    for _ in range(4):
        reasons = getattr(failure.value, "reasons", None)
        if not reasons or not isinstance(reasons[0], Failure):
            break
        failure = reasons[0]
    return failure


def _textOf(failure: Failure) -> str:
    text = " ".join(str(failure.value).split())
    return "".join(each for each in text if each.isprintable())[:200] or type(failure.value).__name__
