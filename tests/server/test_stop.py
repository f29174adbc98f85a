"""The end: signals, what streams are told, and what systemd hears of all that."""

from __future__ import annotations

import shutil
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attack.raw import RawClient
from tests.interop.processes import accepts, freePort, waitFor
from tests.server.conftest import MakeSite
from tests.server.site import LOCAL, Site
from xmppservice.wire import ns
from xmppservice.wire.element import Element

STOP_WITHIN = 10.0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_lastWords(site: Site, number: int) -> None:
    """Each stream gets its last acknowledgement and ``system-shutdown``, one in negotiation the latter; status 0."""
    site.start()
    site.users("alice@localhost")
    alice = site.login("alice@localhost")
    alice.enable()
    alice.send("<message to='alice@localhost/none' type='headline'/>" * 3)
    alice.ping()
    waiting = site.secured()
    site.process.send_signal(number)
    items = alice.refused("system-shutdown")
    acknowledgements = [item for item in items if isinstance(item, Element) and item.ns == ns.SM and item.name == "a"]
    assert acknowledgements[-1].get("h") == "4"
    waiting.refused("system-shutdown")
    alice.send("</stream:stream>")
    alice.close()
    waiting.close()
    assert site.process.wait(STOP_WITHIN) == 0
    assert "Traceback" not in site.log, site.log
    assert site.nothingLeft()


def _deafClient(site: Site) -> RawClient:
    """A bound client that reads nothing while more than a socket holds is on its way to it."""
    client = RawClient(site.port, "127.0.0.1", small=True)
    client.open()
    client.startTLS(site.ca)
    client.open()
    assert client.scram("deaf", "p").name == "success"
    client.restart()
    client.open()
    client.bind("r")
    client.send("<presence/>")
    return client


@pytest.fixture
def burdened(make: MakeSite) -> Iterator[Site]:
    """A server with much to say to a client that does not listen."""
    site = make(LOCAL + "[limits]\nqueue = '64 MiB'\nexempt = ['127.0.0.0/8']\n")
    site.start()
    site.users("alice@localhost")
    site.command("user add", jid="deaf@localhost", password="p")
    deaf, alice = _deafClient(site), site.login("alice@localhost")
    alice.send(f"<message to='deaf@localhost' type='chat'><body>{'x' * 60000}</body></message>" * 100)
    alice.ping(30)
    yield site
    deaf.close()
    alice.close()


def test_deafClient(burdened: Site) -> None:
    """A client that does not read keeps the server no longer than promised."""
    assert burdened.stop() < STOP_WITHIN


def test_secondSignal(burdened: Site) -> None:
    """A second SIGTERM ends the server at once, and the status says that this was not in order."""
    burdened.process.terminate()
    time.sleep(0.3)
    assert burdened.process.poll() is None, "it should be waiting for the client"
    begin = time.monotonic()
    burdened.process.terminate()
    assert burdened.process.wait(STOP_WITHIN) == 1
    # Without it, the server would wait for the client for five seconds.
    assert time.monotonic() - begin < 3
    assert "Traceback" not in burdened.log, burdened.log


class Listener:
    """The socket of a service supervisor: what the server tells it, datagram by datagram."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.settimeout(30)

    def hear(self, word: str) -> str:
        """The next message with this word; what comes before it is dropped."""
        while True:
            message = self._socket.recv(4096).decode()
            if word in message:
                return message

    def silent(self) -> bool:
        """Whether nothing has come so far."""
        self._socket.setblocking(False)
        try:
            return not self._socket.recv(4096)
        except BlockingIOError:
            return True
        finally:
            self._socket.settimeout(30)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Listener]:
    """A service supervisor."""
    yield Listener(tmp_path)


def test_notify(site: Site, supervisor: Listener) -> None:
    """READY when clients can come, signs of life, RELOADING and its end or refusal, STOPPING."""
    begin = time.monotonic()
    site.launch(NOTIFY_SOCKET=supervisor.path, WATCHDOG_USEC="400000")
    assert "STATUS=1 hosts, 0 streams, 0 sessions" in supervisor.hear("READY=1")
    assert accepts(site.port) and accepts(site.directPort), time.monotonic() - begin
    supervisor.hear("WATCHDOG=1")
    supervisor.hear("WATCHDOG=1")
    site.process.send_signal(signal.SIGHUP)
    assert "MONOTONIC_USEC=" in supervisor.hear("RELOADING=1")
    assert "refused" not in supervisor.hear("READY=1")
    site.write("[hosts")
    site.process.send_signal(signal.SIGHUP)
    supervisor.hear("RELOADING=1")
    assert "STATUS=reload refused: nothing was changed: " in supervisor.hear("READY=1")
    site.process.terminate()
    supervisor.hear("STOPPING=1")
    assert site.process.wait(STOP_WITHIN) == 0


def test_notReady(site: Site, supervisor: Listener) -> None:
    """A server that cannot start never says that it is ready."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", site.port))
        other.listen()
        site.launch(NOTIFY_SOCKET=supervisor.path)
        assert site.process.wait(STOP_WITHIN) == 1
    assert supervisor.silent()


@pytest.mark.skipif(shutil.which("systemd-socket-activate") is None, reason="apt install systemd")
def test_socketActivation(make: MakeSite) -> None:
    """The sockets that systemd opened and named serve clients; they are open before the server is."""
    ports = (freePort(), freePort())
    site = make(
        "[listen]\nc2s = ['systemd:domain=INET:name=c2s']\nc2s_tls = ['systemd:domain=INET:name=c2s-tls']\n" + LOCAL,
        False,
    )
    site.port, site.directPort = ports
    wrapper = ["systemd-socket-activate", "-l", f"127.0.0.1:{ports[0]}", "-l", f"127.0.0.1:{ports[1]}"]
    site.launch(wrapper=[*wrapper, "--fdname=c2s:c2s-tls", "--setenv=PYTHONPATH"])
    waitFor("systemd's sockets", lambda: all(map(accepts, ports)))
    waitFor("the server", lambda: "serving " in site.log)
    site.users("alice@localhost")
    site.login("alice@localhost").close()
    site.secured(direct=True).close()
    site.stop()
