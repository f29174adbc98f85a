"""What happens to streams, told to the log and counted.

The lines on logins are for people and for tools such as fail2ban: the address comes first, because what follows was
chosen by the peer (hardening D10). No password, no SASL payload and no stanza ever gets here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.logger import Logger

from xmppservice.protocol.errors import StreamError
from xmppservice.protocol.sasl.registry import MECHANISMS
from xmppservice.protocol.stream import component

if TYPE_CHECKING:
    from xmppservice.edge.driver import StreamDriver
    from xmppservice.hub.contracts.stream import ISession
    from xmppservice.protocol.jid import JID

_log = Logger()

#: Ends of a session that are nobody's trouble.
_ORDINARY = frozenset({"system-shutdown", "conflict", "host-gone"})
_LONGEST = 100
#: Ways to log in; the peer says which one it wants, and may say anything.
_KNOWN = frozenset({*MECHANISMS, component.MECHANISM})


class Report:
    """The tallies of one factory: plain dicts, read by whoever shows figures."""

    __slots__ = ("logins", "streamErrors")

    def __init__(self) -> None:
        #: By mechanism and by "ok" or the SASL condition.
        self.logins: dict[tuple[str, str], int] = {}
        #: Stream errors that we sent, by condition.
        self.streamErrors: dict[str, int] = {}

    def loggedIn(self, driver: StreamDriver, mechanism: str, jid: JID) -> None:
        """A peer has proved who it is."""
        self._count(mechanism, "ok")
        _log.info(
            "login from {address}: {jid} ({mechanism}, {tls})",
            address=driver.peer, jid=jid.bare, mechanism=mechanism, tls=_tlsOf(driver),
        )  # fmt: skip

    def refused(self, driver: StreamDriver, mechanism: str, user: str, condition: str) -> None:
        """A login failed; `mechanism` and `user` are what the peer claims."""
        known = mechanism if mechanism in _KNOWN else "unknown"
        self._count(known, condition)
        _log.warn(
            "login failed from {address}: {condition} ({mechanism}, {tls}) as {user!r}",
            address=driver.peer, condition=condition, mechanism=known, tls=_tlsOf(driver), user=user[:_LONGEST],
        )  # fmt: skip

    def ended(self, driver: StreamDriver, session: ISession | None, error: StreamError | None) -> None:
        """A stream ends by our hand, with an error; or in peace."""
        condition = "closed" if error is None else error.condition
        if error is not None:
            self.streamErrors[condition] = self.streamErrors.get(condition, 0) + 1
        if session is None:
            _log.debug("stream from {address} ended before a session: {condition}",
                       address=driver.peer, condition=condition)  # fmt: skip
        elif error is None or condition in _ORDINARY:
            _log.debug("session {jid} from {address} ended: {condition}",
                       jid=session.jid.full, address=driver.peer, condition=condition)  # fmt: skip
        else:
            _log.info("session {jid} from {address} ended: {error}",
                      jid=session.jid.full, address=driver.peer, error=str(error))  # fmt: skip

    def lost(self, driver: StreamDriver, session: ISession) -> None:
        """The connection of a session has gone without a word."""
        _log.debug("session {jid} from {address} lost its connection",
                   jid=session.jid.full, address=driver.peer)  # fmt: skip

    def slowed(self, driver: StreamDriver, session: ISession | None) -> None:
        """A stream is over its rate for the first time."""
        _log.info(
            "stream from {address} is over its rate and read more slowly: {who}",
            address=driver.peer, who="nobody yet" if session is None else session.jid.full,
        )  # fmt: skip

    def _count(self, mechanism: str, outcome: str) -> None:
        key = mechanism, outcome
        self.logins[key] = self.logins.get(key, 0) + 1


def _tlsOf(driver: StreamDriver) -> str:
    """The version of TLS, or that there is none."""
    tls = driver.factory.tls
    if not driver.secure or tls is None:
        return "no TLS"
    return tls.describe(driver.transport).partition(" ")[0] or "TLS"
