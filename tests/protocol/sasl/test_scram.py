"""SCRAM, server side: the vectors of the RFCs, and everything that must be refused."""

from __future__ import annotations

import base64
import hashlib

import pytest

from tests.protocol.sasl.scramclient import ScramClient
from xmppservice.protocol.errors import SASLFailure
from xmppservice.protocol.sasl.credentials import SCRAM_HASHES, ScramCredentials, deriveKeys
from xmppservice.protocol.sasl.mechanism import Mechanism, SASLContext
from xmppservice.protocol.sasl.registry import MECHANISMS, mechanismFor
from xmppservice.protocol.sasl.steps import Challenge, Credentials, NeedSecrets, Success

HOST = "example.com"
SALT = b"0123456789abcdef"
COUNT = 64
BINDINGS = {"tls-exporter": b"E" * 32, "tls-server-end-point": lambda: b"P" * 32}
SCRAMS = [name for name in MECHANISMS if name.startswith("SCRAM")]


def contextFor(plusOffered: bool = False, **more: object) -> SASLContext:
    """Make the context of an encrypted stream."""
    return SASLContext(HOST, tls=True, bindings=BINDINGS, plusOffered=plusOffered, **more)  # type: ignore[arg-type]


def clientFor(name: str, user: str = "alice", password: str = "secret", **more: str) -> ScramClient:
    """Make a client that does what the mechanism `name` needs."""
    if name.endswith("-PLUS"):
        return ScramClient(
            user, password, SCRAM_HASHES[name[:-5]], flag="p=tls-exporter", binding=b"E" * 32, **more  # type: ignore[arg-type]
        )
    return ScramClient(user, password, SCRAM_HASHES[name], **more)  # type: ignore[arg-type]


def issue(machine: Mechanism, client: ScramClient, final: bytes | None = None) -> ScramCredentials:
    """Run an exchange until credentials come out."""
    need = machine.respond(client.first())
    assert isinstance(need, NeedSecrets)
    challenge = machine.secrets(SALT, COUNT)
    assert isinstance(challenge, Challenge)
    step = machine.respond(final or client.final(challenge.data))
    assert isinstance(step, Credentials)
    assert isinstance(step.credentials, ScramCredentials)
    return step.credentials


def refused(machine: Mechanism, *messages: bytes) -> str:
    """Feed messages, with secrets in between; return the condition of the failure that must come."""
    with pytest.raises(SASLFailure) as caught:
        for message in messages:
            if isinstance(machine.respond(message), NeedSecrets):
                machine.secrets(SALT, COUNT)
    return caught.value.condition


VECTORS = [
    (
        "SCRAM-SHA-1",
        "3rfcNHYJY1ZVvWVs7j",
        "QSXCR+Q6sek8bf92",
        b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
        b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    ),
    (
        "SCRAM-SHA-256",
        "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        "W22ZaJ0SNY7soEsUEjb6gQ==",
        b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ),
]


@pytest.mark.parametrize(("name", "nonce", "salt", "first", "challenge", "final", "last"), VECTORS)
def test_vectors(
    name: str, nonce: str, salt: str, first: bytes, challenge: bytes, final: bytes, last: bytes
) -> None:
    """The exchanges printed in RFC 5802 section 5 and RFC 7677 section 3, octet for octet."""
    machine = mechanismFor(name, SASLContext(HOST, nonce=lambda: nonce))
    need = machine.respond(first)
    assert isinstance(need, NeedSecrets)
    assert (need.user, need.mechanism) == ("user", name)
    step = machine.secrets(base64.b64decode(salt), 4096)
    assert isinstance(step, Challenge)
    assert step.data == challenge
    step2 = machine.respond(final)
    assert isinstance(step2, Credentials)
    assert isinstance(step2.credentials, ScramCredentials)
    assert step2.credentials.verify(deriveKeys(name, b"pencil", base64.b64decode(salt), 4096))
    assert machine.accepted().data == last


@pytest.mark.parametrize("name", SCRAMS)
@pytest.mark.parametrize("user", ["alice", "a=b,c", "Äpfel"])
def test_everyMechanism(name: str, user: str) -> None:
    """Each hash, with and without binding, logs in a client that was written apart, and proves itself to it."""
    machine = mechanismFor(name, contextFor(plusOffered=True))
    client = clientFor(name, user)
    credentials = issue(machine, client)
    assert credentials.local == user.lower()
    assert credentials.mechanism == name.removesuffix("-PLUS")
    assert credentials.serverSignature is None
    assert credentials.verify(deriveKeys(credentials.mechanism, b"secret", SALT, COUNT))
    success = machine.accepted()
    assert isinstance(success, Success)
    assert client.check(success.data)


@pytest.mark.parametrize("name", SCRAMS)
def test_wrongPassword(name: str) -> None:
    """A proof made with another password does not verify and leaves no server signature."""
    machine = mechanismFor(name, contextFor())
    credentials = issue(machine, clientFor(name, password="Secret"))
    assert not credentials.verify(deriveKeys(credentials.mechanism, b"secret", SALT, COUNT))
    assert credentials.serverSignature is None


def test_successNeedsVerification() -> None:
    """A checker that accepts without having verified the proof gets no success out of the machine."""
    machine = mechanismFor("SCRAM-SHA-1", contextFor())
    issue(machine, clientFor("SCRAM-SHA-1"))
    with pytest.raises(SASLFailure) as caught:
        machine.accepted()
    assert caught.value.condition == "not-authorized"


def test_noInitialResponse() -> None:
    """Without an initial response the server asks with an empty challenge (RFC 4422 section 5, RFC 6120 6.3.10)."""
    machine = mechanismFor("SCRAM-SHA-1", contextFor())
    step = machine.respond(None)
    assert isinstance(step, Challenge)
    assert step.data == b""
    issue(machine, clientFor("SCRAM-SHA-1"))


def test_endPointBinding() -> None:
    """tls-server-end-point works, its data computed when wanted."""
    machine = mechanismFor("SCRAM-SHA-256-PLUS", contextFor())
    client = ScramClient("alice", "secret", "sha256", flag="p=tls-server-end-point", binding=b"P" * 32)
    credentials = issue(machine, client)
    assert credentials.verify(deriveKeys("SCRAM-SHA-256", b"secret", SALT, COUNT))


@pytest.mark.parametrize("binding", [b"", b"F" * 32, b"E" * 31, b"E" * 33])
def test_wrongBinding(binding: bytes) -> None:
    """Data of another channel, as behind a TLS-terminating proxy, fail the login (T08)."""
    machine = mechanismFor("SCRAM-SHA-256-PLUS", contextFor())
    client = ScramClient("alice", "secret", "sha256", flag="p=tls-exporter", binding=binding)
    machine.respond(client.first())
    challenge = machine.secrets(SALT, COUNT)
    assert isinstance(challenge, Challenge)
    assert refused(machine, client.final(challenge.data)) == "not-authorized"


def test_bindingDataWithoutFlag() -> None:
    """Binding data where none were announced do not pass as a GS2 header (RFC 5802 section 7)."""
    machine = mechanismFor("SCRAM-SHA-256", contextFor())
    client = ScramClient("alice", "secret", "sha256", binding=b"E" * 32)
    machine.respond(client.first())
    challenge = machine.secrets(SALT, COUNT)
    assert isinstance(challenge, Challenge)
    assert refused(machine, client.final(challenge.data)) == "not-authorized"


def test_strippedPlus() -> None:
    """A client that can bind but saw no -PLUS where we offered one was lied to (RFC 5802 section 6, T08)."""
    client = ScramClient("alice", "secret", flag="y")
    assert refused(mechanismFor("SCRAM-SHA-1", contextFor(plusOffered=True)), client.first()) == "not-authorized"
    issue(mechanismFor("SCRAM-SHA-1", contextFor(plusOffered=False)), client)


def test_changedFlag() -> None:
    """Someone in the middle who turns the client's y into n is found out by `c=`."""
    machine = mechanismFor("SCRAM-SHA-1", contextFor(plusOffered=True))
    client = ScramClient("alice", "secret", flag="y")
    machine.respond(b"n" + client.first()[1:])
    challenge = machine.secrets(SALT, COUNT)
    assert isinstance(challenge, Challenge)
    assert refused(machine, client.final(challenge.data)) == "not-authorized"


def test_unknownBindingType() -> None:
    """A binding type that this connection does not have fails the login (RFC 5802 section 6)."""
    machine = mechanismFor("SCRAM-SHA-1-PLUS", contextFor())
    assert refused(machine, b"p=tls-unique,,n=alice,r=abc") == "not-authorized"


MALFORMED_FIRST = [
    b"",
    b"n",
    b"n,,",
    b"n,,n=alice",
    b"n,n=alice,r=abc",
    b"n,,r=abc,n=alice",
    b"n,,n=,r=abc",
    b"n,,n=alice,r=",
    b"n,,N=alice,r=abc",
    b"n,,m=ext,n=alice,r=abc",
    b"n,,n=alice,r=abc,m=ext",
    b"n,,n=alice,r=abc,x=",
    b"n,,n=alice,r=abc,",
    b"n,,n=alice,r=abc,1=x",
    b"n,,n=alice,r=abc,r=def",
    b"n,,n=al=ice,r=abc",
    b"n,,n=al=2cice,r=abc",
    b"n,,n=alice=,r=abc",
    b"n,,n=al\0ice,r=abc",
    b"n,,n=al\xffice,r=abc",
    b"n,,n=alice,r=ab c",
    b"n,,n=alice,r=ab\x7fc",
    b"n,,n=alice,r=\xc3\xa4bc",
    b"n,,n=alice,r=" + b"x" * 257,
    b"n,a=,n=alice,r=abc",
    b"n,alice,n=alice,r=abc",
    b"F,n,,n=alice,r=abc",
    b"x,,n=alice,r=abc",
    b"N,,n=alice,r=abc",
    b"p=,,n=alice,r=abc",
    b"p=tls-exporter,,n=alice,r=abc",
    b"n,,n=" + b"u" * 1024 + b",r=abc",
    b"n,,n=alice,r=abc,x=" + b"y" * 5000,
]


@pytest.mark.parametrize("message", MALFORMED_FIRST)
def test_malformedFirst(message: bytes) -> None:
    """Attributes in another order, unquoted signs, reserved extensions, over-long fields (3.2, A08)."""
    assert refused(mechanismFor("SCRAM-SHA-1", contextFor()), message) == "malformed-request"


@pytest.mark.parametrize("message", [b"n,,n=alice,r=abc", b"y,,n=alice,r=abc", b"p=a_b,,n=alice,r=abc"])
def test_plusWithoutBinding(message: bytes) -> None:
    """A -PLUS mechanism demands a well-formed binding flag."""
    assert refused(mechanismFor("SCRAM-SHA-1-PLUS", contextFor()), message) == "malformed-request"


@pytest.mark.parametrize("user", ["a@b", "al ice", "a/b", "\u2665"])
def test_impossibleName(user: str) -> None:
    """A name that can be nobody's is answered like a wrong password."""
    machine = mechanismFor("SCRAM-SHA-1", contextFor())
    assert refused(machine, ScramClient(user, "x").first()) == "not-authorized"


FINAL = b"c=biws,r=abcSERVER,p=" + base64.b64encode(b"p" * 20)
MALFORMED_FINAL = [
    b"",
    b"c=biws,r=abcSERVER",
    b"r=abcSERVER,c=biws,p=" + base64.b64encode(b"p" * 20),
    b"c=biws,p=" + base64.b64encode(b"p" * 20),
    b"c=biws,r=abc,p=" + base64.b64encode(b"p" * 20),
    b"c=biws,r=abcSERVERx,p=" + base64.b64encode(b"p" * 20),
    b"c=biws,r=abcserver,p=" + base64.b64encode(b"p" * 20),
    b"c=biws,r=abcSERVER,p=",
    b"c=biws,r=abcSERVER,p=@@@",
    b"c=biws,r=abcSERVER,p=" + base64.b64encode(b"p" * 19),
    b"c=biws,r=abcSERVER,p=" + base64.b64encode(b"p" * 21),
    b"c=biws,r=abcSERVER,p=" + base64.b64encode(b"p" * 20).rstrip(b"="),
    b"c=biw,r=abcSERVER,p=" + base64.b64encode(b"p" * 20),
    b"c=,r=abcSERVER,p=" + base64.b64encode(b"p" * 20),
    b"c=biws,r=abcSERVER,m=x,p=" + base64.b64encode(b"p" * 20),
    b"c=biws,m=x,r=abcSERVER,p=" + base64.b64encode(b"p" * 20),
    b"c=biws,r=abcSERVER\xff,p=" + base64.b64encode(b"p" * 20),
    FINAL + b",x=y",
    b"x" * 5000,
]


@pytest.mark.parametrize("message", MALFORMED_FINAL)
def test_malformedFinal(message: bytes) -> None:
    """The final message: order, nonce, base64, length of the proof, proof last."""
    machine = mechanismFor("SCRAM-SHA-1", contextFor(nonce=lambda: "SERVER"))
    assert refused(machine, b"n,,n=alice,r=abc", message) == "malformed-request"


def test_changedHeader() -> None:
    """`c=` must repeat the GS2 header as it came: here the authorisation identity was dropped."""
    machine = mechanismFor("SCRAM-SHA-1", contextFor(nonce=lambda: "SERVER"))
    assert refused(machine, b"n,a=alice@example.com,n=alice,r=abc", FINAL) == "not-authorized"


def test_optionalExtensions() -> None:
    """Unknown optional extensions are ignored, yet covered by the proof (RFC 5802 section 5.1)."""
    machine = mechanismFor("SCRAM-SHA-1", contextFor())
    client = clientFor("SCRAM-SHA-1")
    client.extensions = ",x=one,y=two=three"
    assert issue(machine, client).verify(deriveKeys("SCRAM-SHA-1", b"secret", SALT, COUNT))


def test_deadAfterFailure() -> None:
    """A machine that has failed, or has said its last, takes no other message."""
    machine = mechanismFor("SCRAM-SHA-1", contextFor())
    client = clientFor("SCRAM-SHA-1")
    assert refused(machine, b"rubbish") == "malformed-request"
    assert refused(machine, client.first()) == "malformed-request"
    machine = mechanismFor("SCRAM-SHA-1", contextFor())
    issue(machine, client)
    assert refused(machine, client.first()) == "malformed-request"


def test_misuse() -> None:
    """Steps out of turn are the caller's mistakes, not the peer's."""
    machine = mechanismFor("SCRAM-SHA-1", contextFor())
    with pytest.raises(RuntimeError):
        machine.secrets(SALT, COUNT)
    with pytest.raises(RuntimeError):
        machine.accepted()


def test_nonces() -> None:
    """Nonces are new each time, at least 128 bits, and printable (A07)."""
    seen = set()
    for _ in range(2000):
        machine = mechanismFor("SCRAM-SHA-1", SASLContext(HOST))
        machine.respond(b"n,,n=alice,r=abc")
        step = machine.secrets(SALT, COUNT)
        assert isinstance(step, Challenge)
        nonce = step.data.split(b",")[0][len("r=abc") :]
        assert len(base64.urlsafe_b64decode(nonce)) * 8 >= 128
        seen.add(nonce)
    assert len(seen) == 2000


def test_hashSizes() -> None:
    """Each registered mechanism uses the hash of its name (RFC 5802 section 4)."""
    for name in SCRAMS:
        machine = mechanismFor(name, contextFor())
        digest = name.removeprefix("SCRAM-").removesuffix("-PLUS").replace("-", "").lower()
        assert machine.hashSize == hashlib.new(digest).digest_size  # type: ignore[attr-defined]
