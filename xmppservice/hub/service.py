"""The service tree: what `MultiService` does, with awaited starts, errors passed up, and a stop that drains.

Theory of operation. A tree starts its children one after another in the order in which they were added and waits for
each; the first that fails ends the start, whatever had been started is stopped again in reverse, and the failure goes
to whoever called `startService`. A stop goes in reverse and waits for each child, all together no longer than the
drain limit; after that the rest is told to stop but no longer waited for. It stays an `IServiceCollection`, so that
anything twistd can run can be a child, and a tree can be a child of anything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, cast

from twisted.application.service import IService, IServiceCollection, Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

_log = Logger()


class StartFailed(Exception):
    """A child of the tree could not be started; what had been started is stopped again.

    @ivar service: the path of the child from the tree that was started, such as ``edges/c2s``.
    @ivar reason: what the child raised.
    """

    def __init__(self, service: str, reason: BaseException) -> None:
        super().__init__(service, reason)
        self.service = service
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.service}: {str(self.reason) or type(self.reason).__name__}"


@implementer(IServiceCollection)
class ServiceTree(Service):
    """A service made of services, started top-down and stopped bottom-up.

    @ivar services: the children in starting order; read it, but change it by `addService` and `removeService` only.
    """

    def __init__(
        self,
        name: str | None = None,
        clock: IReactorTime | None = None,
        drain: float = 8.0,
        onFailedStart: Callable[[Failure], None] | None = None,
    ) -> None:
        """
        @param name: the name under which the parent finds this tree.
        @param clock: measures the drain limit; without one a stop waits as long as it takes.
        @param drain: seconds that stopping all children may take.
        @param onFailedStart: for the root, whose parent (twistd's application) ignores what `startService` returns:
            it gets the failure, and the Deferred then fires without error.
        """
        self.services: list[IService] = []
        self._clock = clock
        self._drain = drain
        self._onFailedStart = onFailedStart
        self._starting: Deferred[None] | None = None
        self._stopping: Deferred[None] | None = None
        if name is not None:
            self.name = name

    # -- reading ------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[IService]:
        return iter(list(self.services))

    def __getitem__(self, path: str) -> IService:
        """The child, or the descendant by a path such as ``hosts/example.com``.

        @raise KeyError: there is none.
        """
        name, _, rest = path.partition("/")
        found = self.getServiceNamed(name)
        return cast(ServiceTree, found)[rest] if rest else found

    def getServiceNamed(self, name: str) -> IService:
        """The child of this name.

        @raise KeyError: there is none.
        """
        for service in self.services:
            if service.name == name:
                return service
        raise KeyError(name)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the children that have one, in starting order."""
        return tuple(str(service.name) for service in self.services if service.name is not None)

    # -- changing -----------------------------------------------------------------------------------------------

    def addService(self, service: IService) -> None:
        """Add a child; called by its ``setServiceParent``. A running tree starts it at once and logs a failure."""
        self._join(service)
        if self.running and self._starting is None:
            _call(lambda: _startLate(service)).addErrback(
                lambda failure: _log.failure("{name} did not start", failure, name=_nameOf(service))
            )

    def attach(self, service: IService) -> Deferred[None]:
        """Add a child and, in a running tree, start it.

        @return: fires when it has started; fails with what it raised, and then it is no child any more.
        """
        self._join(service)
        # Set directly: setServiceParent would call addService, which cannot report how the start went.
        service.parent = self
        if not self.running or self._starting is not None:
            return succeed(None)

        def forget(failure: Failure) -> Failure:
            self.services.remove(service)
            service.parent = None
            return failure

        return _call(lambda: _startLate(service)).addErrback(forget)

    def removeService(self, service: IService) -> Deferred[Any]:
        """Take a child away; called by its ``disownServiceParent``.

        @return: fires when it has stopped, at once if the tree does not run.
        """
        self.services.remove(service)
        if self.running:
            return _call(service.stopService)
        return succeed(None)

    def _join(self, service: IService) -> None:
        if service.name is not None and service.name in self.names:
            raise RuntimeError(f"cannot have two services with the same name {service.name!r}")
        self.services.append(service)

    # -- starting -----------------------------------------------------------------------------------------------

    def privilegedStartService(self) -> None:
        """Let every child do what needs privileges, such as binding low ports, before they are dropped."""
        for service in self:
            _privilegedStart(service)

    def startService(self) -> Deferred[None]:
        """Start the children in order.

        @return: fires when all have started; fails with `StartFailed` after those that had started have stopped.
        """
        self.running = 1
        self._starting = started = Deferred.fromCoroutine(self._startAll())
        if started.called:
            self._starting = None
        if self._onFailedStart is not None:
            started.addErrback(self._onFailedStart)
        return started

    async def _startAll(self) -> None:
        done: list[IService] = []
        position = 0
        try:
            # By index: a child may add its siblings while it starts.
            while position < len(self.services):
                service = self.services[position]
                position += 1
                await self._startOne(service)
                done.append(service)
        except StartFailed:
            self.running = 0
            await self._stopAll(done)
            raise
        finally:
            self._starting = None

    async def _startOne(self, service: IService) -> None:
        try:
            await _call(service.startService)
        except StartFailed as error:
            raise StartFailed(f"{_nameOf(service)}/{error.service}", error.reason) from error
        except Exception as error:
            raise StartFailed(_nameOf(service), error) from error

    # -- stopping -----------------------------------------------------------------------------------------------

    def stopService(self) -> Deferred[None]:
        """Stop the children in reverse order; a start that still runs is cancelled and undone.

        @return: fires when all have stopped or the drain limit is over; never fails, what fails is logged.
        """
        if self._stopping is not None:
            return _follow(self._stopping)
        if self._starting is not None:
            self._starting.cancel()
            if self._starting is not None:
                return _follow(self._starting)
        if not self.running:
            return succeed(None)
        self.running = 0
        self._stopping = stopped = Deferred.fromCoroutine(self._stopAll(list(self.services)))

        def finished(_: Any) -> None:
            self._stopping = None

        return stopped.addBoth(finished)

    async def _stopAll(self, services: list[IService]) -> None:
        deadline = None if self._clock is None else self._clock.seconds() + self._drain
        for service in reversed(services):
            stopping = _call(service.stopService)
            try:
                await self._within(stopping, deadline)
            except Exception:
                _log.failure("{name} did not stop cleanly", name=_nameOf(service))

    def _within(self, stopping: Deferred[Any], deadline: float | None) -> Awaitable[Any]:
        """Wait for a child, but not past the deadline. The child is not cancelled; its late result is dropped."""
        if self._clock is None or deadline is None or stopping.called:
            return stopping
        waiting: Deferred[None] = Deferred()
        call = self._clock.callLater(
            max(0.0, deadline - self._clock.seconds()),
            lambda: waiting.errback(TimeoutError("the drain limit is over")),
        )

        def settled(result: Any) -> None:
            if call.active():
                call.cancel()
                waiting.callback(result) if not isinstance(result, Failure) else waiting.errback(result)
            elif isinstance(result, Failure):
                _log.failure("a service failed after its drain limit", result)

        stopping.addBoth(settled)
        return waiting


def _call(method: Callable[[], object]) -> Deferred[Any]:
    """Call a service's method, be it plain, a coroutine or one that gives a Deferred."""
    return maybeDeferred(method)


def _startLate(service: IService) -> object:
    """Both steps of a start for a child that comes when its tree runs already."""
    _privilegedStart(service)
    start: Callable[[], object] = service.startService
    return start()


def _privilegedStart(service: IService) -> None:
    start: Callable[[], object] = service.privilegedStartService
    start()


def _follow(other: Deferred[None]) -> Deferred[None]:
    """A Deferred that fires without error when another one has its result, which it leaves alone."""
    follower: Deferred[None] = Deferred()

    def passOn(result: Any) -> Any:
        follower.callback(None)
        return result

    other.addBoth(passOn)
    return follower


def _nameOf(service: IService) -> str:
    return str(service.name) if service.name is not None else type(service).__name__
