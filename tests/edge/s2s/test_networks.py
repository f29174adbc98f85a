"""Networks that are refused (S10)."""

from __future__ import annotations

import pytest

from xmppservice.edge.s2s.networks import PRIVATE, parseNetworks, refuses


@pytest.mark.parametrize(
    "address",
    "127.0.0.1 127.9.9.9 0.0.0.0 10.1.2.3 172.31.255.255 192.168.0.1 169.254.169.254 100.64.0.1 224.0.0.1 "
    "255.255.255.255 ::1 :: fe80::1 fe80::1%eth0 fd00::1 ff02::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.1.1 "
    "::127.0.0.1 2002:7f00:1::1 2002:a00:1::1 64:ff9b::7f00:1 64:ff9b::10.0.0.1".split(),
)
def test_private(address: str) -> None:
    """Addresses that mean something only here, in every way to write them into an IPv6 address."""
    assert refuses(PRIVATE, address)


@pytest.mark.parametrize(
    "address", "8.8.8.8 172.32.0.1 11.0.0.1 2606:4700::1111 ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2002:808:808::1".split()
)
def test_public(address: str) -> None:
    """Addresses of everybody; nothing is refused if nothing is configured."""
    assert not refuses(PRIVATE, address)
    assert not refuses((), "127.0.0.1")


def test_parsed() -> None:
    """What an operator may write, and what is said about what cannot be read."""
    networks = parseNetworks(["private", "192.0.2.7/24", "2001:db8::1"])
    assert refuses(networks, "192.0.2.200") and refuses(networks, "::ffff:192.0.2.200")
    assert refuses(networks, "2001:db8::1") and not refuses(networks, "2001:db8::2")
    assert refuses(networks, "127.0.0.1")
    with pytest.raises(ValueError, match=r"'192\.0\.2\.0/33' is no network"):
        parseNetworks(["192.0.2.0/33"])
