"""Who may act for whom, and what is told to those who may not log in (RFC 6120 6.3.8, 6.5; hardening A01-A05)."""

from __future__ import annotations

import pytest

from tests.attack.raw import DOMAIN, auth, plain, response
from tests.security.certificates import Authority
from tests.security.conftest import RSA, SecuredServer
from tests.security.tlsclient import END_POINT, EXPORTER, Scram, SecureClient, contextFor, failed, fields
from xmppservice.wire import ns
from xmppservice.wire.element import Element

SCRAM = ("SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1")
NAMES = ("PLAIN", *SCRAM, "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS")
OWN = ("{user}@localhost", "{upper}@LOCALHOST")
FOREIGN = (
    "{other}@localhost",
    "{user}@rsa.test",
    "{user}@elsewhere.test",
    "{user}@localhost/resource",
    "{user}",
    "localhost",
    "@localhost",
    "{user}@",
    "a b@localhost",
    "{user}@local host",
    "{user}@localhost\n",
)


def attempt(client: SecureClient, name: str, user: str, password: str, authzid: str = "") -> Element:
    """One exchange with any mechanism; returns what it ends with."""
    if name == "PLAIN":
        client.send(plain(user, password, authzid))
        return client.element()
    if name.endswith("-PLUS"):
        kind = EXPORTER if "256" in name else END_POINT
        return client.bound(user, password, name, kind, authzid=authzid)
    return client.scram(user, password, name, authzid=authzid)


@pytest.mark.parametrize("name", NAMES)
def test_ownIdentity(server: SecuredServer, user: str, secret: str, name: str) -> None:
    """The own bare address, however written, says nothing new."""
    for authzid in OWN:
        client = server.secured()
        answer = attempt(client, name, user, secret, authzid.format(user=user, upper=user.upper()))
        assert answer.name == "success"
        assert client.enter().startswith(f"{user}@{DOMAIN}/")


@pytest.mark.parametrize("name", NAMES)
def test_foreignIdentity(server: SecuredServer, user: str, other: str, secret: str, name: str) -> None:
    """Every other identity is invalid-authzid, the right password or not; afterwards the own one works."""
    wanted = [authzid.format(user=user, other=other) for authzid in FOREIGN]
    for start in range(0, len(wanted), 4):
        client = server.secured()
        for number, authzid in enumerate(wanted[start : start + 4]):
            answer = attempt(client, name, user, secret if number % 2 else "wrong", authzid)
            assert failed(answer) == "invalid-authzid", authzid
        assert attempt(client, name, user, secret).name == "success"


@pytest.mark.parametrize("name", NAMES)
def test_strangersAreAnsweredAlike(server: SecuredServer, user: str, name: str) -> None:
    """A wrong password and an unknown user: the same answer to the last byte, at the same step (6.5.10, A05)."""
    answers = []
    for who in (user, "nobody"):
        client = server.secured()
        first = client.raw
        answer = attempt(client, name, who, "wrong")
        assert failed(answer) == "not-authorized"
        rest = client.raw[len(first) :]
        answers.append((rest[rest.index(b"<failure") :], rest.count(b"<challenge"), len(rest)))
    assert answers[0] == answers[1]
    assert answers[0][1] == (name != "PLAIN")


@pytest.mark.parametrize("who", ["someone else", "a@b", "\u2163", "\u0378", "\ue000"])
def test_namesThatNobodyCanHave(server: SecuredServer, who: str) -> None:
    """They are answered like a wrong password, with every mechanism."""
    client = server.secured()
    for name in NAMES[:3]:
        assert failed(attempt(client, name, who, "wrong")) == "not-authorized"


@pytest.mark.parametrize("name", SCRAM)
def test_saltsOfStrangers(server: SecuredServer, user: str, other: str, name: str) -> None:
    """Users who do not exist have salts like everybody: own ones, as long, and the same at every try (A05)."""
    found: dict[str, list[dict[str, str]]] = {}
    for who in (user, "nobody", "nobody2", other, "nobody", user):
        client, exchange = server.secured(), Scram(who, "x", name)
        client.send(exchange.auth())
        challenge = client.element()
        found.setdefault(who, []).append(fields(challenge))
        client.send(exchange.response(challenge))
        assert failed(client.element()) == "not-authorized"
    salts = {who: {each["s"] for each in answers} for who, answers in found.items()}
    assert all(len(of) == 1 for of in salts.values()), salts
    assert len({next(iter(of)) for of in salts.values()}) == 4
    assert len({(each["i"], len(each["s"]), len(each["r"])) for of in found.values() for each in of}) == 1


def test_saltsSurviveARestart(server: SecuredServer) -> None:
    """What a stranger's salt is made of is kept, or a restart would tell him from a user."""

    def salt() -> str:
        client = server.secured()
        client.send(Scram("nobody", "x").auth())
        return fields(client.element())["s"]

    before = salt()
    server.stop()
    server.start()
    server.read = 0
    assert salt() == before


def test_accountDisabled(server: SecuredServer, clientCA: Authority) -> None:
    """Only who has proved to be the user hears that the account is shut; open again, it works at once."""
    identity = clientCA.client(f"shutter@{DOMAIN}")
    assert attempt(server.secured(), "PLAIN", "shutter", "secret word").name == "success"
    server.ctl("user", "disable", f"shutter@{DOMAIN}")
    for name in NAMES:
        client = server.secured()
        assert failed(attempt(client, name, "shutter", "secret word")) == "account-disabled"
        assert failed(attempt(client, name, "shutter", "wrong")) == "not-authorized"
    client = server.secured(context=contextFor(server.ca, identity=identity))
    client.send(auth("EXTERNAL", b""))
    assert failed(client.element()) == "account-disabled"
    server.ctl("user", "enable", f"shutter@{DOMAIN}")
    for name in NAMES:
        assert attempt(server.secured(), name, "shutter", "secret word").name == "success"


def test_changedPassword(server: SecuredServer) -> None:
    """A changed password counts from the moment the change is confirmed, though records are remembered."""
    assert server.secured().scram("changing", "secret word").name == "success"
    server.ctl("user", "passwd", f"changing@{DOMAIN}", text="second word\nsecond word\n")
    for name in ("PLAIN", "SCRAM-SHA-1"):
        client = server.secured()
        assert failed(attempt(client, name, "changing", "secret word")) == "not-authorized"
        assert attempt(client, name, "changing", "second word").name == "success"
    server.ctl("user", "delete", f"changing@{DOMAIN}")
    assert failed(server.secured().scram("changing", "second word")) == "not-authorized"


# -- which error ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["", "FOO", "plain", "GSSAPI", "CRAM-MD5", "DIGEST-MD5", "X-OAUTH2", "ANONYMOUS", "SCRAM-SHA3-512"]
)
def test_mechanismsThatDoNotExist(server: SecuredServer, name: str) -> None:
    """What is not to be had, and no name at all, is invalid-mechanism (6.5.7, A02)."""
    client = server.secured()
    client.send(auth(name, b"x"))
    assert failed(client.element()) == "invalid-mechanism"
    client.send(f"<auth xmlns='{ns.SASL}'>=</auth>")
    assert failed(client.element()) == "invalid-mechanism"


@pytest.mark.parametrize("name", ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS", "EXTERNAL", "ANONYMOUS", "FOO"])
def test_beforeTLS(server: SecuredServer, name: str) -> None:
    """Where TLS is required, nothing is heard before it, not even what is wrong with it (6.5.4, T02)."""
    client = server.plain()
    client.send(auth(name, b"\0user1\0" + b"1resu"))
    assert failed(client.element()) == "encryption-required"


def test_weakAndClear(lax: SecuredServer, user: str, secret: str) -> None:
    """In the clear PLAIN needs encryption; what is weaker than policy has it is too weak; the rest is off (6.5.9)."""
    answers = {"PLAIN": "encryption-required", "SCRAM-SHA-1": "mechanism-too-weak", "EXTERNAL": "invalid-mechanism",
               "FOO": "invalid-mechanism"}  # fmt: skip
    client = lax.plain()
    for name, wanted in answers.items():
        client.send(auth(name, f"\0{user}\0{secret}".encode()))
        assert failed(client.element()) == wanted, name
    client = lax.secured()
    answers = {"SCRAM-SHA-1": "mechanism-too-weak", "SCRAM-SHA-512": "invalid-mechanism",
               "SCRAM-SHA-256-PLUS": "invalid-mechanism"}  # fmt: skip
    for name, wanted in answers.items():
        client.send(auth(name, b"n,,n=a,r=b"))
        assert failed(client.element()) == wanted, name
    client.send(plain(user, secret))
    assert client.element().name == "success"


@pytest.mark.parametrize("text", ["x", "AA==A", "A===", "AAA", "AB==", " AAAA", "AA\nAA", "AA-_", "====", "AAAA="])
def test_base64(server: SecuredServer, user: str, text: str) -> None:
    """Base64 to the letter, in <auth/> and <response/> (6.5.5)."""
    client = server.secured()
    client.send(auth("PLAIN", text))
    assert failed(client.element()) == "incorrect-encoding"
    client.send(Scram(user, "x").auth())
    assert client.element().name == "challenge"
    client.send(response(text))
    assert failed(client.element()) == "incorrect-encoding"


@pytest.mark.parametrize("name", ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS"])
@pytest.mark.parametrize("data", ["=", "AAAA", "LCwsLA==", "/w=="])
def test_malformed(server: SecuredServer, name: str, data: str) -> None:
    """An empty first message, one of NULs, one of commas, one that is no UTF-8 (6.4.2, 6.5.8)."""
    client = server.secured()
    client.send(auth(name, data))
    assert failed(client.element()) == "malformed-request"


def test_abort(server: SecuredServer, user: str, secret: str) -> None:
    """An aborted exchange is over; the next begins from the start (6.4.4)."""
    client, exchange = server.secured(), Scram(user, secret)
    client.send(exchange.auth())
    challenge = client.element()
    client.send(f"<abort xmlns='{ns.SASL}'/>")
    assert failed(client.element()) == "aborted"
    client.send(exchange.response(challenge))
    assert failed(client.element()) == "malformed-request"
    assert client.scram(user, secret).name == "success"


def test_anotherHostBehindSuccess(server: SecuredServer, user: str, secret: str) -> None:
    """Who is authenticated here is nobody at the other host (4.7.2, A03)."""
    for to in (RSA, "elsewhere.test", ""):
        client = server.secured()
        assert client.scram(user, secret).name == "success"
        client.restart()
        client.send(f"<stream:stream xmlns='{ns.CLIENT}' xmlns:stream='{ns.STREAM}' to='{to}' version='1.0'>")
        client.refused("not-authorized", "host-unknown", "improper-addressing")


def test_failureHasOneCondition(server: SecuredServer, user: str) -> None:
    """A failure is a condition, and perhaps a text with a language (6.5)."""
    client = server.secured()
    for request in (plain(user, "wrong"), auth("FOO", b""), auth("PLAIN", "x"), f"<abort xmlns='{ns.SASL}'/>"):
        client.send(request)
        first, *rest = client.element().elements()
        assert first.ns == ns.SASL
        assert all((each.name, each.ns) == ("text", ns.SASL) and each.get(f"{ns.XML} lang") for each in rest)
