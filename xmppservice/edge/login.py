"""Between the SASL machine's asks and a host's portal: throttle, checkers, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from xmppservice.auth.portal import failureFor
from xmppservice.hub.contracts.auth import IThrottle
from xmppservice.hub.contracts.stream import IAccount
from xmppservice.hub.passage import logIncident
from xmppservice.protocol.errors import SASLFailure
from xmppservice.protocol.sasl.credentials import PlainCredentials, SASLCredentials

if TYPE_CHECKING:
    from xmppservice.edge.driver import StreamDriver

Avatar = tuple[Any, Any, Callable[[], Any]]
"""What a portal gives: the interface, the avatar, and its logout."""


def fetchSecrets(driver: StreamDriver, user: str, mechanism: str) -> Deferred[tuple[bytes, int]]:
    """Salt and iteration count of a user, unless this address must wait."""
    host = driver.factory.hostOf(driver)
    refused = _refusal(_throttle(driver), driver, user)
    return refused or maybeDeferred(host.secrets.fetch, user, mechanism)


def judge(driver: StreamDriver, credentials: SASLCredentials) -> Deferred[Avatar]:
    """Log in at the portal of the stream's host. A failure is told after the throttle's delay."""
    host = driver.factory.hostOf(driver)
    throttle, account = _throttle(driver), accountOf(credentials)
    refused = _refusal(throttle, driver, account)
    if refused is not None:
        return refused
    login: Deferred[Avatar] = maybeDeferred(host.portal.login, credentials, driver, IAccount)
    if throttle is not None:
        login.addCallbacks(_succeeded, _failed, (throttle, driver, account), {}, (throttle, driver, account), {})
    return login


def accountOf(credentials: SASLCredentials) -> str:
    """The localpart that credentials claim, "" if none."""
    if isinstance(credentials, PlainCredentials):
        return credentials.username.decode("utf-8", "replace")
    return str(getattr(credentials, "local", ""))


def saslFailure(failure: Failure) -> SASLFailure:
    """What to tell the peer; what is no refusal is our own trouble and goes to the log."""
    assert failure.value is not None
    told = failureFor(failure.value)
    if told.condition == "temporary-auth-failure" and not isinstance(failure.value, SASLFailure):
        incident = logIncident("a login could not be judged", failure)
        return SASLFailure(told.condition, f"incident {incident}")
    return told


def _throttle(driver: StreamDriver) -> IThrottle | None:
    if not driver.factory.settings.enabled:
        return None
    throttle: IThrottle | None = driver.factory.hostOf(driver).throttle
    return throttle


def _refusal(throttle: IThrottle | None, driver: StreamDriver, account: str) -> Deferred[Any] | None:
    if throttle is None or not throttle.refusal(driver.peer, account):
        return None
    return fail(SASLFailure("temporary-auth-failure", "too many failures, try again later"))


def _succeeded(avatar: Avatar, throttle: IThrottle, driver: StreamDriver, account: str) -> Avatar:
    throttle.succeeded(driver.peer, account)
    return avatar


def _failed(failure: Failure, throttle: IThrottle, driver: StreamDriver, account: str) -> Any:
    assert failure.value is not None
    if failureFor(failure.value).condition == "temporary-auth-failure":
        return failure
    delay = throttle.failed(driver.peer, account)
    return deferLater(driver.factory.clock, delay, lambda: failure) if delay else failure
