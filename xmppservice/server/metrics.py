"""The page for monitoring: the figures in Prometheus' text format (0.0.4), by HTTP on a listener of its own.

It answers ``GET /metrics`` and nothing else, keeps few connections, reads no bodies, and its labels hold nothing that
a peer has said (hardening H07). Who may reach it is a matter of where it listens: there is no password.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.interfaces import IAddress, IListeningPort, IStreamServerEndpoint
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.http import Request as BaseRequest
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from xmppservice.hub.figures import Family, Figures, Histogram, Labels

TYPE = b"text/plain; version=0.0.4; charset=utf-8"
PATH = b"/metrics"

#: Connections at the same time, and seconds that one may be silent.
CONNECTIONS = 16
PATIENCE = 20


def exposition(figures: Figures) -> bytes:
    """All figures as the format wants them, each family in one piece."""
    return "".join(f"{line}\n" for family in figures.families() for line in _family(family)).encode()


def _family(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {_escaped(family.help)}"
    yield f"# TYPE {family.name} {family.kind}"
    for labels, value in family.samples():
        if isinstance(value, Histogram):
            yield from _histogram(family.name, labels, value)
        else:
            yield f"{family.name}{_labels(labels)} {_number(value)}"


def _histogram(name: str, labels: Labels, histogram: Histogram) -> Iterator[str]:
    counts = histogram.cumulated()
    for bound, count in zip((*map(_number, histogram.bounds), "+Inf"), counts, strict=True):
        yield f"{name}_bucket{_labels((*labels, ('le', bound)))} {count}"
    yield f"{name}_sum{_labels(labels)} {_number(histogram.total)}"
    yield f"{name}_count{_labels(labels)} {counts[-1]}"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{_escaped(value).replace(chr(34), chr(92) + chr(34))}"' for name, value in labels)
    return "{" + ",".join(pairs) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _number(value: float) -> str:
    if math.isfinite(value):
        return str(int(value)) if value == int(value) and abs(value) < 1 << 53 else repr(float(value))
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


class MetricsPage(Resource):
    """The one page."""

    isLeaf = True

    def __init__(self, figures: Figures) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._figures = figures

    def render(self, request: Request) -> bytes:
        """Answer ``GET /metrics``; 404 for any other path, 405 for any other verb."""
        headers = request.responseHeaders
        headers.removeHeader(b"server")
        headers.setRawHeaders(b"x-content-type-options", [b"nosniff"])
        if request.path != PATH:
            request.setResponseCode(404)
            body = b"there is nothing but /metrics\n"
        elif request.method != b"GET":
            request.setResponseCode(405)
            headers.setRawHeaders(b"allow", [b"GET"])
            body = b"only GET\n"
        else:
            headers.setRawHeaders(b"content-type", [TYPE])
            return exposition(self._figures)
        headers.setRawHeaders(b"content-type", [b"text/plain; charset=utf-8"])
        return b"" if request.method == b"HEAD" else body


class _Request(Request):
    """A request without a body: Twisted would write a large one to a temporary file."""

    def gotLength(self, length: int | None) -> None:
        """Who announces a body is cut off."""
        if length != 0:
            channel: Any = self.channel
            channel.transport.abortConnection()
        BaseRequest.gotLength(self, 0)


class _Site(Site):
    """A site that writes no line per request and shows no tracebacks."""

    noisy = False
    displayTracebacks = False
    requestFactory = _Request

    def log(self, request: Any) -> None:
        """Scrapes are no news."""


class MetricsFactory(WrappingFactory):
    """Few connections at a time; one more is closed at once."""

    noisy = False

    def buildProtocol(self, addr: IAddress) -> ProtocolWrapper | None:  # type: ignore[override]
        """A connection, or None."""
        return super().buildProtocol(addr) if len(self.protocols) < CONNECTIONS else None


class MetricsService(Service):
    """Listens at `endpoints` while it runs."""

    name = "metrics"

    def __init__(self, figures: Figures, endpoints: Iterable[IStreamServerEndpoint], clock: Any) -> None:
        self._endpoints = list(endpoints)
        self._ports: Sequence[IListeningPort] = ()
        site = _Site(MetricsPage(figures), timeout=PATIENCE, reactor=clock)  # type: ignore[no-untyped-call]
        self._factory = MetricsFactory(site)  # type: ignore[no-untyped-call]

    def startService(self) -> Deferred[None]:
        """Listen; fails if a port cannot be had."""
        super().startService()  # type: ignore[no-untyped-call]
        pending = [endpoint.listen(self._factory) for endpoint in self._endpoints]
        self._ports = ()
        for listening in pending:
            listening.addCallback(self._listening)
        return gatherResults(pending, consumeErrors=True).addCallbacks(lambda _: None, self._failed)

    def _listening(self, port: IListeningPort) -> None:
        self._ports = (*self._ports, port)

    def _failed(self, failure: Any) -> Any:
        return self.stopService().addCallback(lambda _: failure.value.subFailure)

    def stopService(self) -> Deferred[None]:
        """Stop listening."""
        super().stopService()  # type: ignore[no-untyped-call]
        ports, self._ports = self._ports, ()
        closing = [stopped for port in ports if (stopped := port.stopListening()) is not None]
        return DeferredList(closing, consumeErrors=True).addCallback(lambda _: None)
