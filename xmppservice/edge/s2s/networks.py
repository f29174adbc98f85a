"""Networks that federation does not connect to (S10): what is behind the operator's walls, if the operator says so."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PRIVATE: Final[tuple[Network, ...]] = tuple(
    map(
        ipaddress.ip_network,
        (
            # This host, private use, carriers' own, link-local, protocol assignments, benchmarks, multicast, reserved.
            "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.168.0.0/16 "
            "198.18.0.0/15 224.0.0.0/4 240.0.0.0/4 "
            "::/128 ::1/128 64:ff9b:1::/48 100::/64 fc00::/7 fe80::/10 fec0::/10 ff00::/8"
        ).split(),
    )
)
"""What "private" stands for: addresses that mean something only here (RFC 6890)."""
_TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")


def parseNetworks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Read "private", "192.0.2.0/24", "2001:db8::1" and so on; raises ValueError, which says what is wrong."""
    found: list[Network] = []
    for text in texts:
        if text == "private":
            found += PRIVATE
            continue
        try:
            found.append(ipaddress.ip_network(text, strict=False))
        except ValueError:
            raise ValueError(f'{text!r} is no network: write it like 192.0.2.0/24, or "private"') from None
    return tuple(found)


def refuses(networks: Iterable[Network], address: str) -> bool:
    """Whether an address, or an IPv4 address that is inside it, is in one of the networks."""
    # A zone names an interface of this machine; the rest decides.
    spellings = _spellings(ipaddress.ip_address(address.partition("%")[0]))
    return any(each.version == network.version and each in network for network in networks for each in spellings)


def _spellings(address: Address) -> list[Address]:
    """The address, and the IPv4 addresses that packets to it may end at: mapped, 6to4, NAT64, and long obsolete."""
    found: list[Address] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        found += [each for each in (address.ipv4_mapped, address.sixtofour) if each is not None]
        if address in _TRANSLATED or (address in _COMPATIBLE and int(address) > 1):
            found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return found
