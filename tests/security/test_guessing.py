"""Guessing passwords: tries of a stream, delays of an address, and nobody else is hindered (RFC 6120 6.4.5, A06)."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.attack.raw import auth, ownAddress, plain
from tests.security.conftest import SecuredServer
from tests.security.tlsclient import Scram, contextFor, failed
from xmppservice.wire import ns


def once(quick: Callable[[], bool]) -> bool:
    """Whether it is quick in one of a few tries, each from an address of its own.

    A delay of the server's comes with each of them; one of a busy machine does not.
    """
    return any(quick() for _ in range(3))


def test_fiveTries(server: SecuredServer, user: str, secret: str) -> None:
    """The fifth failure is answered and ends the stream; whatever kinds of failure they were."""
    client, exchange = server.secured(), Scram(user, secret)
    failures = {
        auth("FOO", b""): "invalid-mechanism",
        plain(user, secret, "somebody@localhost"): "invalid-authzid",
        f"<abort xmlns='{ns.SASL}'/>": "aborted",
        plain(user, "wrong"): "not-authorized",
    }
    for request, wanted in failures.items():
        client.send(request)
        assert failed(client.element()) == wanted
    client.send(exchange.auth())
    client.send(exchange.response(client.element()).replace("<response", "<abort").replace("</response", "</abort"))
    assert failed(client.element()) == "aborted"
    client.refused("policy-violation")


def test_triesAreCountedAcrossTLS(server: SecuredServer, user: str, secret: str) -> None:
    """STARTTLS gives no tries back, but a success before the last is a success."""
    client = server.plain()
    for _ in range(4):
        client.send(plain(user, secret))
        assert failed(client.element()) == "encryption-required"
    client.startSecure(contextFor(server.ca))
    client.open()
    client.send(plain(user, secret))
    assert client.element().name == "success"


def test_pipelinedGuesses(server: SecuredServer, user: str, secret: str) -> None:
    """Sent all at once, they are judged one by one, and the right one behind the last try is too late."""
    client = server.secured()
    client.send("".join(plain(user, f"wrong{number}") for number in range(5)) + plain(user, secret))
    for _ in range(5):
        assert failed(client.element()) == "not-authorized"
    client.refused("policy-violation")


def test_delaysGrow(server: SecuredServer, user: str) -> None:
    """The first failures are answered at once; then each takes longer than the one before."""

    def quick() -> bool:
        address, took = ownAddress(), []
        client = server.secured(address=address)
        for _ in range(5):
            before = time.monotonic()
            client.send(plain(user, "wrong"))
            assert failed(client.element()) == "not-authorized"
            took.append(time.monotonic() - before)
        assert took[3] >= 0.5 and took[4] >= 1.0, took
        return sum(took[:3]) < 1.5 and took[3] < 5 and took[4] < 8

    assert once(quick)


def test_manyGuesses(server: SecuredServer, user: str, secret: str, other: str) -> None:
    """From some number on an address is not heard at all about this account; others and elsewhere it is."""
    address = ownAddress()
    streams = [server.secured(address=address) for _ in range(16)]
    for client in streams:
        client.send(plain(user, "wrong"))
    # Each was counted when it was judged, not when it was answered.
    deadline = time.monotonic() + 30
    while True:
        client = server.secured(address=address)
        client.send(Scram(user, secret).auth())
        answer = client.element()
        if answer.name == "failure" or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    assert failed(answer) == "temporary-auth-failure"
    client.send(plain(user, secret))
    assert failed(client.element()) == "temporary-auth-failure"
    # The owner elsewhere, and others here, are not hindered.
    assert server.secured().scram(user, secret).name == "success"
    assert server.secured(address=address).scram(other, other[::-1]).name == "success"


def test_successClearsTheTally(server: SecuredServer, user: str, secret: str) -> None:
    """Who mistypes twice and then gets it right starts anew."""

    def quick() -> bool:
        address, before = ownAddress(), time.monotonic()
        for _ in range(3):
            client = server.secured(address=address)
            for _ in range(2):
                client.send(plain(user, "wrong"))
                assert failed(client.element()) == "not-authorized"
            client.send(plain(user, secret))
            assert client.element().name == "success"
        # Added up, six failures would have cost half a second, one and two.
        return time.monotonic() - before < 3

    assert once(quick)


def test_otherFaultsAreNoGuesses(server: SecuredServer, user: str, secret: str) -> None:
    """Unknown mechanisms and bad base64 say nothing about a password and delay nobody."""

    def quick() -> bool:
        address = ownAddress()
        for _ in range(4):
            client = server.secured(address=address)
            for request in (auth("FOO", b""), auth("PLAIN", "x"), auth("PLAIN", b"x"), plain(user, secret, "x@y")):
                client.send(request)
                assert client.element().name == "failure"
        before = time.monotonic()
        client = server.secured(address=address)
        client.send(plain(user, "wrong"))
        assert failed(client.element()) == "not-authorized"
        return time.monotonic() - before < 3

    assert once(quick)
