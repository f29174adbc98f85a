"""The page for monitoring: the real format, figures that match what was done, and nothing of anybody in its labels."""

from __future__ import annotations

import http.client
import os
import socket
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from tests.attack.raw import plain
from tests.interop.processes import freePort, waitFor
from tests.server.conftest import MakeSite
from tests.server.site import LOCAL, PASSWORD, Site
from xmppservice.edge.c2s import C2SFactory
from xmppservice.edge.component import ComponentFactory
from xmppservice.edge.settings import StreamSettings
from xmppservice.hub.figures import GAUGE, Figures
from xmppservice.hub.router import Router
from xmppservice.hub.telemetry import Telemetry
from xmppservice.server.logs import Lines
from xmppservice.server.metrics import CONNECTIONS, PATH, TYPE, exposition
from xmppservice.server.observing import Observation
from xmppservice.storage.database import Database

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parse(text: bytes) -> Samples:
    """All samples, read by Prometheus' own parser; no name and labels twice, families of a known type with a help."""
    found: Samples = {}
    for family in text_string_to_metric_families(text.decode()):
        assert family.type in ("counter", "gauge", "histogram"), family
        assert family.documentation, family
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found, key
            found[key] = sample.value
    return found


def of(samples: Samples, name: str, **labels: str) -> float:
    """The sum of what matches."""
    wanted = set(labels.items())
    return sum(value for (known, found), value in samples.items() if known == name and wanted.issubset(found))


def ask(port: int, method: str = "GET", path: str = "/metrics", body: bytes | None = None) -> http.client.HTTPResponse:
    """One request; the response has its body in `msg`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body)
    response = connection.getresponse()
    response.msg.set_payload(response.read())
    connection.close()
    return response


def body(response: http.client.HTTPResponse) -> bytes:
    """What it said."""
    payload = response.msg.get_payload()
    return payload if isinstance(payload, bytes) else str(payload).encode()


def scrape(port: int) -> Samples:
    """The figures now."""
    response = ask(port)
    assert (response.status, response.headers["content-type"]) == (200, TYPE.decode())
    return parse(body(response))


# -- the format --------------------------------------------------------------------------------------------------------


def test_exposition() -> None:
    """Line by line as version 0.0.4 has it, for each kind."""
    figures = Figures()
    figures.counter("c_total", 'A \\ and\na "line".', a='x"y\\z\nw', b="ü").add(3)
    figures.gauge("g", "Half.").set(0.5)
    figures.histogram("h", "Times.", (0.5, 1), k="v").observe(0.75)
    assert exposition(figures).decode() == (
        '# HELP c_total A \\\\ and\\na "line".\n# TYPE c_total counter\n'
        'c_total{a="x\\"y\\\\z\\nw",b="ü"} 3\n'
        "# HELP g Half.\n# TYPE g gauge\ng 0.5\n"
        "# HELP h Times.\n# TYPE h histogram\n"
        'h_bucket{k="v",le="0.5"} 0\nh_bucket{k="v",le="1"} 1\nh_bucket{k="v",le="+Inf"} 1\n'
        'h_sum{k="v"} 0.75\nh_count{k="v"} 1\n'
    )
    samples = parse(exposition(figures))
    assert samples["c_total", (("a", 'x"y\\z\nw'), ("b", "ü"))] == 3
    assert of(samples, "h_bucket", le="+Inf") == of(samples, "h_count") == 1


def test_oddValues() -> None:
    """Infinity, nothing at all and large numbers are numbers of the format."""
    figures = Figures()
    values = {("inf",): float("inf"), ("ninf",): float("-inf"), ("large",): 2.0**60, ("small",): 1e-9, ("neg",): -3.0}
    figures.table("t", GAUGE, "x", ("k",), lambda: values)
    figures.table("empty", GAUGE, "x", ("k",), dict)
    figures.gauge("nan", "x").set(float("nan"))
    samples = parse(exposition(figures))
    assert {key[1][0][1]: value for key, value in samples.items() if key[0] == "t"} == {
        key[0]: value for key, value in values.items()
    }
    assert of(samples, "nan") != of(samples, "nan")


# -- the real server ---------------------------------------------------------------------------------------------------


@pytest.fixture
def port() -> int:
    """Where the page is."""
    return freePort()


@pytest.fixture
def watched(make: MakeSite, port: int) -> Site:
    """A running server with the page."""
    site = make()
    path = site.folder / "xmppservice.toml"
    listen = f'[listen]\nmetrics = ["tcp:{port}:interface=127.0.0.1"]\n'
    path.write_text(path.read_text().replace("[listen]\n", listen))
    site.start()
    return site


def test_figuresMatch(watched: Site, port: int) -> None:
    """Sessions, logins, stanzas, errors, commits: as many as there were; no address, no name, no text of anybody."""
    watched.users("alice@localhost", "bob@localhost")
    before = scrape(port)
    wrong = watched.secured()
    wrong.send(plain("alice", "wrong"))
    wrong.element()
    wrong.send(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='MINE-{'x' * 50}'>=</auth>")
    wrong.element()
    alice, bob = watched.login("alice@localhost"), watched.login("bob@localhost")
    quiet = scrape(port)
    for number in range(20):
        alice.send(f"<message to='bob@localhost/r' type='chat' id='m{number}'><body>secret-body</body></message>")
    bob.find(lambda element: element.get("id") == "m19")
    alice.send("<message to='missing@localhost' type='chat' id='n'><body>x</body></message>")
    alice.find(lambda element: element.get("id") == "n")
    alice.send("<iq type='get' id='i' to='localhost'><x xmlns='urn:none'/></iq>")
    alice.find(lambda element: element.get("id") == "i")
    bob.send("<presence><show>away</show></presence>")
    bob.ping()
    now = scrape(port)

    def grown(name: str, since: Samples = quiet, **labels: str) -> float:
        return of(now, name, **labels) - of(since, name, **labels)

    assert of(now, "xmppservice_sessions", state="connected") == 2
    assert of(now, "xmppservice_sessions", state="hibernating") == 0
    assert of(now, "xmppservice_streams") >= 2
    assert grown("xmppservice_logins_total", before, result="ok") == 2
    assert grown("xmppservice_logins_total", before, mechanism="PLAIN", result="not-authorized") == 1
    assert grown("xmppservice_logins_total", before, mechanism="unknown", result="invalid-mechanism") == 1
    assert grown("xmppservice_stanzas_total", direction="in", kind="message") == 21
    assert grown("xmppservice_stanzas_total", direction="out", kind="message") == 21
    assert grown("xmppservice_stanzas_total", direction="in", kind="presence") == 1
    assert grown("xmppservice_stanzas_total", direction="in", kind="iq") == 2
    assert grown("xmppservice_stanza_errors_total", condition="service-unavailable") == 2
    assert of(now, "xmppservice_commit_seconds_count") >= 2
    assert of(now, "xmppservice_tracebacks_total") == 0
    assert of(now, "xmppservice_certificate_expiry_seconds", host="localhost") > time.time() + 86400
    assert 1 << 20 < of(now, "process_resident_memory_bytes") < 1 << 32
    assert 0 < of(now, "process_cpu_seconds_total") and 5 < of(now, "process_open_fds")
    alice.send("<message><not-closed></message>")
    alice.rest()
    wrong.close()
    bob.close()
    waitFor("the end", lambda: of(scrape(port), "xmppservice_streams") == 0)
    assert of(scrape(port), "xmppservice_stream_errors_total", condition="not-well-formed") == 1
    text = body(ask(port)).decode()
    said = ("alice", "bob", "missing", "secret-body", "MINE", "urn:none", PASSWORD)
    for private in (*said, alice.address, wrong.address):
        assert private not in text, private
    rows = dict(watched.command("status").rows)
    assert rows["streams slowed down"] == "0 times" and rows["short of memory"] == "no"
    assert f"figures: tcp:{port}:interface=127.0.0.1, /metrics" in watched.log
    assert rows["logins"].startswith("2 of ") and int(rows["stanzas from clients"]) >= 24
    watched.stop()


def test_nothingElse(watched: Site, port: int) -> None:
    """Other paths are 404, other verbs 405, no body is read, no version told; clients' ports have no page (H07)."""
    for path in ("/", "/metrics/", "/metrics/x", "//metrics", "/../metrics", "/%6detrics2", "/metrics;x"):
        response = ask(port, path=path)
        assert response.status == 404 and b"xmppservice_" not in body(response), path
    assert ask(port, path="/metrics?x=1").status == 200
    for method in ("HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"):
        response = ask(port, method)
        assert response.status == 405 and b"xmppservice_" not in body(response), method
    for response in (ask(port), ask(port, path="/x")):
        assert "server" not in response.headers
    with pytest.raises((http.client.BadStatusLine, ConnectionError)):
        ask(port, "POST", body=b"x" * 10)
    with socket.create_connection(("127.0.0.1", watched.port), 30) as client:
        client.sendall(f"GET {PATH.decode()} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert b"xmppservice_" not in client.recv(65536)
    watched.stop()


def test_fewConnections(watched: Site, port: int) -> None:
    """Who holds connections without asking anything gets no more than so many, and keeps nothing else from working."""
    held = [socket.create_connection(("127.0.0.1", port), 30) for _ in range(CONNECTIONS + 5)]
    refused = 0
    for connection in held[CONNECTIONS:]:
        connection.settimeout(30)
        try:
            refused += connection.recv(1) == b""
        except ConnectionError:
            refused += 1
    assert refused == 5
    watched.users("alice@localhost")
    watched.login("alice@localhost").close()
    for connection in held:
        connection.close()
    waitFor("room", lambda: _answers(port))
    watched.stop()


def _answers(port: int) -> bool:
    try:
        return ask(port).status == 200
    except (OSError, http.client.HTTPException):
        return False


def test_offByDefault(site: Site) -> None:
    """Nobody who does not ask for the page has it."""
    site.start()
    ports = {int(line.split()[1].rpartition(":")[2], 16) for line in _listening(site.process.pid)}
    assert ports == {site.port, site.directPort}
    site.stop()


def _listening(pid: int) -> list[str]:
    """The rows of the TCP sockets on which a process listens, by proc_pid_net(5)."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        target = os.readlink(entry)
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    rows = Path(f"/proc/{pid}/net/tcp").read_text("ascii").splitlines()[1:]
    return [row for row in rows if row.split()[3] == "0A" and row.split()[9] in inodes]


def test_portTaken(make: MakeSite) -> None:
    """A page that cannot be had stops the start, with one line that names it."""
    site = make(None)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        site.write(LOCAL)
        path = site.folder / "xmppservice.toml"
        page = f'metrics = ["tcp:{taken}:interface=127.0.0.1"]\n'
        path.write_text(path.read_text().replace("[listen]\n", "[listen]\n" + page))
        site.options = ["--config", "xmppservice.toml"]
        said, _ = site.refuse()
    assert said.startswith("cannot start: metrics: ") and str(taken) in said, said


def test_refusedSummary() -> None:
    """Refused connections are told once a minute in one line, and only if there were any."""
    clock, refused = Clock(), {"address": 2}
    server: Any = SimpleNamespace(
        reactor=clock, telemetry=Telemetry(clock), router=Router(), database=Database("sqlite-memory", "", clock),
        clients=C2SFactory(_nobody, "x", StreamSettings(), clock),
        components=ComponentFactory(_nobody, "x", StreamSettings(), clock), ports=(), federation=None,
    )  # fmt: skip
    server.clients.refused = refused
    others: dict[str, int] = {}
    lines: list[str] = []
    log = Lines(lines.append)
    observation = Observation(server)
    server.federation = SimpleNamespace(incoming=SimpleNamespace(refused=others))
    observation.startService()
    globalLogPublisher.addObserver(log)
    try:
        clock.advance(60)
        clock.advance(60)
        refused["address"], refused["memory"], others["address"] = 5, 1, 4
        clock.advance(60)
    finally:
        globalLogPublisher.removeObserver(log)
        observation.stopService()
    told = [line.partition("connections refused in the last 60 s: ")[2] for line in lines]
    assert told == ["address: 2\n", "address: 3, memory: 1, address (another server): 4\n"]
    assert server.telemetry.figures.value("xmppservice_refused_connections_total", reason="memory") == 1
    assert parse(exposition(server.telemetry.figures))
    assert clock.getDelayedCalls() == []


def _nobody(domain: str) -> None:
    """There is no host."""
