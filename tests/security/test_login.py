"""Every mechanism from the first byte to the session, over STARTTLS and direct TLS (RFC 6120 6, RFC 5802, XEP-0440)."""

from __future__ import annotations

import base64

import pytest

from tests.attack.raw import DOMAIN, auth, plain, response
from tests.protocol.sasl.scramclient import ScramClient
from tests.security.conftest import RSA, SecuredServer
from tests.security.tlsclient import END_POINT, EXPORTER, TLS12, TLS13, Scram, contextFor, failed, fields
from xmppservice.wire import ns
from xmppservice.wire.element import Element

SCRAM = ("SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1")
PLUS = tuple(name + "-PLUS" for name in SCRAM)
ALL = [*PLUS, *SCRAM, "PLAIN"]


@pytest.mark.parametrize("name", SCRAM)
def test_scram(server: SecuredServer, direct: bool, user: str, secret: str, name: str) -> None:
    """The server proves itself in the data that go with success (6.4.6), and the session is the user's."""
    client = server.secured(direct)
    assert client.scram(user, secret, name).name == "success"
    assert client.enter().startswith(f"{user}@{DOMAIN}/")


@pytest.mark.parametrize("name", PLUS)
@pytest.mark.parametrize(("version", "kind"), [(TLS13, EXPORTER), (TLS13, END_POINT), (TLS12, END_POINT)])
def test_scramPlus(
    server: SecuredServer, direct: bool, user: str, secret: str, name: str, version: int, kind: str
) -> None:
    """Each binding with each hash, bound to the connection the client really has."""
    client = server.secured(direct, context=contextFor(server.ca, version))
    assert client.bound(user, secret, name, kind).name == "success"
    assert client.enter().startswith(f"{user}@{DOMAIN}/")


def test_plain(server: SecuredServer, direct: bool, user: str, secret: str) -> None:
    """PLAIN, with success that has no data; also in answer to an empty challenge (RFC 4422 5)."""
    client = server.secured(direct)
    client.send(plain(user, secret))
    answer = client.element()
    assert (answer.name, answer.children) == ("success", [])
    assert client.enter().startswith(f"{user}@{DOMAIN}/")
    client = server.secured(direct)
    client.send(f"<auth xmlns='{ns.SASL}' mechanism='PLAIN'/>")
    challenge = client.element()
    assert (challenge.name, challenge.children) == ("challenge", [])
    client.send(response(f"\0{user}\0{secret}".encode()))
    assert client.element().name == "success"


def test_scramWithoutInitialResponse(server: SecuredServer, user: str, secret: str) -> None:
    """The first message may come in answer to an empty challenge."""
    client, exchange = server.secured(), Scram(user, secret)
    client.send(f"<auth xmlns='{ns.SASL}' mechanism='{exchange.name}'/>")
    assert client.element().children == []
    client.send(response(exchange.first()))
    client.send(exchange.response(client.element()))
    answer = client.element()
    assert exchange.check(base64.b64decode(answer.text))


def test_namesAndPasswordsArePrepared(server: SecuredServer) -> None:
    """A name in capitals and a password typed with combining marks are the same as stored (RFC 8265)."""
    for name in ("ümlaut", "ÜMLAUT", "u\u0308mlaut"):
        client = server.secured()
        client.send(plain(name, "pa\u0308sswo\u0308rt"))
        assert client.element().name == "success"
        assert client.enter().startswith(f"ümlaut@{DOMAIN}/")
        client = server.secured()
        assert client.scram(name, "pässwört").name == "success"


@pytest.mark.parametrize("name", SCRAM)
def test_loginAtTheOtherHost(server: SecuredServer, name: str) -> None:
    """The same name at another host is nobody there, though the password is right here."""
    client = server.secured(to=RSA, context=contextFor(None))
    assert failed(client.scram("user0", "0resu", name)) == "not-authorized"


# -- features --------------------------------------------------------------------------------------


def _names(features: Element) -> list[tuple[str, str]]:
    return [(each.ns, each.name) for each in features.elements()]


def test_featuresBeforeTLS(server: SecuredServer) -> None:
    """Where TLS is required nothing but TLS is to be had (6.3.4, XEP-0440 3)."""
    client = server.plain()
    startTLS, *rest = client.features.elements()
    assert (startTLS.ns, startTLS.name) == (ns.TLS, "starttls")
    assert [(each.ns, each.name) for each in startTLS.elements()] == [(ns.TLS, "required")]
    assert all(each.ns == ns.LIMITS for each in rest)


@pytest.mark.parametrize(("version", "kinds"), [(TLS13, {EXPORTER, END_POINT}), (TLS12, {END_POINT})])
def test_featuresAfterTLS(server: SecuredServer, direct: bool, version: int, kinds: set[str]) -> None:
    """All mechanisms, strongest first, none twice; the channel bindings that this very connection has (XEP-0440)."""
    client = server.secured(direct, context=contextFor(server.ca, version))
    names = _names(client.features)
    assert names[:2] == [(ns.SASL, "mechanisms"), (ns.CHANNEL_BINDING, "sasl-channel-binding")]
    assert (ns.TLS, "starttls") not in names
    assert client.mechanisms == ALL
    assert len(client.bindingTypes) == len(kinds)
    assert set(client.bindingTypes) == kinds


def test_featuresAfterAuthentication(server: SecuredServer, user: str, secret: str) -> None:
    """Neither TLS nor mechanisms any more; the stream has a new id (6.4.6)."""
    client = server.connect(direct=True)
    client.secure(contextFor(server.ca))
    before = client.open()
    assert client.scram(user, secret).name == "success"
    client.restart()
    assert client.open().attrs["id"] != before.attrs["id"]
    names = _names(client.features)
    assert names[0] == (ns.BIND, "bind")
    assert not {space for space, _ in names} & {ns.SASL, ns.TLS, ns.CHANNEL_BINDING}


def test_listsDifferAroundTLS(lax: SecuredServer) -> None:
    """TLS optional: no PLAIN in the clear; afterwards there is, and what policy leaves out never is."""
    client = lax.plain()
    startTLS = client.features.find(ns.TLS, "starttls")
    assert startTLS is not None
    assert startTLS.children == []
    assert client.mechanisms == ["SCRAM-SHA-256", "ANONYMOUS"]
    assert client.bindingTypes == []
    client.startSecure(contextFor(lax.ca))
    client.open()
    assert client.mechanisms == ["SCRAM-SHA-256", "PLAIN", "ANONYMOUS"]
    assert client.bindingTypes == []


def test_scramInTheClear(lax: SecuredServer, user: str, secret: str) -> None:
    """A proof may travel without TLS where that is optional; "y" is right wherever no -PLUS was offered."""
    for flag, secured in (("n", False), ("y", False), ("y", True)):
        client = lax.secured() if secured else lax.plain()
        assert client.scram(user, secret, "SCRAM-SHA-256", flag=flag).name == "success"
        assert client.enter()


def test_pipelined(server: SecuredServer, user: str, secret: str) -> None:
    """A client that knows what comes need not wait: header, auth, next header and bind in one go."""
    client = server.connect(direct=True)
    client.secure(contextFor(server.ca))
    header = f"<stream:stream xmlns='{ns.CLIENT}' xmlns:stream='{ns.STREAM}' to='{DOMAIN}' version='1.0'>"
    bind = f"<iq type='set' id='1'><bind xmlns='{ns.BIND}'><resource>r</resource></bind></iq>"
    client.send(header + plain(user, secret))
    client.next()
    assert client.element().name == "features"
    assert client.element().name == "success"
    client.restart()
    client.send(header + bind)
    client.next()
    assert client.element().name == "features"
    assert client.element().elements()[0].elements()[0].text == f"{user}@{DOMAIN}/r"


def test_successWaitsForTheStream(server: SecuredServer, user: str, secret: str) -> None:
    """Behind success nothing counts but a new header: binding on the old stream is no session."""
    client = server.secured()
    client.send(plain(user, secret))
    assert client.element().name == "success"
    client.restart()
    client.send(f"<iq type='set' id='1'><bind xmlns='{ns.BIND}'/></iq>")
    items = client.rest()
    assert not any(isinstance(item, Element) and item.name == "iq" for item in items), items


@pytest.mark.parametrize("name", SCRAM)
def test_saltIsTheAccounts(server: SecuredServer, user: str, name: str) -> None:
    """Salt and count are the same at every try, with at least 10,000 rounds; nonces are not."""
    found = []
    for _ in range(2):
        client, exchange = server.secured(), Scram(user, "x", name)
        client.send(exchange.auth())
        found.append(fields(client.element()))
    assert found[0]["s"] == found[1]["s"]
    assert int(found[0]["i"]) >= 10_000
    assert found[0]["r"][-24:] != found[1]["r"][-24:]


def test_exchangesDoNotMix(server: SecuredServer, user: str, secret: str) -> None:
    """The answer to one exchange is worth nothing in the next, not even on the same stream (replay)."""
    client, exchange = server.secured(), Scram(user, secret)
    client.send(exchange.auth())
    answer = exchange.response(client.element())
    again = ScramClient(user, secret, "sha256", exchange.nonce)
    client.send(auth("SCRAM-SHA-256", again.first()))
    assert client.element().name == "challenge"
    client.send(answer)
    assert failed(client.element()) in ("malformed-request", "not-authorized")
