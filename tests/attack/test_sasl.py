"""Authentication: every failure of RFC 6120 6.5, other people's identities, guessing (hardening A01-A10, 3.2)."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable

import pytest

from tests.attack.conftest import AttackedServer
from tests.attack.inputs.sasl import FINAL, FIRST, IANA
from tests.attack.raw import DIGESTS, DOMAIN, RawClient, auth, condition, plain, response
from tests.protocol.sasl.scramclient import ScramClient
from xmppservice.wire import ns
from xmppservice.wire.element import Element

Clients = Callable[..., RawClient]


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()




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


@pytest.mark.own("needs mechanisms of SHA-2")
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


@pytest.mark.own("needs mechanisms of SHA-2")
@pytest.mark.attack("A01")
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


@pytest.mark.attack("A01")
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


@pytest.mark.attack("I06")
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




@pytest.mark.attack("A02")
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


@pytest.mark.own("needs mechanisms of SHA-2")
@pytest.mark.attack("A05")
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


@pytest.mark.own("needs our limits")
@pytest.mark.attack("A06")
def test_fiveTriesAStream(server: AttackedServer) -> None:
    """A06: of thirty wrong passwords five are judged, slower and slower; then the stream ends."""
    client = server.direct()
    begun = time.monotonic()
    client.send("".join(plain("canary", f"wrong{number}") for number in range(30)))
    failures = client.refused("policy-violation", patience=30)
    assert [condition(item) for item in failures if isinstance(item, Element)] == ["not-authorized"] * 5
    assert time.monotonic() - begun > 0.5


@pytest.mark.own("needs our limits")
@pytest.mark.attack("A06")
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


@pytest.mark.attack("A08")
@pytest.mark.parametrize(
    "data", [plain("canary", "x" * 1_000_000), plain("x" * 1_000_000, "x")], ids=["password", "user"]
)
def test_hugeCredentials(server: AttackedServer, stranger: RawClient, data: str) -> None:
    """A08: a megabyte of password or user is not hashed, not even read."""
    cpu = server.cpu
    stranger.flood(data.encode())
    stranger.refused("policy-violation", app="stanza-too-big")
    assert server.cpu - cpu < 0.5


@pytest.mark.attack("A08")
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


@pytest.mark.attack("A10")
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


@pytest.mark.attack("A09")
def test_nobodyChangesTheOthersPassword(clients: Clients, user: Callable[[], str]) -> None:
    """A09: the password is the session's account's own, whatever name is given."""
    client = clients()
    assert _changePassword(client, "canary", "correct horse").get("type") == "error"
    assert (
        client.ask("set", f"<query xmlns='{ns.REGISTER}'><remove/></query>", "canary@localhost").get("type") == "error"
    )


@pytest.mark.attack("A09")
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


@pytest.mark.own("needs further hosts with certificates")
@pytest.mark.parametrize("kind", ["result", "error", "bogus", ""])
def test_registrationOfNoKind(server: AttackedServer, kind: str) -> None:
    """An IQ before authentication that is no request is answered by an error, or not at all."""
    client = server.direct("open.test")
    for payload in ("<username>x</username>", "<remove/>", "<x xmlns='jabber:x:data' type='submit'/>"):
        client.send(f"<iq type='{kind}' id='1'><query xmlns='{ns.REGISTER}'>{payload}</query></iq>")
    client.send("</stream:stream>")
    for item in client.rest():
        assert not isinstance(item, Element) or item.get("type") == "error" or item.name == "error"


@pytest.mark.own("needs our administration")
@pytest.mark.attack("A10")
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
