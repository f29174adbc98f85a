"""Rows about stanza errors (RFC 6120 8; hardening 3.3, X12-X14) and stream management (XEP-0198)."""

from __future__ import annotations

from functools import partial

from tests.attack.inputs.stanzas import ADDRESSES, BAD_IQS, DISCO
from tests.attack.raw import DOMAIN
from tests.attack.table.arena import ANSWER, QUIET, Arena, settle, tell, until
from tests.attack.table.row import Row
from xmppservice.wire import ns

UNKNOWN = "<query xmlns='urn:example:unknown'/>"
ADDRESSED = (
    "no local part", "signs", "a space", "an ampersand", "right to left", "1024 bytes of local part",
    "1024 bytes of resource", "two-byte characters over the limit", "a control character in the resource", "a dot only",
)  # fmt: skip
NUMBERS = {"-1": "-1", "2⁶⁴": str(1 << 64), "10³⁰⁸": "1" + "0" * 308, "NaN": "NaN", "full-width digits": "１２"}


def rows() -> list[Row]:
    """Wrong requests, wrong addresses, nobody there, wrong numbers."""
    return [*_requests(), *_addresses(), *_nobody(), *_management()]


def _requests() -> list[Row]:
    found = []
    for name, text in BAD_IQS.items():
        rfc = "8.2.3" if text.startswith("<iq") else "RFC 6121 4"
        if ns.ROSTER in text:
            rfc = "RFC 6121 2.3.3"
        wanted: tuple[str, ...] = ("error: bad-request, kept", "invalid-xml, closed")
        # A priority or type that is none may be left aside, and a roster set's form has other errors too.
        near = ("kept", "presence, kept") if text.startswith("<presence") else ()
        if ns.BLOCKING in text:
            rfc = "XEP-0191 3.3"
        found.append(Row("X14", name, rfc, partial(Arena.bound, data=text), wanted, near))
    return found


def _addresses() -> list[Row]:
    return [
        Row("X12", f"an address with {name}" if name != "signs" else "the address @@@", "8.3.3.8",
            partial(Arena.bound, data=f"<iq type='get' id='1' to='{ADDRESSES[name]}'>{DISCO}</iq>"),
            ("error: jid-malformed, kept",))
        for name in ADDRESSED
    ]  # fmt: skip


def _request(to: str, payload: str = UNKNOWN, kind: str = "get") -> str:
    return f"<iq type='{kind}' id='1' to='{to}'>{payload}</iq>"


def _nobody() -> list[Row]:
    sent = {
        "an unknown request to the server": (_request(DOMAIN), "8.4"),
        "an unknown request to the own account": (_request("", UNKNOWN).replace(" to=''", ""), "8.4"),
        "a request to a user that does not exist": (_request(f"nobody@{DOMAIN}"), "RFC 6121 8.5.1"),
        "a request to a resource that does not exist": (_request(f"canary@{DOMAIN}/none"), "RFC 6121 8.5.3.2.3"),
        "a message to a user that does not exist": (
            f"<message to='nobody@{DOMAIN}'><body>x</body></message>", "RFC 6121 8.5.1"),
    }  # fmt: skip
    found = [Row("3.3", name, rfc, partial(Arena.bound, data=text), ("error: service-unavailable, kept",))
             for name, (text, rfc) in sent.items()]  # fmt: skip
    silent = {
        "a result to nobody": f"<iq type='result' id='1' to='nobody@{DOMAIN}'/>",
        "an error to the server": f"<iq type='error' id='1' to='{DOMAIN}'><error type='cancel'/></iq>",
        "an error message to nobody": f"<message type='error' to='nobody@{DOMAIN}'><error type='cancel'/></message>",
    }
    found += [Row("3.3", name, "8.3.1", partial(Arena.bound, data=text), ("kept",)) for name, text in silent.items()]
    return [
        *found,
        Row("3.3", "the error to a message: id and addresses", "8.3.1", _mirror, ("mirrored",)),
    ]  # fmt: skip


def _mirror(arena: Arena) -> str:
    client = arena.member()
    client.send(f"<message id='m&lt;1' to='nobody@{DOMAIN}'><body>x</body></message>")
    reply = client.element(3)
    wanted = ("error", "m<1", f"nobody@{DOMAIN}", client.jid)
    return "mirrored" if tuple(map(reply.get, ("type", "id", "from", "to"))) == wanted else "changed"


# -- stream management --------------------------------------------------------------------------------


def _managed(arena: Arena, data: str) -> str:
    client = arena.member()
    client.send(f"<enable xmlns='{ns.SM}' resume='true'/>")
    enabled = client.element(3)
    if enabled.name != "enabled":
        return "not offered"
    client.send(data)
    items = [item for item in settle(client) if getattr(item, "name", "") not in ("r", "a")]
    return tell(items, client)


def _resumeAnothers(arena: Arena) -> str:
    victim = arena.member()
    token = victim.enable()
    mallory = arena.keep(arena.server.authenticated(arena.user()))
    mallory.send(f"<resume xmlns='{ns.SM}' previd='{token}' h='0'/>")
    answer = mallory.element(3)
    return "resumed" if answer.name == "resumed" else tell([answer], mallory).replace("failed", "failure")


def _resume(arena: Arena, h: str) -> str:
    client = arena.keep(arena.server.authenticated(arena.user()))
    client.send(f"<resume xmlns='{ns.SM}' previd='none' h='{h}'/>")
    return tell(until(client, QUIET, first=ANSWER), client)


def _management() -> list[Row]:
    found = [
        Row("X13", f"an acknowledgement of {name}", "XEP-0198 4, 6",
            partial(_managed, data=f"<a xmlns='{ns.SM}' h='{h}'/>"),
            ("undefined-condition*, closed", "invalid-xml, closed", "bad-format, closed", "policy-violation, closed"),
            ("failed, kept",))
        for name, h in NUMBERS.items()
    ]  # fmt: skip
    return [
        *found,
        Row("3.1", "an acknowledgement of more than was sent", "XEP-0198 6",
            partial(_managed, data=f"<a xmlns='{ns.SM}' h='7'/>"),
            ("undefined-condition/handled-count-too-high, closed",)),
        Row("3.3", "stream management enabled twice", "XEP-0198 3",
            partial(_managed, data=f"<enable xmlns='{ns.SM}'/>"), ("failed, kept", "*unexpected-request*")),
        Row("3.3", "another user's session resumed", "XEP-0198 5", _resumeAnothers, ("failure*, kept",)),
        Row("X13", "a resumption that counts to NaN", "XEP-0198 5", partial(_resume, h="NaN"),
            ("failed, kept", "*-*, closed")),
    ]  # fmt: skip
