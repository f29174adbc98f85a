"""The memory mark: new work is shed before the kernel has to choose a victim (hardening R31)."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from tests.edge.doubles import HOST, Peer, TestHost, Transport, bind, boundPeer, header, logIn
from xmppservice.edge.driver import StreamDriver
from xmppservice.edge.memory import SHARE, Watermark, automaticMarks, processUsage

#: More than the process of any test run: until a test puts its own `Usage` in place, the real one counts.
MARK = 1 << 44


class Usage:
    """What the process uses, as a test wants it."""

    def __init__(self) -> None:
        self.resident = MARK // 2
        self.space = MARK

    def __call__(self) -> tuple[int, int]:
        """Resident bytes and address space."""
        return self.resident, self.space


def marked(peer: Peer) -> Usage:
    """Put a mark on the peer's server."""
    usage = Usage()
    peer.factory._watermark.usage = usage
    return usage


def another(peer: Peer) -> tuple[StreamDriver, Transport]:
    """One more connection."""
    transport, driver = Transport(), peer.factory.buildProtocol(None)
    assert isinstance(driver, StreamDriver)
    driver.makeConnection(transport)
    peer.factory.writer.flush()
    return driver, transport


def test_newConnectionsAreToldWhy() -> None:
    """A stream is opened, says resource-constraint, and is closed."""
    peer = boundPeer(memory=MARK)
    usage = marked(peer)
    usage.resident = MARK + 1
    peer.advance(1)
    assert peer.factory.shedding
    _, transport = another(peer)
    said = transport.value().decode()
    assert f"from='{HOST}'" in said and "<resource-constraint" in said and said.endswith("</stream:stream>")
    assert transport.disconnecting
    assert peer.factory.refused == {"memory": 1}


def test_strangersGoFirstAndSessionsStay() -> None:
    """Who has not authenticated is closed; who has a session goes on; who is about to bind may not."""
    peer = boundPeer(memory=MARK)
    usage = marked(peer)
    stranger, transport = another(peer)
    stranger.dataReceived(header().encode())
    _, between = another(peer)
    usage.resident = MARK + 1
    peer.advance(1)
    peer.factory.writer.flush()
    assert b"<resource-constraint" in transport.value() and transport.disconnecting
    assert b"<resource-constraint" in between.value()
    peer.say("<message id='1'/>")
    assert [element.get("id") for element in peer.session.received] == ["1"]
    assert not peer.transport.disconnecting


def test_bindingIsRefused() -> None:
    """An authenticated stream that asks for a session gets resource-constraint, and may ask again later."""
    host = TestHost()
    peer = Peer(host=host, memory=MARK)
    usage = marked(peer)
    logIn(peer)
    peer.say(header())
    usage.resident = MARK + 1
    peer.advance(1)
    reply = peer.say(bind("desk"))
    assert "type='wait'" in reply and "<resource-constraint" in reply and not peer.transport.disconnecting
    assert host.sessions == []
    usage.resident = MARK // 2
    peer.advance(1)
    assert "type='result'" in peer.say(bind("desk", "b2"))
    assert len(host.sessions) == 1


def test_resumptionIsNoNewWork() -> None:
    """A session that exists already may get its stream back (XEP-0198 5)."""
    peer = Peer(memory=MARK)
    usage = marked(peer)
    logIn(peer)
    peer.say(header())
    usage.resident = MARK + 1
    peer.advance(1)
    assert "<resumed" in peer.say("<resume xmlns='urn:xmpp:sm:3' previd='good' h='0'/>")


def test_hysteresis() -> None:
    """Just below the mark nothing is accepted yet, so that the state does not flutter."""
    usage = Usage()
    watermark = Watermark(MARK, 0, usage)
    changes = []
    for resident in (50, 101, 99, 91, 89, 99, 101):
        usage.resident = resident * MARK // 100
        changes.append((watermark.look(), watermark.above))
    assert changes == [(False, False), (True, True), (False, True), (False, True), (True, False), (False, False),
                       (True, True)]  # fmt: skip


def test_addressSpace() -> None:
    """Under RLIMIT_AS it is the address space that runs out."""
    usage = Usage()
    watermark = Watermark(0, MARK, usage)
    usage.resident = 10 * MARK
    assert not watermark.look()
    usage.space = MARK + 1
    assert watermark.look() and watermark.above


def test_noMark() -> None:
    """Zero is no mark; and a mark that a reload takes away ends the shedding."""
    usage = Usage()
    usage.resident = 1 << 60
    watermark = Watermark(0, 0, usage)
    assert not watermark.look()
    watermark.memory = MARK
    assert watermark.look()
    watermark.memory = 0
    assert watermark.look() and not watermark.above


def test_firstConnectionAfterSilenceLooks() -> None:
    """While nobody is connected nobody looks: the first who comes is not refused for what was."""
    peer = boundPeer(memory=MARK)
    usage = marked(peer)
    usage.resident = MARK + 1
    peer.advance(1)
    peer.driver.connectionLost()
    assert peer.factory.shedding
    usage.resident = MARK // 2
    driver, transport = another(peer)
    assert not transport.disconnecting and not peer.factory.shedding
    driver.connectionLost()


def test_usageOfThisProcess() -> None:
    """The figures are those of the process: resident is less than the address space, and more than nothing."""
    resident, space = processUsage()
    assert 1 << 20 < resident < space


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 0),
        ({"proc/meminfo": "MemTotal:        1024 kB\nMemFree: 1 kB\n"}, 1 << 20),
        ({"proc/meminfo": "MemTotal: 1024 kB\n", "proc/self/cgroup": "0::/a/b\n",
          "sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/memory.max": "500000\n"}, 500_000),
        ({"proc/meminfo": "MemTotal: 1024 kB\n", "proc/self/cgroup": "4:memory:/x\n0::/\n",
          "sys/fs/cgroup/memory.high": "400000\n", "sys/fs/cgroup/memory.max": "600000\n"}, 400_000),
        ({"proc/meminfo": "nonsense", "proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "x"}, 0),
    ],
)  # fmt: skip
def test_automaticMark(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    """The smallest of what control groups (ours and those above) and the machine grant."""
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert automaticMarks(tmp_path)[0] == int(expected * SHARE)


def test_automaticAddressSpace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """RLIMIT_AS counts where it is set."""
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1 << 30, 1 << 30))
    assert automaticMarks(tmp_path) == (0, int((1 << 30) * SHARE))
    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY,) * 2)
    assert automaticMarks(tmp_path) == (0, 0)


def test_refusedConnectionsAreCounted() -> None:
    """Whoever shows figures finds each refusal under its reason."""
    peer = Peer(perAddress=2)
    another(peer)
    assert not isinstance(peer.factory.buildProtocol(peer.transport.getPeer()), StreamDriver)
    assert peer.factory.refused == {"address": 1}
    full = Peer(unauthenticated=1)
    assert not isinstance(full.factory.buildProtocol(None), StreamDriver)
    assert full.factory.refused == {"unauthenticated": 1}
