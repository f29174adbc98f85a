"""Authentication: every failure of RFC 6120 6.5, other people's identities, guessing (hardening A01-A10, 3.2)."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable

import pytest

from tests.attack.conftest import AttackedServer
from tests.attack.raw import DIGESTS, DOMAIN, RawClient, auth, condition, plain, response
from tests.protocol.sasl.scramclient import ScramClient
from xmppservice.wire import ns
from xmppservice.wire.element import Element

Clients = Callable[..., RawClient]


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


GOOD = _encoded(b"\0canary\0yranac")
FIRST = {
    "no base64": (auth("PLAIN", "@@@"), "incorrect-encoding"),
    "no padding": (auth("PLAIN", _encoded(b"\0a\0bc").rstrip("=")), "incorrect-encoding"),
    "white space in base64": (auth("PLAIN", GOOD[:4] + "\n" + GOOD[4:]), "incorrect-encoding"),
    "white space around base64": (auth("PLAIN", f" {GOOD} "), "incorrect-encoding"),
    "stray bits in base64": (auth("PLAIN", "AGEAYh=="), "incorrect-encoding"),
    "characters behind the padding": (auth("PLAIN", "AA==AA=="), "incorrect-encoding"),
    "URL's base64": (auth("PLAIN", "AGEA_-8="), "incorrect-encoding"),
    "no NUL": (auth("PLAIN", b"alice"), "malformed-request"),
    "one NUL": (auth("PLAIN", b"alice\0secret"), "malformed-request"),
    "three NULs": (auth("PLAIN", b"\0alice\0sec\0ret"), "malformed-request"),
    "no user": (auth("PLAIN", b"\0\0secret"), "malformed-request"),
    "no password": (auth("PLAIN", b"\0alice\0"), "malformed-request not-authorized"),
    "nothing": (auth("PLAIN", "="), "malformed-request"),
    "no UTF-8": (auth("PLAIN", b"\0alice\0\xff"), "malformed-request"),
    "an element": (f"<auth xmlns='{ns.SASL}' mechanism='PLAIN'><x/></auth>", "malformed-request"),
    "a long user": (plain("x" * 1100, "secret"), "malformed-request not-authorized"),
    "a long password": (plain("canary", "x" * 5000), "malformed-request"),
    "a user with a space": (plain("a b", "x"), "not-authorized"),
    "a user with a slash": (plain("a/b", "x"), "not-authorized"),
    "a user with a domain": (plain("canary@localhost", "yranac"), "not-authorized malformed-request"),
    "no mechanism": (f"<auth xmlns='{ns.SASL}'>{GOOD}</auth>", "invalid-mechanism"),
    "a mechanism in lower case": (auth("plain", GOOD), "invalid-mechanism"),
    "SCRAM: rubbish": (auth("SCRAM-SHA-1", b"rubbish"), "malformed-request"),
    "SCRAM: order": (auth("SCRAM-SHA-1", b"n,,r=abc,n=canary"), "malformed-request"),
    "SCRAM: no nonce": (auth("SCRAM-SHA-1", b"n,,n=canary"), "malformed-request"),
    "SCRAM: no user": (auth("SCRAM-SHA-1", b"n,,n=,r=abc"), "malformed-request"),
    "SCRAM: mandatory extension": (auth("SCRAM-SHA-1", b"n,,m=x,n=canary,r=abc"), "malformed-request"),
    "SCRAM: flag": (auth("SCRAM-SHA-1", b"q,,n=canary,r=abc"), "malformed-request"),
    "SCRAM: quoting": (auth("SCRAM-SHA-1", b"n,,n=can=41ary,r=abc"), "malformed-request"),
    "SCRAM: a nonce of control characters": (auth("SCRAM-SHA-1", b"n,,n=canary,r=a\x07c"), "malformed-request"),
    "SCRAM: a long nonce": (auth("SCRAM-SHA-1", b"n,,n=canary,r=" + b"a" * 2900), "malformed-request"),
    "SCRAM: a long user": (auth("SCRAM-SHA-1", b"n,,n=" + b"a" * 2900 + b",r=abc"), "malformed-request"),
    "abort": (f"<abort xmlns='{ns.SASL}'/>", "aborted"),
    "a response to nothing": (response(b"x"), "malformed-request"),
}


@pytest.mark.parametrize("bad, conditions", FIRST.values(), ids=FIRST.keys())
def test_badBeginning(server: AttackedServer, bad: str, conditions: str) -> None:
    """6.5: the exact failure for each mistake, and the stream is still there for another try."""
    client = server.direct()
    client.send(bad)
    failure = client.element()
    assert (failure.ns, failure.name) == (ns.SASL, "failure")
    assert condition(failure) in conditions.split(), condition(failure)
    assert client.scram("canary", "yranac").name == "success"
    client.close()


FINAL = {
    "another nonce": (lambda final: final.replace(b",r=", b",r=x"), "malformed-request not-authorized"),
    "a nonce cut": (lambda final: final.replace(b",p=", b"x,p="), "malformed-request not-authorized"),
    "no proof": (lambda final: final.partition(b",p=")[0], "malformed-request"),
    "an empty proof": (lambda final: final.partition(b",p=")[0] + b",p=", "malformed-request"),
    "a proof that is short": (lambda final: final.partition(b",p=")[0] + b",p=AAAA", "malformed-request"),
    "a proof of zeros": (lambda final: final.partition(b",p=")[0] + b",p=" + b"A" * 27 + b"=", "not-authorized"),
    "a channel of its own": (lambda final: final.replace(b"c=biws", b"c=eSws"), "not-authorized malformed-request"),
    "mandatory extension": (lambda final: final.replace(b",p=", b",m=x,p="), "malformed-request"),
    "something behind the proof": (lambda final: final + b",x=y", "malformed-request"),
    "nothing": (lambda final: b"", "malformed-request"),
    "no UTF-8": (lambda final: b"\xff\xfe", "malformed-request"),
}


@pytest.mark.parametrize("spoil, conditions", FINAL.values(), ids=FINAL.keys())
def test_badEnd(server: AttackedServer, spoil: Callable[[bytes], bytes], conditions: str) -> None:
    """RFC 5802 5.1, 7: a spoiled last message is no success, whatever else is right."""
    client = server.direct()
    scram = ScramClient("canary", "yranac")
    client.send(auth("SCRAM-SHA-1", scram.first()))
    final = scram.final(base64.b64decode(client.element().text))
    client.send(response(spoil(final)))
    failure = client.element()
    assert failure.name == "failure" and condition(failure) in conditions.split(), condition(failure)
    client.close()


def test_abortInTheMiddle(server: AttackedServer) -> None:
    """6.4.4, 6.5.1; and a second ``<auth/>`` in an exchange begins anew."""
    client = server.direct()
    client.send(auth("SCRAM-SHA-1", ScramClient("canary", "yranac").first()))
    assert client.element().name == "challenge"
    client.send(f"<abort xmlns='{ns.SASL}'/>")
    assert condition(client.element()) == "aborted"
    client.send(auth("SCRAM-SHA-1", ScramClient("canary", "yranac").first()))
    assert client.element().name == "challenge"
    assert client.scram("canary", "yranac", "SCRAM-SHA-256").name == "success"


@pytest.mark.parametrize("authzid", [
    "user1@localhost", "canary@other.test", "canary@localhost/res", "localhost", "user1", "@@@", "canary@",
    "a b@localhost", "canary@localhost,a=user1@localhost", "CANARY1@LOCALHOST",
])  # fmt: skip
def test_nobodyActsForAnother(server: AttackedServer, authzid: str) -> None:
    """A01: the right password of one user is no way to be another, with any mechanism."""
    client = server.direct()
    client.send(plain("canary", "yranac", authzid))
    assert condition(client.element()) == "invalid-authzid"
    for name in DIGESTS:
        assert condition(client.scram("canary", "yranac", name, authzid=authzid)) == "invalid-authzid"


@pytest.mark.parametrize("authzid", ["", "canary@localhost", "CANARY@LOCALHOST"])
def test_actingForOneself(server: AttackedServer, authzid: str) -> None:
    """A01: one's own address is fine in any spelling, and the bound JID is that of who authenticated."""
    for scram in (False, True):
        client = server.direct()
        if scram:
            assert client.scram("canary", "yranac", authzid=authzid).name == "success"
        else:
            client.send(plain("canary", "yranac", authzid))
            assert client.element().name == "success"
        client.restart()
        client.open()
        assert client.bind().startswith("canary@localhost/")
        client.close()


def test_userInAnotherSpelling(server: AttackedServer) -> None:
    """I06: capitals and fullwidth letters are mapped once, and everywhere to the same account."""
    for spelling in ("CANARY", "canar\uff59", "\uff23anary"):
        client = server.direct()
        assert client.scram(spelling, "yranac").name == "success"
        client.restart()
        client.open()
        assert client.bind().startswith("canary@localhost/")
        client.close()
    client = server.direct()
    for other in ("c\u0430nary", "canary\u200d", "can\u00adary", "\u202ecanary"):
        assert condition(client.scram(other, "yranac")) in ("not-authorized", "malformed-request")


IANA = """9798-M-DSA-SHA1 9798-M-ECDSA-SHA1 9798-M-RSA-SHA1-ENC ANONYMOUS CRAM-MD5 DIGEST-MD5 EAP-AES128
EAP-AES128-PLUS ECDH-X25519-CHALLENGE ECDSA-NIST256P-CHALLENGE EXTERNAL GS2-KRB5 GS2-KRB5-PLUS GSS-SPNEGO GSSAPI
KERBEROS_V4 KERBEROS_V5 LOGIN NMAS-SAMBA-AUTH NMAS_AUTHEN NMAS_LOGIN NTLM OAUTH10A OAUTHBEARER OPENID20 OTP
PASSDSS-3DES-1 SAML20 SCRAM-MD5 SCRAM-SHA-224 SCRAM-SHA3-512 SECURID SKEY SPNEGO SXOVER-PLUS X-OAUTH2
HT-SHA-256-ENDP HT-SHA-256-EXPR DIGEST""".split()


def test_whatIsNotOfferedIsNotAccepted(server: AttackedServer) -> None:
    """A02: every mechanism of the registry that stands not in the features is invalid (CVE-2017-10807)."""
    client = server.direct()
    for number, name in enumerate(IANA):
        assert name not in client.mechanisms
        if number % 4 == 0:
            client = server.direct()
        client.send(auth(name, b"\0canary\0yranac"))
        assert condition(client.element()) == "invalid-mechanism", name


# -- guessing ----------------------------------------------------------------------------------


def test_unknownUsersLookLikeOthers(server: AttackedServer) -> None:
    """A05: the bytes are the same for users that exist and that do not, but for salt and nonce, and stay the same."""

    def challenge(user: str, name: str) -> tuple[int, str, str]:
        client = server.direct()
        client.send(auth(name, ScramClient(user, "wrong", DIGESTS[name]).first()))
        text = base64.b64decode(client.element().text).decode()
        nonce, salt, count = text.split(",")
        client.close()
        return len(nonce), salt, count

    for name in DIGESTS:
        known, unknown = challenge("canary", name), challenge("nobody", name)
        assert (known[0], len(known[1]), known[2]) == (unknown[0], len(unknown[1]), unknown[2])
        assert known == challenge("canary", name) and unknown == challenge("nobody", name)
        assert unknown[1] != challenge("nobody2", name)[1]
    answers = []
    for user in ("canary", "nobody"):
        client = server.direct()
        before = len(client.raw)
        client.send(plain(user, "wrong"))
        client.element()
        client.scram(user, "wrong")
        answers.append(
            (client.mechanisms, [part for part in client.raw[before:].split(b">") if b"challenge" not in part])
        )
        client.close()
    answers = [(mechanisms, [part for part in parts if not part[:1].isalnum()]) for mechanisms, parts in answers]
    assert answers[0] == answers[1]


def test_fiveTriesAStream(server: AttackedServer) -> None:
    """A06: of thirty wrong passwords five are judged, slower and slower; then the stream ends."""
    client = server.direct()
    begun = time.monotonic()
    client.send("".join(plain("canary", f"wrong{number}") for number in range(30)))
    failures = client.refused("policy-violation", patience=30)
    assert [condition(item) for item in failures if isinstance(item, Element)] == ["not-authorized"] * 5
    assert time.monotonic() - begun > 0.5


def test_manyTriesOfOneAddress(server: AttackedServer, spare: str) -> None:
    """A06: an address that guesses is refused for a while, others are not, whomever it guessed at."""
    address = "127.7.7.7"
    guessing = [server.direct(address=address) for _ in range(60)]
    for number, client in enumerate(guessing):
        client.send(plain(f"victim{number}", "wrong"))
    deadline = time.monotonic() + 20
    while True:
        late = server.direct(address=address)
        answer = late.scram(spare, spare[::-1])
        late.close()
        if answer.name == "failure" or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    assert condition(answer) == "temporary-auth-failure"
    elsewhere = server.direct()
    assert elsewhere.scram(spare, spare[::-1]).name == "success"
    for client in guessing:
        client.close()


@pytest.mark.parametrize(
    "data", [plain("canary", "x" * 1_000_000), plain("x" * 1_000_000, "x")], ids=["password", "user"]
)
def test_hugeCredentials(server: AttackedServer, stranger: RawClient, data: str) -> None:
    """A08: a megabyte of password or user is not hashed, not even read."""
    cpu = server.cpu
    stranger.flood(data.encode())
    stranger.refused("policy-violation", app="stanza-too-big")
    assert server.cpu - cpu < 0.5


def test_manyLoginsAtOnce(server: AttackedServer) -> None:
    """A08: a hundred passwords to be judged at once keep nobody waiting (the canary listens)."""
    many = [server.direct() for _ in range(100)]
    for client in many:
        client.send(plain("canary", "yranac"))
    assert {client.element().name for client in many} == {"success"}
    for client in many:
        client.close()


# -- the end of accounts and passwords ---------------------------------------------------------


def _changePassword(client: RawClient, name: str, password: str) -> Element:
    fields = f"<username>{name}</username><password>{password}</password>"
    return client.ask("set", f"<query xmlns='{ns.REGISTER}'>{fields}</query>", DOMAIN)


def test_passwordChangeEndsOtherSessions(server: AttackedServer, clients: Clients, user: Callable[[], str]) -> None:
    """A10: other sessions of the account end, hibernating ones too; the old password is worth nothing."""
    name = user()
    here, there, asleep = clients(name), clients(name), clients(name)
    token = asleep.enable()
    asleep.close()
    assert _changePassword(here, name, "correct horse").get("type") == "result"
    there.refused("reset", patience=5)
    here.ping()
    client = server.direct()
    assert condition(client.scram(name, name[::-1])) == "not-authorized"
    assert client.scram(name, "correct horse").name == "success"
    client.restart()
    client.open()
    client.send(f"<resume xmlns='{ns.SM}' previd='{token}' h='0'/>")
    failed = client.element()
    assert (failed.name, condition(failed)) == ("failed", "item-not-found")


def test_nobodyChangesTheOthersPassword(clients: Clients, user: Callable[[], str]) -> None:
    """A09: the password is the session's account's own, whatever name is given."""
    client = clients()
    assert _changePassword(client, "canary", "correct horse").get("type") == "error"
    assert (
        client.ask("set", f"<query xmlns='{ns.REGISTER}'><remove/></query>", "canary@localhost").get("type") == "error"
    )


def test_registrationIsClosed(server: AttackedServer) -> None:
    """A09: where registration is off it is not offered, and not granted (``localhost`` has the module by default)."""
    client = server.direct()
    assert client.features.find(ns.REGISTER_FEATURE, "register") is None
    fields = "<username>mallory</username><password>correct horse</password>"
    client.send(f"<iq type='set' id='1'><query xmlns='{ns.REGISTER}'>{fields}</query></iq>")
    reply = client.element()
    assert reply.get("type") == "error" or reply.ns == ns.STREAM
    other = server.direct()
    assert other.scram("mallory", "correct horse").name == "failure"


@pytest.mark.parametrize("kind", ["result", "error", "bogus", ""])
def test_registrationOfNoKind(server: AttackedServer, kind: str) -> None:
    """An IQ before authentication that is no request is answered by an error, or not at all."""
    client = server.direct("open.test")
    for payload in ("<username>x</username>", "<remove/>", "<x xmlns='jabber:x:data' type='submit'/>"):
        client.send(f"<iq type='{kind}' id='1'><query xmlns='{ns.REGISTER}'>{payload}</query></iq>")
    client.send("</stream:stream>")
    for item in client.rest():
        assert not isinstance(item, Element) or item.get("type") == "error" or item.name == "error"


def test_adminEndsSessions(server: AttackedServer, clients: Clients, user: Callable[[], str]) -> None:
    """A10: what the operator does to an account ends its streams within five seconds, and its logins."""
    one, two, three = user(), user(), user()
    for name, command, told in (
        (one, "passwd", "reset"),
        (two, "disable", "not-authorized"),
        (three, "delete", "not-authorized"),
    ):
        client = clients(name)
        text = "correct horse\ncorrect horse\n" if command == "passwd" else ""
        server.ctl("user", command, f"{name}@{DOMAIN}", text=text)
        client.refused(told, patience=5)
        late = server.direct()
        wanted = "account-disabled" if command == "disable" else "not-authorized"
        assert condition(late.scram(name, name[::-1])) == wanted
        assert condition(late.scram(name, "wrong")) == "not-authorized"
