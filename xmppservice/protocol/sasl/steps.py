"""What a SASL mechanism asks of whoever drives it, one small class per step."""

from __future__ import annotations

from typing import TypeAlias

from xmppservice.protocol.sasl.credentials import SASLCredentials


class Challenge:
    """Send `data` to the client and hand its answer to `respond` (RFC 6120 6.4.3)."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class NeedSecrets:
    """Fetch salt and iteration count of `user` and call the machine's `secrets`.

    `user` is the prepared localpart; `mechanism` never ends in -PLUS, because a key serves both variants.
    """

    __slots__ = ("mechanism", "user")

    def __init__(self, user: str, mechanism: str) -> None:
        self.user = user
        self.mechanism = mechanism


class Credentials:
    """Log in to the portal with `credentials`; when it accepts, call the machine's `accepted`."""

    __slots__ = ("credentials",)

    def __init__(self, credentials: SASLCredentials) -> None:
        self.credentials = credentials


class Success:
    """The exchange is over and well; `data` goes along with <success/> (RFC 6120 6.4.6)."""

    __slots__ = ("data",)

    def __init__(self, data: bytes | None = None) -> None:
        self.data = data


Step: TypeAlias = Challenge | NeedSecrets | Credentials | Success
