"""Addresses of peers as limits count them."""

from __future__ import annotations

import ipaddress


def networkOf(address: str) -> str:
    """The name under which an address is tallied: an IPv6 address is its /64 network, because whoever has one has all
    of that (hardening D09); what is no IP address stands for itself."""
    try:
        parsed = ipaddress.ip_address(address.strip("[]").partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
