"""Federation between two real processes of ours: certificates and dialback, both directions, bounces (RFC 6120)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attack.raw import stanzaError
from tests.server.federated import ONE, TWO, FederatedSite, pair, untilMessage
from xmppservice.wire import ns

Pair = tuple[FederatedSite, FederatedSite]


def _ended(sites: Pair) -> None:
    for site in sites:
        site.end()


@pytest.fixture(
    scope="module",
    params=[
        ("", True, False),
        ("bidi = false\n", True, True),
        ('authentication = "dialback"\n', False, False),
        ('authentication = "dialback"\nbidi = false\nmanagement = false\n', False, False),
    ],
    ids=["certificates", "direct TLS, no bidi", "dialback", "dialback, no bidi, no 0198"],
)
def sites(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Both servers, in each way that they may know each other."""
    s2s, certified, direct = request.param
    both = pair(tmp_path_factory.mktemp("pair"), s2s, certified, direct)
    yield both
    _ended(both)


def test_messagesBothWays(sites: Pair) -> None:
    """A message, its answer, and an error for somebody who does not exist."""
    one, two = sites
    a, b = one.login(f"a@{ONE}"), two.login(f"b@{TWO}")
    a.send(f"<message to='b@{TWO}' type='chat' id='m1'><body>hello</body></message>")
    there = untilMessage(b)
    assert (there.get("from"), there.get("to"), there.get("id")) == (f"a@{ONE}/r", f"b@{TWO}", "m1")
    body = there.find(ns.CLIENT, "body")
    assert body is not None and body.text == "hello"
    b.send(f"<message to='a@{ONE}/r' type='chat' id='m2'><body>and you</body></message>")
    assert untilMessage(a).get("id") == "m2"
    a.send(f"<message to='nobody@{TWO}' type='chat' id='m3'><body>?</body></message>")
    assert stanzaError(untilMessage(a)) == ("cancel", "service-unavailable")
    for site in sites:
        assert any(row["state"] == "up" for row in site.links()), site.links()
        assert "Traceback" not in site.log
    a.close()
    b.close()
