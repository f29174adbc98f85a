"""Resource binding (RFC 6120 section 7): which resource a stream gets, and who has to go."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail, succeed

from xmppservice.hub.session import Session
from xmppservice.protocol.errors import StanzaError, StreamError
from xmppservice.protocol.jid import InvalidJID, prepareResource

if TYPE_CHECKING:
    from xmppservice.hub.account import Account
    from xmppservice.hub.contracts.stream import IStream


def bind(account: Account, stream: IStream, wanted: str | None) -> Deferred[Session]:
    """Make a session for `stream`; fails with `StanzaError`.

    A resource that is taken follows the policy ``limits.resource_conflict`` (7.7.2.2): "replace"
    ends the older session with ``<conflict/>``, "refuse" answers the newer one with an error,
    "rename" gives it another resource.
    """
    host = account.host
    try:
        resource = _prepared(wanted)
        taken = account.sessions.get(resource)
        if taken is not None and host.resourceConflict == "refuse" and taken.stream is not None:
            raise StanzaError("conflict", type="modify", text="another session has this resource")
        if taken is not None and host.resourceConflict == "rename" and taken.stream is not None:
            resource, taken = _prepared(None), None
        if taken is None and host.resourceLimit:
            _makeRoom(account, host.resourceLimit)
    except StanzaError as error:
        return fail(error)
    if taken is not None:
        taken.disconnect(StreamError("conflict", "replaced by a new session with the same resource"))
    session = Session(account, account.jid.withResource(resource), stream)
    account.sessions[session.resource] = session
    host.accounts.touched(account)
    host.sessionBound(session)
    return succeed(session)


def _prepared(wanted: str | None) -> str:
    """The resource in normal form; one of our making if none is asked for (7.6)."""
    if not wanted:
        return secrets.token_urlsafe(9)
    try:
        return prepareResource(wanted)
    except InvalidJID as error:
        raise StanzaError("bad-request", text=f"the resource is not valid: {error}") from None


def _makeRoom(account: Account, limit: int) -> None:
    """Too many resources: a hibernating session gives way, a connected one does not (7.7.2.1)."""
    if len(account.sessions) < limit:
        return
    sleeping = next((s for s in account.sessions.values() if s.stream is None), None)
    if sleeping is None:
        raise StanzaError("resource-constraint", text=f"an account can have {limit} sessions")
    sleeping.end()
