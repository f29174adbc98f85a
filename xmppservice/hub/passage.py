"""Running the handlers of one side over a stanza, at once or with waiting in between.

The usual case costs a loop over bound methods: no Deferred, no coroutine. A handler that
returns a Deferred or a coroutine turns the rest of the side into a continuation; whoever
called `run` then gets the Deferred and keeps later stanzas of the pair in order.
"""

from __future__ import annotations

import inspect
import secrets
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from xmppservice.hub.hooks import HANDLED, Phase
from xmppservice.protocol.errors import StanzaError
from xmppservice.wire.element import Element

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure

    from xmppservice.hub.table import Steps
    from xmppservice.hub.transit import Transit

log = Logger()

#: Seconds that one handler may take (architecture section 4, Waiting).
WAIT_DEADLINE = 10.0


def run(transit: Transit, steps: Steps, clock: IReactorTime) -> Any:
    """Run `steps` over `transit`.

    Returns None when all went on, HANDLED when one is done with it, an IQ reply, or a
    Deferred of one of these. Raises StanzaError when one refuses; an exception that nobody
    expected fails open in OBSERVE and closed (internal-server-error) elsewhere.
    """
    for index, (method, phase) in enumerate(steps):
        try:
            outcome = method(transit)
        except StanzaError:
            raise
        except Exception:
            failed(transit, phase)
            continue
        if outcome is None:
            continue
        if outcome is HANDLED or isinstance(outcome, Element):
            return outcome
        return _later(transit, outcome, phase, steps[index + 1 :], clock)
    return None


def failed(transit: Transit, phase: Phase) -> None:
    """An unexpected exception is being handled: log it; raise unless it fails open."""
    incident = logIncident(f"a handler of {transit.kind} failed in {phase.name}")
    if phase is not Phase.OBSERVE:
        raise StanzaError("internal-server-error", text=f"incident {incident}") from None


def logIncident(what: str, failure: Failure | None = None) -> str:
    """Log a failure, or the current exception, under a fresh incident id, which is returned."""
    incident = secrets.token_hex(6)
    log.failure("{what} (incident {incident})", failure, what=what, incident=incident)
    return incident


def asDeferred(outcome: Any, clock: IReactorTime) -> Deferred[Any]:
    """A Deferred for what a handler returned, with the deadline of handlers."""
    if inspect.iscoroutine(outcome):
        outcome = Deferred.fromCoroutine(outcome)
    waiting: Deferred[Any] = outcome
    if not waiting.called:
        waiting.addTimeout(WAIT_DEADLINE, clock)
    return waiting


def _later(transit: Transit, outcome: Any, phase: Phase, rest: Steps, clock: IReactorTime) -> Deferred[Any]:
    """Go on with `rest` when `outcome` is there."""

    def proceed(value: Any) -> Any:
        if value is not None:
            return value
        return run(transit, rest, clock)

    def refused(failure: Any) -> Any:
        if failure.check(StanzaError):
            return failure
        incident = logIncident(f"a handler of {transit.kind} failed in {phase.name}", failure)
        if phase is Phase.OBSERVE:
            return None
        raise StanzaError("internal-server-error", text=f"incident {incident}")

    waiting = asDeferred(outcome, clock)
    waiting.addErrback(refused)
    waiting.addCallback(proceed)
    return waiting
