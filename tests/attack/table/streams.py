"""Rows about headers, the order of negotiation, and the end of streams (RFC 6120 4; hardening 3.1, D02)."""

from __future__ import annotations

import time
from functools import partial

from tests.attack.inputs.streams import ADDRESSED, HEADERS, PING, UNKNOWN
from tests.attack.raw import STARTTLS, RawClient, header
from tests.attack.table.arena import ANSWER, PATIENCE, QUIET, Arena, settle, tell, until
from tests.attack.table.row import Row
from xmppservice.wire import ns
from xmppservice.wire.parser import StreamEnd

SECTIONS = {
    "host-unknown": "4.9.3.6", "improper-addressing": "4.9.3.7", "invalid-namespace": "4.9.3.10",
    "unsupported-version": "4.7.5", "bad-format": "4.9.3.1", "not-well-formed": "11.3",
    "policy-violation": "4.9.3.14", "unsupported-encoding": "11.6",
}  # fmt: skip
# What else the RFC allows in answer to these headers.
ALSO = {
    "no host": ("improper-addressing, closed",),
    "no address": ("host-unknown, closed",),
    "a space in the address": ("host-unknown, closed",),
    "another element": ("*, closed",),
    "HTTP": ("bad-format, closed",),
    "XML 1.1": ("unsupported-version, closed", "not-well-formed, closed", "bad-format, closed"),
    "another stream namespace": ("bad-namespace-prefix, closed", "bad-format, closed"),
}
_OLD = ("version*, kept", "version*, features, kept")
_PATIENT = 45.0


def rows() -> list[Row]:
    """Bad beginnings, wrong order, and endings."""
    return [*_headers(), *_order(), *_endings(), *_silence()]


def _headers() -> list[Row]:
    found = []
    for name, (data, wanted) in HEADERS.items():
        if wanted == "policy-violation":
            continue
        more = ALSO.get(name, ())
        if wanted == "unsupported-version":
            more = _OLD  # Section 4.7.5 has such a peer be treated as one of version 0.9.
        if wanted == "unsupported-encoding":
            more = (*more, "bad-format, closed")
        attempt = partial(Arena.opening, data=data)
        found.append(Row("3.1", f"header: {name}", SECTIONS[wanted], attempt, (f"{wanted}, closed", *more)))
    for version in ("1.9", "2.0"):
        attempt = partial(Arena.opening, data=header(version=version))
        found.append(Row("3.1", f"header: version {version}", "4.7.5", attempt,
                         ("version 1.0, features, kept",), ("unsupported-version, closed",)))  # fmt: skip
    return found


def _order() -> list[Row]:
    found = []
    stanzas = {"an empty message": "<message/>", "a message to a user": ADDRESSED, "presence": "<presence/>",
               "a ping": PING}  # fmt: skip
    for name, text in stanzas.items():
        for stage, where in ((Arena.plain, "before TLS"), (Arena.stranger, "before authentication")):
            found.append(
                Row("3.1", f"{name} {where}", "4.9.3.12", partial(Arena.unbound, data=text, stage=stage),
                    ("not-authorized, closed",), ("error: *, kept",))
            )  # fmt: skip
    found.append(Row("3.1", "a message to a user before binding", "7.1", _unbound, ("not-authorized, closed",),
                     ("error: *, kept",)))  # fmt: skip
    found += [
        Row("3.1", f"a first-level element {name}", "4.9.3.24", partial(Arena.bound, data=text),
            ("unsupported-stanza-type, closed",), ("kept", "failed, kept"))
        for name, text in UNKNOWN.items()
    ]  # fmt: skip
    return [
        *found,
        Row("3.1", "text between stanzas", "4.9.3.1, 11.7", partial(Arena.bound, data="hello"),
            ("bad-format, closed", "invalid-xml, closed", "not-well-formed, closed"), ("kept",)),
        Row("3.1", "a second header where no restart is due", "7.3.2", partial(Arena.bound, data=header()),
            ("*-*, closed", "conflict, closed"), ("no answer any more, kept",)),
        Row("3.1", "STARTTLS behind TLS", "5.4.2.2", partial(Arena.unbound, data=STARTTLS),
            ("failure, closed", "*-*, closed")),
    ]  # fmt: skip


def _unbound(arena: Arena) -> str:
    client = arena.keep(arena.server.authenticated(arena.user()))
    client.send(ADDRESSED)
    return tell(until(client, QUIET, first=ANSWER), client)


def _end(arena: Arena) -> str:
    client = arena.member()
    client.send(PING + "</stream:stream>")
    items = until(client, 3)
    ended = bool(items) and isinstance(items[-1], StreamEnd)
    return ("" if ended else "no end tag, ") + tell(items, client)


def _sameResource(arena: Arena) -> str:
    name = arena.user()
    old = arena.keep(arena.server.login(name, "same"))
    new = arena.keep(arena.server.authenticated(name))
    reply = new.ask("set", f"<bind xmlns='{ns.BIND}'><resource>same</resource></bind>")
    if reply.get("type") == "error":
        return f"new: {tell([reply], new)}"
    if reply.elements()[0].elements()[0].text != old.jid:
        return "new: another resource"
    return f"old: {tell(settle(old), old)}"


def _behind(arena: Arena) -> str:
    victim, client = arena.member(presence=True), arena.member()
    message = f"<message to='{victim.jid}'><body>x</body></message>"
    client.send(message + "<message></iq>" + message)
    closed = tell(until(client, PATIENCE), client).rpartition(", ")[2]
    return f"{len(victim.messages())} of 2 delivered, {closed}"


def _endings() -> list[Row]:
    return [
        Row("3.1", "the end of the stream behind a request", "4.4", _end, ("result, closed",), ("closed",)),
        Row("3.1", "stanzas before and behind an error in one segment", "4.9.1.1", _behind,
            ("1 of 2 delivered, closed",), ("0 of 2 delivered, closed",)),
        Row("3.1", "the same resource twice", "7.7.2.2", _sameResource,
            ("old: conflict, closed", "new: error: conflict, kept", "new: another resource")),
    ]  # fmt: skip


def _wait(client: RawClient) -> str:
    begun = time.monotonic()
    until(client, _PATIENT, _PATIENT)
    return f"closed after {time.monotonic() - begun:.0f} s" if client.closed else f"open after {_PATIENT:g} s"


def _nothing(arena: Arena) -> str:
    return _wait(arena.keep(RawClient(arena.server.port)))


def _features(arena: Arena) -> str:
    return _wait(arena.plain())


def _handshake(arena: Arena) -> str:
    client = arena.keep(RawClient(arena.server.directPort))
    client.send(b"\x16\x03\x01\x02\x00\x01")
    return _wait(client)


def _authenticated(arena: Arena) -> str:
    return _wait(arena.keep(arena.server.authenticated(arena.user())))


def _silence() -> list[Row]:
    kinds = {
        "a connection and silence": _nothing,
        "a header and silence": _features,
        "a part of a handshake and silence": _handshake,
        "authentication and silence": _authenticated,
    }
    wanted = ("closed after ? s", "closed after [12]? s", "closed after 3[0-5] s")
    return [Row("D02", name, "no RFC: 30 s is ours", attempt, wanted, ("open*", "closed*"), slow=True)
            for name, attempt in kinds.items()]  # fmt: skip
