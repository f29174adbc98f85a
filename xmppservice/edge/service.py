"""The service that listens for incoming streams of one kind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint

from xmppservice.edge.factory import StreamFactory


class StreamService(Service):
    """Listens: `endpoints` with STARTTLS or in the clear, as the factory has it, `tlsEndpoints` with direct TLS.

    Ports are bound in `privilegedStartService`; until `startService` whoever connects waits
    in the kernel's queue.
    """

    def __init__(
        self,
        factory: StreamFactory,
        endpoints: Iterable[IStreamServerEndpoint],
        tlsEndpoints: Iterable[IStreamServerEndpoint] = (),
        name: str = "c2s",
    ) -> None:
        self.factory = factory
        self.name = name
        self.ports: list[IListeningPort] = []
        self._endpoints = list(endpoints)
        self._tlsEndpoints = list(tlsEndpoints)
        self._binding: Deferred[None] | None = None

    def privilegedStartService(self) -> None:
        """Bind the ports; the first failure is kept for `startService`."""
        factory = self.factory
        pending = [endpoint.listen(factory) for endpoint in self._endpoints]
        if self._tlsEndpoints:
            assert factory.tls is not None, "direct TLS needs certificates"
            direct = factory.tls.directFactory(factory, factory.clock)
            pending += [endpoint.listen(direct) for endpoint in self._tlsEndpoints]
        for listening in pending:
            listening.addCallback(self._listening)
        self._binding = gatherResults(pending, consumeErrors=True).addErrback(self._notBound)
        self._binding.addErrback(lambda failure: failure)

    def _listening(self, port: IListeningPort) -> None:
        self.ports.append(port)
        if not self.running and hasattr(port, "stopReading"):
            port.stopReading()

    def _notBound(self, failure: Any) -> Any:
        failure.trap(Exception)
        return failure.value.subFailure

    def startService(self) -> Deferred[None]:
        """Accept; fails if a port could not be bound."""
        super().startService()  # type: ignore[no-untyped-call]
        if self._binding is None:
            self.privilegedStartService()
        assert self._binding is not None
        binding, self._binding = self._binding, None
        self.factory.accepting = True

        def accept(_: object) -> None:
            for port in self.ports:
                if hasattr(port, "startReading"):
                    port.startReading()

        return binding.addCallback(accept)

    def stopService(self) -> Deferred[None]:
        """Stop accepting, tell every stream, wait for them to close, drop the rest."""
        super().stopService()  # type: ignore[no-untyped-call]
        ports, self.ports = self.ports, []
        factory = self.factory
        closed: Deferred[Any] = DeferredList([_stop(port) for port in ports], consumeErrors=True)
        drained = factory.shutDown()
        limit = factory.clock.callLater(factory.settings.closingDeadline, factory.abandon)

        def done(_: object) -> Deferred[None]:
            if limit.active():
                limit.cancel()
            return closed.addCallback(lambda _: None)

        return drained.addCallback(done)


def _stop(port: IListeningPort) -> Deferred[Any]:
    stopping = port.stopListening()
    if stopping is None:
        stopping = Deferred()
        stopping.callback(None)
    return stopping
