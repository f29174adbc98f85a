"""What an operator may set about streams, as one frozen value."""

from __future__ import annotations

import attrs

from xmppservice.edge.rates import ADDRESS, STREAM, Exemptions, Rates
from xmppservice.protocol.stream.roles import REQUIRED
from xmppservice.wire.limits import AUTHENTICATED, PRE_AUTH, Limits


@attrs.frozen(kw_only=True)
class StreamSettings:
    """Limits and times of client streams. Seconds and bytes throughout.

    `enabled` false lifts what would hinder a test bed: connections per address, rates and the
    throttle. It never lifts what protects the process itself (stanza sizes, deadlines, memory).
    `memory` and `addressSpace` are the high-water marks of the process, 0 for none.
    """

    enabled: bool = True
    tls: str = REQUIRED
    preAuth: Limits = PRE_AUTH
    authenticated: Limits = AUTHENTICATED
    authenticationDeadline: float = 30.0
    closingDeadline: float = 5.0
    errorDeadline: float = 1.0
    tries: int = 5
    silence: float = 300.0
    silenceAnswer: float = 60.0
    outgoing: int = 256 * 1024
    perAddress: int = 100
    unauthenticated: int = 2000
    streamRates: Rates = STREAM
    addressRates: Rates = ADDRESS
    exempt: Exemptions = attrs.field(factory=Exemptions)
    memory: int = 0
    addressSpace: int = 0
    keepAlive: bool = False
    mechanisms: frozenset[str] | None = None
