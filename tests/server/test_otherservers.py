"""What an operator sees of other servers: `xmppctl s2s try`, the list, the line in the status, the figures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.processes import freePort, waitFor
from tests.security.certificates import Authority
from tests.server.federated import ONE, TWO, FederatedSite, untilMessage
from tests.server.test_metrics import Samples, ask, body, of, scrape
from tests.sources import ROOT
from xmppservice.hub.commands import CommandError

Sites = tuple[FederatedSite, FederatedSite, int]


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[Sites]:
    """Two servers that know each other by certificates; the first has the page with the figures."""
    authority = Authority("those who certify")
    one, two = FederatedSite(tmp_path / "one", ONE, authority), FederatedSite(tmp_path / "two", TWO, authority)
    page = freePort()
    for site, peer in ((one, two), (two, one)):
        site.configure([peer])
    path = one.folder / "xmppservice.toml"
    listen = f'[listen]\nmetrics = ["tcp:{page}:interface=127.0.0.1"]\n'
    path.write_text(path.read_text("utf-8").replace("[listen]\n", listen), "utf-8")
    for site in (one, two):
        site.start()
    one.users(f"a@{ONE}")
    two.users(f"b@{TWO}")
    yield one, two, page
    for site in (one, two):
        site.end()


def s2s(samples: Samples, name: str, **labels: str) -> float:
    """A figure of streams between servers."""
    return of(samples, f"xmppservice_s2s_{name}", **labels)


def steps(site: FederatedSite, domain: str = TWO) -> tuple[list[tuple[str, str]], str]:
    """Steps and results of a trial, and the text below."""
    result = site.command("s2s try", domain=domain)
    assert result.failed == any(row[1] == "failed" for row in result.rows)
    return [(row[0], row[1]) for row in result.rows if row[1] != "note"], result.text


def test_otherServers(sites: Sites) -> None:
    """A trial, messages both ways, the other server gone, and back with a certificate that nobody trusts."""
    one, two, page = sites
    _trial(one, page)
    _messages(one, two, page)
    two.stop()
    _gone(one, page)
    stranger = Authority("a stranger")
    stranger.server(TWO).write(two.folder / "certs", TWO)
    (two.folder / "certs" / "ca.crt").write_bytes(stranger.pem)
    two.start()
    found, advice = steps(one)
    assert found == [("DNS", "ok"), ("connection", "ok"), ("encryption", "ok"), ("stream", "failed")]
    assert "s2s.authorities" in advice
    _refused(one, two, page)
    text = body(ask(page)).decode()
    assert TWO not in text
    manual = (ROOT / "docs/howto/monitor.rst").read_text("utf-8")
    for name in re.findall(r"^# TYPE xmppservice_s2s_(\w+) ", text, re.MULTILINE):
        assert f"s2s_{name}``" in manual or f"``_{name}``" in manual, name
    one.stop()


def _refused(one: FederatedSite, two: FederatedSite, page: int) -> None:
    """Who calls and is not believed is told why, and so is the operator."""
    b = two.login(f"b@{TWO}")
    b.send(f"<message to='a@{ONE}' type='chat' id='m'><body>x</body></message>")
    waitFor("the refusal", lambda: s2s(scrape(page), "refused_proofs_total", way="dialback") > 0)
    row = next(row for row in one.links() if row["pair"].startswith(TWO))
    assert row["state"] == "refused" and "issued by an authority that is not trusted here" in row["why"]
    assert s2s(scrape(page), "refused_proofs_total", way="external") == 0
    b.close()


def _trial(one: FederatedSite, page: int) -> None:
    """Each step is told, to people and to programs; no stanza passes, and no stream stays."""
    done = one.ctl("s2s", "try", TWO)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"valid for {TWO} (pkix)" in done.stdout and f"{ONE} can send to {TWO}." in done.stdout
    rows = one.command("s2s try", domain=TWO, **{"from": ONE}).rows
    assert [(row[0], row[1]) for row in rows] == [
        (name, "ok") for name in ("DNS", "connection", "encryption", "certificate", "offers", "authentication")
    ]
    assert "XEP-0198" in rows[4][2] and "XEP-0288" in rows[4][2]
    waitFor("the end of the trials", lambda: s2s(scrape(page), "streams", direction="out") == 0)
    assert one.links() == [] and s2s(scrape(page), "stanzas_total") == 0
    with pytest.raises(CommandError):
        one.command("s2s try", domain=ONE)


def _messages(one: FederatedSite, two: FederatedSite, page: int) -> None:
    """What passes is counted, in the direction in which it passes."""
    a, b = one.login(f"a@{ONE}"), two.login(f"b@{TWO}")
    for number in range(3):
        a.send(f"<message to='b@{TWO}' type='chat' id='m{number}'><body>x</body></message>")
        untilMessage(b)
    b.send(f"<message to='a@{ONE}/r' type='chat' id='back'><body>x</body></message>")
    untilMessage(a)
    now = scrape(page)
    assert (s2s(now, "stanzas_total", direction="out"), s2s(now, "stanzas_total", direction="in")) == (3, 1)
    assert s2s(now, "streams", direction="out") == 1
    # Two trials and a stream; the other direction of that is theirs.
    assert s2s(now, "authentications_total", direction="out", way="certificate") == 3
    assert s2s(now, "authentications_total", direction="in", way="pkix") == 1
    assert "streams: 1, waiting stanzas: 0" in dict(one.command("status").rows)["other servers"]
    assert {row["state"] for row in one.links()} == {"up"}
    a.close()
    b.close()


def _gone(one: FederatedSite, page: int) -> None:
    """The reason and what to do; what waits is shown and counted."""
    found, text = steps(one)
    assert found == [("DNS", "ok"), ("connection", "failed")]
    assert "who tries gets remote-server-timeout" in text and "its operator has to start it" in text
    a = one.login(f"a@{ONE}")
    a.send(f"<message to='b@{TWO}' type='chat' id='late'><body>late</body></message>")
    waitFor("an attempt", lambda: s2s(scrape(page), "failures_total", condition="remote-server-timeout") > 0)
    now = scrape(page)
    assert s2s(now, "waiting_stanzas") >= 1 and s2s(now, "waiting_bytes") > 50
    row = next(row for row in one.links() if row["pair"].startswith(ONE))
    assert row["state"] == "waiting" and int(row["waiting"]) >= 1 and row["why"].startswith("127.0.0.1 port")
    assert "unreachable domains: 1" in dict(one.command("status").rows)["other servers"]
    a.close()
