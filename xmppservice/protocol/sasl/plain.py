"""SASL PLAIN (RFC 4616)."""

from __future__ import annotations

from xmppservice.protocol.errors import SASLFailure
from xmppservice.protocol.sasl.credentials import PlainCredentials
from xmppservice.protocol.sasl.identity import MAX_FIELD, prepareUser
from xmppservice.protocol.sasl.mechanism import Mechanism, decodeText
from xmppservice.protocol.sasl.steps import Challenge, Step


class Plain(Mechanism):
    """One message: [authzid] NUL authcid NUL passwd."""

    __slots__ = ()

    def _advance(self, data: bytes | None) -> Step:
        if data is None:
            return Challenge(b"")
        fields = data.split(b"\0")
        if len(fields) != 3 or max(map(len, fields)) > MAX_FIELD:
            raise SASLFailure("malformed-request")
        authzid, name, _ = map(decodeText, fields)
        if not fields[2]:
            raise SASLFailure("malformed-request")
        local = prepareUser(name)
        return self._claim(local, authzid, PlainCredentials(local.encode("utf-8"), fields[2]))
