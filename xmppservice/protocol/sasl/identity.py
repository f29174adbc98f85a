"""Who a client is and whom it may act for: the one place that judges, for every mechanism."""

from __future__ import annotations

from xmppservice.protocol.errors import SASLFailure
from xmppservice.protocol.jid import JID, InvalidJID, prepareLocal

#: A localpart has at most this many octets (RFC 7622 section 3.3); so has anything else a user may type.
MAX_FIELD = 1023


def prepareUser(name: str) -> str:
    """Return the localpart that `name` (an authentication identity) stands for (RFC 6120 6.3.7).

    A name that can be nobody's is answered like a wrong password, so that nothing is learnt from it.
    """
    if not name or len(name.encode("utf-8")) > MAX_FIELD:
        raise SASLFailure("malformed-request")
    try:
        return prepareLocal(name)
    except ValueError:
        raise SASLFailure("not-authorized") from None


def parseIdentity(authzid: str) -> JID:
    """Return the bare JID that an authorisation identity names (RFC 6120 6.3.8)."""
    try:
        jid = JID.parse(authzid)
    except InvalidJID:
        raise SASLFailure("invalid-authzid") from None
    if not jid.isBare or not jid.local:
        raise SASLFailure("invalid-authzid")
    return jid


def authorize(authzid: str, local: str, host: str) -> None:
    """Allow `local`@`host` to act as itself and as nobody else; "" stands for itself (RFC 6120 6.3.8)."""
    if authzid:
        jid = parseIdentity(authzid)
        if jid.local != local or jid.domain != host:
            raise SASLFailure("invalid-authzid")
