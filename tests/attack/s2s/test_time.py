"""Other servers that fall silent, and the end of ours, on a server with short times (hardening D02, 3.1).

Everybody who is silent is so at the same time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.attack.peer import DIALBACK, EXTERNAL, RawPeer, RawServer, body, dialback
from tests.attack.raw import DOMAIN, STARTTLS, auth, password
from tests.attack.s2s.writer import TIMEOUT, Writer
from tests.attack.servers.federating import ChangedFederation, Town
from xmppservice.wire import ns

AUTH_TIME, SLACK = 3.0, 12.0
_USERS = ("alice", "canary", "user1")


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory, town: Town) -> Iterator[ChangedFederation]:
    """Our server in a hurry."""
    code = "from tests.attack.s2s import cuts; cuts.hurry()"
    limits = f'auth_time = "{AUTH_TIME:g} s"\n'
    running = ChangedFederation(tmp_path_factory.mktemp("short"), town, code, "dialback", limits)
    running.addUsers({user: password(user) for user in _USERS})
    yield running
    if running.child.running():
        running.stop()
    assert running.fault not in running.report() and "Unhandled" not in running.report(), running.report()


# -- those who call us ------------------------------------------------------------------------------------


def _half(short: ChangedFederation) -> RawPeer:
    peer = short.call("a.test", direct=False)
    peer.open()
    peer.send(STARTTLS)
    peer.element()
    return peer


def _handshake(short: ChangedFederation) -> RawPeer:
    peer = RawPeer(short.s2sDirectPort, "a.test")
    peer.send(b"\x16\x03\x01\x02\x00\x01")
    return peer


def _between(short: ChangedFederation) -> RawPeer:
    peer = short.covered("a.test", "a.test")
    peer.send(auth("EXTERNAL", b""))
    assert peer.element().name == "success"
    return peer


def _unproved(short: ChangedFederation) -> RawPeer:
    peer = short.covered("a.test")
    peer.send(dialback("result", "no.such.name.test", DOMAIN, "key"))
    assert peer.result().get("type") == "error"
    return peer


def _authority(short: ChangedFederation) -> RawPeer:
    peer = short.covered("a.test")
    peer.send(dialback("verify", "a.test", DOMAIN, "key", id="1"))
    assert peer.result().get("type") == "invalid"
    return peer


CALLERS: dict[str, Callable[[ChangedFederation], RawPeer]] = {
    "nothing": lambda short: short.call("a.test"),
    "a header": lambda short: short.caller("a.test"),
    "half a start of TLS": _half,
    "half a handshake": _handshake,
    "TLS": lambda short: short.covered("a.test", "a.test"),
    "a proof, and no header": _between,
    "dialback that failed": _unproved,
    "questions only": _authority,
}


@pytest.fixture(scope="module")
def callers(short: ChangedFederation) -> dict[str, tuple[RawPeer, float]]:
    """All of them, and when they fell silent."""
    return {name: (call(short), time.monotonic()) for name, call in CALLERS.items()}


@pytest.mark.attack("D02")
@pytest.mark.parametrize("name", CALLERS)
def test_silentCallers(callers: dict[str, tuple[RawPeer, float]], name: str) -> None:
    """D02, 3.1 connection-timeout: whoever proves nothing is put out in time, also if it asks us something."""
    peer, since = callers[name]
    rest = peer.rest(AUTH_TIME + SLACK)
    assert time.monotonic() - since < AUTH_TIME + SLACK
    if rest:
        assert b"connection-timeout" in peer.raw
    peer.close()


@pytest.mark.attack("D02")
def test_drippingHeader(short: ChangedFederation) -> None:
    """D02: an octet now and then does not help."""
    peer, begun = short.call("a.test"), time.monotonic()
    for octet in peer.header():
        peer.send(octet)
        if not peer.silent(0.2):
            break
    peer.rest(AUTH_TIME + SLACK)
    assert time.monotonic() - begun < AUTH_TIME + SLACK


# -- those whom we call -------------------------------------------------------------------------------------


def _opened(server: RawServer) -> RawPeer:
    peer = server.accept()
    peer.hear()
    return peer


def _proceeds(server: RawServer) -> RawPeer:
    peer = server.opened()
    peer.element()
    peer.send(f"<proceed xmlns='{ns.TLS}'/>")
    return peer


def _takesProof(server: RawServer) -> RawPeer:
    peer = server.secured(DIALBACK)
    assert peer.result().name == "result"
    return peer


def _takesExternal(server: RawServer) -> RawPeer:
    peer = server.secured(EXTERNAL)
    assert peer.element().name == "auth"
    return peer


def _restarts(server: RawServer) -> RawPeer:
    peer = _takesExternal(server)
    peer.send(f"<success xmlns='{ns.SASL}'/>")
    peer.restart()
    peer.hear()
    return peer


CALLED: dict[str, Callable[[RawServer], RawPeer]] = {
    "a connection": lambda server: server.accept(),
    "our header": _opened,
    "features": lambda server: server.opened(),
    "a leave for TLS": _proceeds,
    "our proof": _takesExternal,
    "our key": _takesProof,
    "success": _restarts,
}


@pytest.mark.attack("D02")
def test_silentServers(short: ChangedFederation, town: Town) -> None:
    """D02, 3.3 remote-server-timeout: wherever a server falls silent, messages for it come back."""
    alice = Writer(short.login("alice"))
    neighbours = {name: town.neighbour() for name in CALLED}
    ids = {name: alice.write(neighbours[name].domain, owed=False) for name in CALLED}
    peers = {}
    for name, fallSilent in CALLED.items():
        peers[name] = fallSilent(neighbours[name])
    begun = time.monotonic()
    for name, id in ids.items():
        assert alice.bounce(id) == TIMEOUT, name
    assert time.monotonic() - begun < 8 + SLACK
    for name, peer in peers.items():
        neighbours[name].close()
        peer.close()
    alice.client.close()


@pytest.mark.attack("D02")
def test_silentAuthority(short: ChangedFederation, town: Town) -> None:
    """D02, XEP-0220 2.2.1: an authoritative server that does not answer costs its domain the proof, and nobody else."""
    silent = town.neighbour()
    peer = short.covered(silent.domain)
    peer.send(dialback("result", silent.domain, DOMAIN, "key"))
    asked = silent.secured(DIALBACK)
    asked.result()
    # The caller may be put out first, as somebody who has proved nothing.
    items = peer.rest(AUTH_TIME + SLACK)
    assert items and b"type='valid'" not in peer.raw
    asked.close()


# -- the end ------------------------------------------------------------------------------------------------


def test_shutdown(short: ChangedFederation, town: Town) -> None:
    """3.1 system-shutdown: streams in both directions are told; what is not delivered comes back before the end."""
    neighbour = town.neighbour()
    alice = short.login("alice")
    known, calls = short.proved("known.test"), short.caller("stranger.test")
    alice.send(f"<message to='x@{neighbour.domain}'><body>x</body></message>")
    called = neighbour.authenticated()
    assert called.element().name == "message"
    known.send(body("a@known.test", alice.jid))
    assert alice.messages(1)
    ends = [threading.Thread(target=each.refused, args=("system-shutdown",)) for each in (known, calls, called)]
    for end in ends:
        end.start()
    begun = time.monotonic()
    assert short.stop() == 0, short.report()
    assert time.monotonic() - begun < 20
    for end in ends:
        end.join(10)
    for each in (known, calls, called):
        assert b"system-shutdown" in each.raw, each.raw[-300:]
