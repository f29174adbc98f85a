"""SASL ANONYMOUS (RFC 4505, XEP-0175)."""

from __future__ import annotations

from xmppservice.protocol.errors import SASLFailure
from xmppservice.protocol.sasl.credentials import AnonymousCredentials
from xmppservice.protocol.sasl.mechanism import Mechanism, decodeText
from xmppservice.protocol.sasl.steps import Step

#: The "token" production of RFC 4505 section 2, in characters.
MAX_TRACE = 255


class Anonymous(Mechanism):
    """At most one message, the trace. None is asked for: XEP-0175 succeeds on a bare <auth/>."""

    __slots__ = ()

    def _advance(self, data: bytes | None) -> Step:
        trace = decodeText(data or b"")
        if len(trace) > MAX_TRACE:
            raise SASLFailure("malformed-request")
        return self._issue(AnonymousCredentials(trace))
