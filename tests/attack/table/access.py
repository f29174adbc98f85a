"""Rows about TLS, authentication and binding (RFC 6120 5 to 7; hardening T01-T09, A01-A10, 3.2)."""

from __future__ import annotations

import base64
import ssl
from functools import partial

from tests.attack.inputs.sasl import FINAL, FIRST
from tests.attack.inputs.tls import EARLY, SECURED_ONLY, WEAK, V
from tests.attack.raw import DOMAIN, STARTTLS, auth, header, plain, response
from tests.attack.table.arena import ANSWER, QUIET, Arena, handshake, settle, tell, until
from tests.attack.table.row import Row
from tests.attack.weak import context
from tests.protocol.sasl.scramclient import ScramClient
from xmppservice.wire import ns
from xmppservice.wire.element import Element

OTHER = "user1"


def rows() -> list[Row]:
    """In the order of negotiation."""
    return [*_startTLS(), *_tls(), *_identity(), *_mistakes(), *_guessing(), *_binding()]


def _early(arena: Arena, early: str) -> str:
    """What follows ``<starttls/>`` in clear must not be an answer behind the handshake."""
    client = arena.plain()
    client.send(STARTTLS + early)
    items = until(client, 0.4)
    if client.closed:
        return tell(items, client)
    try:
        client.wrap(arena.server.ca)
    except (ssl.SSLError, OSError):
        return "proceed, TLS fails"
    client.restart()
    return f"proceed, TLS, {tell(until(client, QUIET, first=ANSWER), client)}"


def _startTLS() -> list[Row]:
    wanted = ("*-*, closed", "proceed, closed", "closed", "proceed, TLS fails", "proceed, TLS, kept")
    found = [Row("T01", f"{name} in clear with <starttls/>", "5.4.3.1, 5.4.3.3", partial(_early, early=text), wanted)
             for name, text in EARLY.items()]  # fmt: skip
    for name, text in SECURED_ONLY.items():
        refusal: tuple[str, ...] = ("not-authorized, closed", "policy-violation, closed", "*-*, closed")
        if text.startswith("<auth "):
            refusal = ("failure: encryption-required, kept", "failure: encryption-required, closed")
        elif name == "compression":
            refusal = ("failure: unsupported-method, kept", "failure: setup-failed, *", "*-*, closed")
        id = "X03" if name == "compression" else "T02"
        attempt = partial(Arena.unbound, data=text, stage=Arena.plain)
        near = ("failure*", "failed*", "error: *", "kept", "closed")
        found.append(Row(id, f"{name} before TLS", "4.9.3.12, 6.5.4", attempt, refusal, near))
    return found


def _handshake(arena: Arena, kind: tuple[ssl.TLSVersion, ssl.TLSVersion, str]) -> str:
    client = arena.plain()
    client.send(STARTTLS)
    client.element()
    return handshake(client, context(*kind))


def _mechanisms(arena: Arena) -> str:
    offered = [name for name in arena.stranger().mechanisms if name.startswith(("SCRAM", "PLAIN"))]
    return " ".join(sorted(offered))


def _tls() -> list[Row]:
    found = [Row("T04", f"TLS: {name}", "RFC 9325 3.1, 4", partial(_handshake, kind=kind), ("refused",),
                 ("TLSv1.2",) if name == "CBC" else ())
             for name, kind in WEAK.items()]  # fmt: skip
    for version in (V.TLSv1_2, V.TLSv1_3):
        name = "TLSv1.2" if version == V.TLSv1_2 else "TLSv1.3"
        found.append(
            Row("T04", f"TLS: {name}", "RFC 9325 3.1", partial(_handshake, kind=(version, version, "")), (name,))
        )
    found.append(Row("T08", "the mechanisms under TLS 1.3", "13.8.1", _mechanisms, ("*SCRAM-SHA-1-PLUS*",)))
    return found


# -- who ------------------------------------------------------------------------------------------


def _acting(arena: Arena, scram: bool, authzid: str) -> str:
    """Authenticate with one's own password as somebody else; then whoever one is, bind."""
    name, client = arena.user(), arena.stranger()
    if scram:
        answer = client.scram(name, name[::-1], authzid=authzid)
    else:
        client.send(plain(name, name[::-1], authzid))
        answer = client.element()
    if answer.name != "success":
        return tell([answer], client)
    client.restart()
    client.open()
    bare = client.bind().partition("/")[0]
    return "success as oneself" if bare == f"{name}@{DOMAIN}" else f"success as {bare}"


def _otherHost(arena: Arena) -> str:
    name, client = arena.user(), arena.stranger()
    assert client.scram(name, name[::-1]).name == "success"
    client.restart()
    client.send(header("other.test"))
    items = until(client, QUIET, first=ANSWER)
    if client.closed:
        return tell(items, client)
    jid = client.bind().partition("/")[0]
    return "bound at the first host" if jid == f"{name}@{DOMAIN}" else f"bound as {jid}"


def _identity() -> list[Row]:
    found = []
    others = {"another user": f"{OTHER}@{DOMAIN}", "the host": DOMAIN, "another host's user": "a@other.test"}
    for sent, authzid in others.items():
        for scram in (False, True):
            name = "SCRAM-SHA-1" if scram else "PLAIN"
            attempt = partial(_acting, scram=scram, authzid=authzid)
            found.append(
                Row("A01", f"{name} with the authzid of {sent}", "6.5.6", attempt,
                    ("failure: invalid-authzid, *",), ("success as oneself",))
            )  # fmt: skip
    for name in ("ANONYMOUS", "EXTERNAL", "CRAM-MD5", "X-UNKNOWN"):
        found.append(
            Row("A02", f"{name}, which is not offered", "6.5.7", partial(Arena.unbound, data=auth(name, b"\0a\0b")),
                ("failure: invalid-mechanism, *",))
        )  # fmt: skip
    found.append(Row("A03", "another host in the header behind authentication", "4.9.3.6, 6.3.12", _otherHost,
                     ("not-authorized, closed", "host-unknown, closed", "invalid-*, closed"),
                     ("bound at the first host",)))  # fmt: skip
    return found


MISTAKES = (
    "no base64", "no padding", "white space in base64", "characters behind the padding", "no NUL", "three NULs",
    "no user", "nothing", "no UTF-8", "a user with a space", "no mechanism", "SCRAM: rubbish", "SCRAM: order",
    "SCRAM: no nonce",
    "SCRAM: mandatory extension", "SCRAM: flag", "SCRAM: quoting", "abort", "a response to nothing",
)  # fmt: skip
SPOILED = ("another nonce", "an empty proof", "a proof of zeros", "a channel of its own", "mandatory extension")


def _section(conditions: str, name: str) -> str:
    sections = {"aborted": "6.5.1", "incorrect-encoding": "6.5.5", "invalid-mechanism": "6.5.7",
                "malformed-request": "6.5.8", "not-authorized": "6.5.10"}  # fmt: skip
    more = ", RFC 5802 5.1" if name.startswith("SCRAM") else ", RFC 4648 3" if "base64" in name else ""
    return sections[conditions.split()[0]] + more


def _spoiled(arena: Arena, name: str) -> str:
    user, client = arena.user(), arena.stranger()
    scram = ScramClient(user, user[::-1])
    client.send(auth("SCRAM-SHA-1", scram.first()))
    client.send(response(FINAL[name][0](scram.final(base64.b64decode(client.element().text)))))
    return tell(until(client, QUIET, first=ANSWER), client)


def _mistakes() -> list[Row]:
    found = []
    for name in MISTAKES:
        data, conditions = FIRST[name]
        wanted = tuple(f"failure: {each}, kept" for each in conditions.split())
        # RFC 4616 and RFC 5802 leave open which of the two a bad message is.
        if "malformed-request" in conditions:
            wanted = (*wanted, "failure: not-authorized, kept") if name.startswith("SCRAM") else wanted
        title = f"SASL: {name}" if not name.startswith("SCRAM") else name
        found.append(Row("3.2", title, _section(conditions, name), partial(Arena.unbound, data=data), wanted))
    for name in SPOILED:
        wanted = ("failure: not-authorized, kept", "failure: malformed-request, kept")
        found.append(Row("3.2", f"SCRAM, last message: {name}", "RFC 5802 5, 7", partial(_spoiled, name=name), wanted))
    return found


# -- guessing ---------------------------------------------------------------------------------------


def _unknown(arena: Arena) -> str:
    """Salt, iterations and failures for a user that exists and for one that does not."""
    known = arena.user()

    def seen(user: str) -> tuple[object, ...]:
        client = arena.stranger()
        client.send(auth("SCRAM-SHA-1", ScramClient(user, "wrong").first()))
        answer = client.element()
        if answer.name != "challenge":
            return (answer.name, [child.name for child in answer.elements()])
        salt, count = base64.b64decode(answer.text).decode().split(",")[1:3]
        return (len(salt), count)

    def salt(user: str) -> str:
        client = arena.stranger()
        client.send(auth("SCRAM-SHA-1", ScramClient(user, "wrong").first()))
        answer = client.element()
        return base64.b64decode(answer.text).decode().split(",")[1] if answer.name == "challenge" else ""

    if seen(known) != seen("nobody-knows"):
        return "told apart by the challenge"
    same = salt("nobody-knows") == salt("nobody-knows")
    return "the same answers" if same else "told apart by a salt that changes"


def _wrong(arena: Arena) -> str:
    name, client = arena.user(), arena.stranger()
    client.send("".join(plain(name, f"wrong{number}") for number in range(30)))
    items = until(client, 4, 12)
    failures = [item for item in items if isinstance(item, Element) and item.name == "failure"]
    return f"{len(failures)} answered, {tell([item for item in items if item not in failures], client)}"


def _guessing() -> list[Row]:
    return [
        Row("A05", "a user that exists and one that does not", "6.5.10, 13.11", _unknown, ("the same answers",)),
        Row("A06", "30 wrong passwords on one stream", "6.4.5", _wrong,
            ("[23456] answered, policy-violation, closed", "[23456] answered, not-authorized, closed"),
            ("*[0-9] answered, *closed",)),
        Row("A08", "1 MB of password", "13.12", partial(Arena.unbound, data=plain("x", "x" * 1_000_000)),
            ("policy-violation*, closed", "failure: *"), ("*-*, closed", "closed", "kept")),
    ]  # fmt: skip


# -- binding ------------------------------------------------------------------------------------------


def _bind(arena: Arena, resource: str) -> str:
    client = arena.keep(arena.server.authenticated(arena.user()))
    client.send(f"<iq type='set' id='1'><bind xmlns='{ns.BIND}'><resource>{resource}</resource></bind></iq>")
    return tell(until(client, QUIET, first=ANSWER), client)


def _eleven(arena: Arena) -> str:
    name = arena.user()
    for _ in range(10):
        arena.member(name)
    late = arena.keep(arena.server.authenticated(name))
    late.send(f"<iq type='set' id='1'><bind xmlns='{ns.BIND}'/></iq>")
    return tell(until(late, QUIET, first=ANSWER), late)


def _binding() -> list[Row]:
    again = f"<iq type='set' id='1'><bind xmlns='{ns.BIND}'><resource>other</resource></bind></iq>"

    def second(arena: Arena) -> str:
        client = arena.member()
        client.send(again)
        return tell(settle(client), client)

    return [
        Row("3.2", "a second binding", "7.6.2.2", second, ("error: not-allowed, kept",)),
        Row("3.2", "a resource of 1,024 bytes", "7.7.2.1", partial(_bind, resource="a" * 1024),
            ("error: bad-request, kept", "result, kept")),
        Row("3.2", "a resource with a control character", "7.7.2.1", partial(_bind, resource="a\x7f"),
            ("error: bad-request, kept", "result, kept")),
        Row("D06", "an eleventh resource", "7.6.2.1", _eleven, ("error: resource-constraint, kept",),
            ("result, kept",)),
    ]  # fmt: skip
