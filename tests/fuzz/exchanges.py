"""F8: what must hold of base64 and of the mechanisms, whatever a client sends; used by tests and guided runs."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Sequence

from xmppservice.protocol.errors import SASL_CONDITIONS, SASLFailure
from xmppservice.protocol.sasl.credentials import PlainCredentials, SASLCredentials, ScramCredentials
from xmppservice.protocol.sasl.encoding import MAX_MESSAGE, decodeBase64
from xmppservice.protocol.sasl.mechanism import Mechanism, SASLContext
from xmppservice.protocol.sasl.registry import mechanismFor
from xmppservice.protocol.sasl.steps import Challenge, Credentials, NeedSecrets

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
MECHANISMS = ("PLAIN", "ANONYMOUS", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512-PLUS")
NONCE = "server"

#: Messages as clients send them: the first, and the one that answers the challenge.
TALKS: tuple[tuple[bytes, ...], ...] = (
    (b"\0alice\0secret",), (b"alice@a.test\0alice\0secret",), (b"",), (b"trace@a.test",),
    (b"n,,n=alice,r=abc", b"c=biws,r=abcserver,p=" + base64.b64encode(bytes(20))),
    (b"n,a=alice@a.test,n=alice,r=abc", b"c=bixhPWFsaWNlQGEudGVzdCw=,r=abcserver,p=" + base64.b64encode(bytes(32))),
    (b"y,,n=ali=2Cce=3D,r=abc,x=1", b"c=eSws,r=abcserver,x=1,p=" + base64.b64encode(bytes(20))),
    (b"p=tls-exporter,,n=alice,r=abc",
     b"c=" + base64.b64encode(b"p=tls-exporter,,bound") + b",r=abcserver,p=" + base64.b64encode(bytes(64))),
)  # fmt: skip
PIECES = (
    b",", b"=", b"n,", b"y,", b"p=tls-exporter,", b"p=x,", b"a=", b"n=", b"r=", b"c=", b"p=", b"m=1", b"=2C", b"=3D",
    b"=2c", b"\0", b"\xff", b"\xc3\xa9", b"e\xcc\x81", b"biws", b"alice", b"bob@a.test", b"@", b"/", b"A" * 1100, b" ",
    b",x=", b",,",
)  # fmt: skip


def naively(text: str) -> bytes | None:
    """Canonical base64 by the table of RFC 4648, bit by bit; None if it is anything else."""
    if len(text) % 4:
        return None
    body = text.rstrip("=")
    pad = len(text) - len(body)
    if pad > 2 or any(letter not in ALPHABET for letter in body):
        return None
    bits = "".join(f"{ALPHABET.index(letter):06b}" for letter in body)
    rest = bits[len(bits) // 8 * 8 :]
    if rest.strip("0") or len(rest) != pad * 2:
        return None
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits) - len(rest), 8))


def checkBase64(text: str, decode: Callable[[str], bytes] = decodeBase64) -> str:
    """Our decoder and the naive one agree on what is base64, and on what it says."""
    expected = b"" if text == "=" else naively(text)
    try:
        found: bytes | None = decode(text)
    except SASLFailure:
        found = None
    if expected is not None and len(expected) > MAX_MESSAGE:
        expected = None if found is None else expected
    return "" if found == expected else f"{text!r} is {found!r}, should be {expected!r}"


def checkExchange(name: str, messages: Sequence[bytes], start: Callable[..., Mechanism] = mechanismFor) -> str:
    """A mechanism takes any messages: it ends in a claim of somebody's own name, or in a defined failure."""
    try:
        claim, taken = claimed(name, messages, start)
    except SASLFailure as failure:
        return "" if failure.condition in SASL_CONDITIONS else f"a failure of no kind: {failure.condition}"
    return _checkClaim(messages[:taken], claim) if claim is not None else ""


def claimed(
    name: str, messages: Sequence[bytes], start: Callable[..., Mechanism] = mechanismFor
) -> tuple[SASLCredentials | None, int]:
    """What a mechanism claims after which message; SASLFailure if it refuses."""
    context = SASLContext("a.test", True, {"tls-exporter": b"bound"}, nonce=lambda: NONCE)
    mechanism = start(name, context)
    for taken, message in enumerate(messages, 1):
        step = mechanism.respond(message)
        if isinstance(step, NeedSecrets):
            step = mechanism.secrets(b"salt", 4096)
        if isinstance(step, Credentials):
            return step.credentials, taken
        if not isinstance(step, Challenge):
            raise AssertionError(f"{step!r} without a claim")
    return None, len(messages)


def _checkClaim(messages: Sequence[bytes], claim: SASLCredentials) -> str:
    if isinstance(claim, PlainCredentials) and messages[0].count(b"\0") != 2:
        return "PLAIN from a message without three fields"
    if isinstance(claim, ScramCredentials):
        first, final = (message for message in messages if message)
        if b"r=" not in final or NONCE.encode() not in final:
            return "SCRAM without the server's nonce"
        binding = base64.b64decode(final.split(b",")[0][2:])
        header = b",".join(first.split(b",")[:2]) + b","
        if not binding.startswith(header):
            return "SCRAM whose GS2 header is not the one that was sent"
        if header.startswith(b"p=") != binding.endswith(b"bound"):
            return "SCRAM whose channel binding is not the channel's"
    return ""


def talk(chance: random.Random) -> tuple[str, list[bytes]]:
    """A mechanism and the messages for it, mutated at some places."""
    messages = [bytearray(message) for message in chance.choice(TALKS)]
    for _ in range(chance.randint(0, 3)):
        message = chance.choice(messages)
        at = chance.randrange(len(message) + 1)
        kind = chance.randrange(4)
        if kind == 0:
            message[at:at] = chance.choice(PIECES)
        elif kind == 1:
            del message[at : at + chance.choice((1, 2, 8))]
        elif kind == 2:
            message[at : at + 1] = bytes((chance.randrange(256),))
        else:
            message[at:at] = message[at : at + 8]
    return chance.choice(MECHANISMS), [bytes(message) for message in messages]
