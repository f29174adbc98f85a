"""External components against the real process: Twisted's own component client, configuration, reload."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attack.raw import RawClient
from tests.interop.processes import Child, freePort, waitFor
from tests.server.site import Site, environment
from tests.server.test_metrics import of, scrape
from tests.sources import ROOT
from xmppservice.hub.commands import CommandError
from xmppservice.protocol.stream.component import handshake
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.parser import StreamHeader

SECRET = "0123456789abcdef0123456789abcdef"
DOMAIN = "echo.localhost"
PORT = f'[ports."{DOMAIN}"]\nkind = "component"\nsecret_file = "echo.secret"\n'


class ComponentSite(Site):
    """A server that expects a component."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, None, listen=False)
        self.options = ["--config", "xmppservice.toml"]
        self.componentPort, self.metricsPort = freePort(), freePort()
        self.secret(SECRET)
        self.configure(PORT)

    def configure(self, ports: str) -> None:
        """Listeners, one host, and these ports."""
        text = (
            f'[listen]\nc2s = ["tcp:{self.port}:interface=127.0.0.1"]\nc2s_tls = '
            f'["tcp:{self.directPort}:interface=127.0.0.1"]\n'
            f'component = ["tcp:{self.componentPort}:interface=127.0.0.1"]\n'
            f'metrics = ["tcp:{self.metricsPort}:interface=127.0.0.1"]\n'
            f"[hosts.localhost]\n{ports}"
        )
        self.write(text)

    def secret(self, text: str, mode: int = 0o600) -> None:
        """Write the secret's file."""
        path = self.folder / "echo.secret"
        path.write_text(text + "\n", "utf-8")
        path.chmod(mode)


@pytest.fixture
def expecting(tmp_path: Path) -> Iterator[ComponentSite]:
    """A server that is not started yet."""
    site = ComponentSite(tmp_path)
    yield site
    site.end()


class Component:
    """A component in a process of its own."""

    def __init__(self, site: ComponentSite, secret: str = SECRET, domain: str = DOMAIN) -> None:
        script = str(Path(__file__).with_name("echocomponent.py"))
        self.process = subprocess.Popen(
            [sys.executable, script, str(site.componentPort), domain],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(),
        )  # fmt: skip
        assert self.process.stdin is not None
        self.process.stdin.write(secret + "\n")
        self.process.stdin.flush()

    def line(self) -> str:
        """The next line that it says."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


def connect(site: ComponentSite) -> RawClient:
    """A connected component that says what it is told to, byte by byte."""
    component = RawClient(site.componentPort, "127.0.0.1")
    component.send(f"<stream:stream xmlns='{ns.COMPONENT}' xmlns:stream='{ns.STREAM}' to='{DOMAIN}'>")
    answer = component.next()
    assert isinstance(answer, StreamHeader)
    component.send(f"<handshake>{handshake(answer.attrs['id'], SECRET.encode())}</handshake>")
    assert component.element().name == "handshake"
    return component


def states(site: Site) -> dict[str, str]:
    """Component → state, as ``xmppctl components`` says."""
    return {row[0]: row[1] for row in site.command("components").rows}


def isMessage(stanza: Element) -> bool:
    """What to look for among what a client has heard."""
    return stanza.name == "message"


def test_echo(expecting: ComponentSite) -> None:
    """A message goes to the component and back; without the component it comes back as an error."""
    expecting.start()
    expecting.users("alice@localhost")
    assert states(expecting) == {DOMAIN: "absent"}
    component = Component(expecting)
    try:
        assert component.line() == "connected"
        assert states(expecting) == {DOMAIN: "connected"}
        alice = expecting.login("alice@localhost")
        alice.send(f"<message to='x@{DOMAIN}' id='1' type='chat'><body>a &lt; b</body></message>")
        answer = alice.find(isMessage)
        assert (answer.get("from"), answer.get("id"), answer.get("type")) == (f"x@{DOMAIN}", "1", "chat")
        assert [body.text for body in answer.elements() if body.name == "body"] == ["a < b"]
        second = Component(expecting)
        assert second.line() == "conflict"
        second.end()
        assert f"login failed from 127.0.0.1: conflict (handshake, no TLS) as '{DOMAIN}'" in expecting.log
    finally:
        component.end()
    waitFor("the end of the component", lambda: states(expecting) == {DOMAIN: "absent"})
    alice.send(f"<message to='x@{DOMAIN}' id='2' type='chat'><body>x</body></message>")
    assert alice.find(isMessage).get("type") == "error"
    alice.close()
    assert SECRET not in expecting.log


def test_documentedEcho(expecting: ComponentSite) -> None:
    """The component in the documentation, on Twisted's own code, does what it is there for."""
    expecting.start()
    expecting.users("alice@localhost")
    script = str(ROOT / "docs" / "listings" / "echo" / "echo.py")
    command = [sys.executable, script, DOMAIN, "echo.secret", str(expecting.componentPort)]
    component = Child(command, expecting.folder / "echo.log", expecting.folder, environment())
    try:
        waitFor("the component", lambda: states(expecting) == {DOMAIN: "connected"})
        alice = expecting.login("alice@localhost")
        alice.send(f"<message to='x@{DOMAIN}' id='1' type='error'><body>x</body></message>")
        alice.send(f"<message to='x@{DOMAIN}' id='2' type='chat'><body>x &amp; y</body></message>")
        answer = alice.find(isMessage)
        assert (answer.get("from"), answer.get("id")) == (f"x@{DOMAIN}", "2")
        assert [body.text for body in answer.elements() if body.name == "body"] == ["x & y"]
        alice.close()
        assert component.output == "connected\n"
    finally:
        component.process.kill()
        component.process.wait()


@pytest.mark.parametrize(("secret", "domain", "condition"), [
    ("wrong" * 8, DOMAIN, "not-authorized"), (SECRET, "other.localhost", "host-unknown"),
    (SECRET, "localhost", "host-unknown"),
])  # fmt: skip
def test_strangers(expecting: ComponentSite, secret: str, domain: str, condition: str) -> None:
    """A wrong secret, or a domain that no component serves, our own host's among them."""
    expecting.start()
    component = Component(expecting, secret, domain)
    try:
        assert component.line() == condition
    finally:
        component.end()
    assert states(expecting) == {DOMAIN: "absent"}
    assert f"login failed from 127.0.0.1: {condition} (handshake, no TLS) as '{domain}'" in expecting.log


def test_figures(expecting: ComponentSite) -> None:
    """What components do is counted apart from clients, by the domains of the configuration and no others (H07)."""
    expecting.start()
    expecting.users("alice@localhost")
    stranger = RawClient(expecting.componentPort)
    stranger.send(f"<stream:stream xmlns='{ns.COMPONENT}' xmlns:stream='{ns.STREAM}' to='stranger.test'>")
    stranger.refused("host-unknown")
    stranger.close()
    before = scrape(expecting.metricsPort)
    name = "xmppservice_component_"
    assert of(before, f"{name}connected", component=DOMAIN) == 0
    component, alice = connect(expecting), expecting.login("alice@localhost")
    for number in range(3):
        alice.send(f"<message to='x@{DOMAIN}' id='{number}'><body>x</body></message>")
        component.element()
    alice.send(f"<iq to='x@{DOMAIN}' id='i' type='get'><ping xmlns='{ns.PING}'/></iq>")
    component.element()
    component.send(f"<iq from='x@{DOMAIN}' to='{alice.jid}' id='i' type='result'/>")
    alice.find(lambda stanza: stanza.name == "iq")
    now = scrape(expecting.metricsPort)
    wanted = {("in", "iq"): 1, ("in", "message"): 0, ("out", "iq"): 1, ("out", "message"): 3, ("out", "presence"): 0}
    for (direction, kind), count in wanted.items():
        assert of(now, f"{name}stanzas_total", component=DOMAIN, direction=direction, kind=kind) == count
    assert of(now, f"{name}connected", component=DOMAIN) == 1
    assert of(now, f"{name}logins_total", result="ok") == of(now, f"{name}logins_total", result="host-unknown") == 1
    assert of(now, f"{name}stream_errors_total", condition="host-unknown") == 1
    assert of(now, f"{name}unsent_bytes", component=DOMAIN) == 0
    assert not [labels for _, labels in now if "stranger.test" in str(labels)]
    of_clients = of(now, "xmppservice_stanzas_total", direction="in", kind="message")
    assert of_clients - of(before, "xmppservice_stanzas_total", direction="in", kind="message") == 3
    waitFor("one stream", lambda: of(scrape(expecting.metricsPort), f"{name}streams") == 1)
    component.close()
    waitFor("the end", lambda: of(scrape(expecting.metricsPort), f"{name}connected") == 0)


def test_reloadedLimits(expecting: ComponentSite) -> None:
    """After a reload a new component has the new limits, twice what a client has; the one that is up keeps its own."""
    expecting.start()
    first = connect(expecting)
    expecting.configure(PORT + '[limits]\nstanza_bytes = "20 KiB"\n')
    expecting.command("reload")
    start = f"<message from='{DOMAIN}' to='localhost' type='error'><body>"
    large = f"{start}{'x' * (48 << 10)}</body></message>"
    ping = f"<iq from='{DOMAIN}' to='localhost' type='get' id='p'><ping xmlns='{ns.PING}'/></iq>"
    first.send(large + ping)
    assert first.element().get("id") == "p"
    first.close()
    waitFor("the end of the component", lambda: states(expecting) == {DOMAIN: "absent"})
    second = connect(expecting)
    second.send(f"{start}{'x' * (30 << 10)}</body></message>{ping}")
    assert second.element().get("id") == "p"
    second.send(large + ping)
    second.refused("policy-violation", app="stanza-too-big")


def test_reload(expecting: ComponentSite) -> None:
    """A component is taken away, which ends its stream, and expected again; a wrong file changes nothing."""
    expecting.start()
    component = Component(expecting)
    try:
        assert component.line() == "connected"
        expecting.secret("short")
        with pytest.raises(CommandError, match="shorter than 20"):
            expecting.command("reload")
        assert states(expecting) == {DOMAIN: "connected"}
        expecting.secret(SECRET)
        expecting.configure("")
        expecting.command("reload")
        assert component.line() == "host-gone"
        assert states(expecting) == {}
    finally:
        component.end()


@pytest.mark.parametrize(
    ("text", "secret", "mode", "words"),
    [
        (PORT, "secret", 0o600, ("secret_file", "shorter than 20 characters")),
        (PORT, SECRET, 0o644, ("secret_file", "chmod 600")),
        (PORT.replace("echo.secret", "none.secret"), SECRET, 0o600, ("none.secret", "cannot be read")),
        (PORT.replace('"component"', '"komponent"'), SECRET, 0o600, ("kind", "komponent")),
        (f'[ports."{DOMAIN}"]\nkind = "component"\n', SECRET, 0o600, ("secret_file", "openssl rand")),
        (PORT + 'secret = "x"\n', SECRET, 0o600, ("unknown key",)),
    ],
    ids=["weak", "readable", "missing", "kind", "no-secret", "key"],
)
def test_wrongConfigurations(
    expecting: ComponentSite, text: str, secret: str, mode: int, words: tuple[str, ...]
) -> None:
    """No start with a weak secret (hardening V11), or with a port that cannot be served; one line says why."""
    expecting.secret(secret, mode)
    expecting.configure(text)
    line, _ = expecting.refuse()
    assert all(word in line for word in words), line
    assert "xmppservice.toml:" in line
    assert secret not in line or secret == "secret"
