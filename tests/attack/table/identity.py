"""Rows about who says what to whom: two users, and what the second one sees (hardening I01-I11)."""

from __future__ import annotations

from functools import partial

from tests.attack.inputs.stanzas import DISCO, FORGERIES
from tests.attack.raw import DOMAIN, RawClient, stanzaError
from tests.attack.table.arena import Arena, settle, tell
from tests.attack.table.row import Row
from xmppservice.wire import ns
from xmppservice.wire.element import Element

FROMS = {
    "another user": f"canary@{DOMAIN}",
    "the server": DOMAIN,
    "the sender with another resource": "{bare}/other",
    "a malformed address": "@@@",
    "a longer domain": "{bare}.evil.test",
}


def rows() -> list[Row]:
    """Claims, forgeries, spellings, blocks, curiosity."""
    return [*_senders(), *_forgeries(), *_others()]


def _seen(sender: RawClient, victim: RawClient, before: str = "") -> str:
    """What the victim has got, by whom it says to be."""
    said = tell(settle(sender), sender)
    got = [item for item in settle(victim) if isinstance(item, Element) and item.ns == ns.CLIENT]
    if not got:
        return f"nothing delivered, {said}"
    true = all(item.get("from") == sender.jid for item in got)
    return f"delivered from {'its true sender' if true else got[0].get('from')}, {said}"


def _claim(arena: Arena, claim: str) -> str:
    mallory, victim = arena.member(), arena.member(presence=True)
    settle(victim)
    claimed = claim.format(bare=mallory.jid.partition("/")[0])
    mallory.send(f"<message from='{claimed}' to='{victim.jid}' id='1'/>")
    return _seen(mallory, victim)


def _senders() -> list[Row]:
    wanted = ("nothing delivered, invalid-from, closed", "delivered from its true sender, kept")
    near = ("nothing delivered, *",)
    return [
        Row("3.1", f"a message from {name}", "8.1.2.1, 4.9.3.9", partial(_claim, claim=claim), wanted, near)
        for name, claim in FROMS.items()
    ]  # fmt: skip


def _forge(arena: Arena, text: str) -> str:
    mallory, victim = arena.member(), arena.member(presence=True)
    victim.ask("get", f"<query xmlns='{ns.ROSTER}'/>")
    settle(victim)
    mallory.send(text.format(to=f" to='{victim.jid}'"))
    seen = _seen(mallory, victim)
    roster = victim.ask("get", f"<query xmlns='{ns.ROSTER}'/>").elements()
    return "the roster was changed" if roster and roster[0].elements() else seen


def _forgeries() -> list[Row]:
    ids = {"a roster push": "I02", "a stray result": "I05", "a stray error": "I05", "an archive's result": "I03"}
    wanted = ("delivered from its true sender, kept", "nothing delivered, kept", "nothing delivered, error: *")
    return [
        Row(ids.get(name, "I01"), f"{name} by another user", "8.1.2.1", partial(_forge, text=text), wanted)
        for name, text in FORGERIES.items()
    ]


def _stanzaIds(arena: Arena, full: bool) -> str:
    mallory, victim = arena.member(), arena.member(presence=True)
    bare = victim.jid.partition("/")[0]
    forged = "".join(f"<stanza-id xmlns='{ns.SID}' by='{by}' id='forged'/>" for by in (bare, bare.upper(), victim.jid))
    mallory.send(f"<message to='{victim.jid if full else bare}' type='chat'>{forged}<body>x</body>{forged}</message>")
    mallory.ping()
    (message,) = victim.messages(1, 3)[:1] or [Element("", "none")]
    # An id by a full JID is nobody's in particular: the recipient believes those of its own account.
    ids = [child for child in message.elements() if child.name == "stanza-id"]
    mine = [child for child in ids if (child.get("by") or "").lower() == bare]
    return f"{sum(child.get('id') == 'forged' for child in mine)} of 4 forged ids delivered"


def _spelling(arena: Arena) -> str:
    alice, bob = arena.member(), arena.member(presence=True)
    local = bob.jid.partition("@")[0]
    for form in (local.upper(), "\uff55" + local[1:]):
        alice.send(f"<message to='{form}@LOCALHOST' type='chat'><body>x</body></message>")
    alice.ping()
    return f"{len(bob.messages(2, 2))} of 2 delivered"


def _blocked(arena: Arena) -> str:
    victim, mallory = arena.member(presence=True), arena.member(presence=True)
    mine = mallory.jid.partition("/")[0]
    reply = victim.ask("set", f"<block xmlns='{ns.BLOCKING}'><item jid='{mine.upper()}'/></block>")
    if reply.get("type") != "result":
        return f"not offered: {stanzaError(reply)[1]}"
    settle(victim)
    bare = victim.jid.partition("/")[0]
    for to in (bare, victim.jid):
        mallory.send(f"<message to='{to}' type='chat'><body>x</body></message><presence to='{to}'/>")
        mallory.send(f"<presence type='subscribe' to='{to}'/><iq type='get' id='1' to='{to}'>{DISCO}</iq>")
    mallory.ping()
    got = [item for item in settle(victim) if isinstance(item, Element) and item.name != "iq" or
           isinstance(item, Element) and item.get("from") == mallory.jid]  # fmt: skip
    return f"{len(got)} delivered"


def _curious(arena: Arena) -> str:
    """What a stranger is told of a user online, of one offline and of nobody."""
    online, offline, stranger = arena.member(presence=True), arena.user(), arena.member()
    payloads = [f"<query xmlns='{ns.LAST}'/>", f"<query xmlns='{ns.VERSION}'/>", DISCO, f"<ping xmlns='{ns.PING}'/>"]
    resource = online.jid.partition("/")[2]
    apart = []
    for payload in payloads:
        for suffix in ("", f"/{resource}"):
            told = []
            for bare in (online.jid.partition("/")[0], f"{offline}@{DOMAIN}", f"nobody@{DOMAIN}"):
                stranger.send(f"<iq type='get' id='1' to='{bare}{suffix}'>{payload}</iq>")
                told.append(tell(settle(stranger), stranger))
            if len(set(told)) > 1:
                apart.append(("bare " if not suffix else "full ") + payload.partition("'")[2].partition("'")[0])
    names = sorted({name.rpartition(":")[2].rpartition("/")[2] for name in apart})
    return f"told apart by {', '.join(names)}" if names else "the same answers"


def _probe(arena: Arena) -> str:
    online, offline, stranger = arena.member(presence=True), arena.user(), arena.member(presence=True)
    seen = []
    for bare in (online.jid.partition("/")[0], f"{offline}@{DOMAIN}", f"nobody@{DOMAIN}"):
        stranger.send(f"<presence type='probe' to='{bare}'/>")
        found = settle(stranger)
        seen.append([(item.name, item.get("type")) for item in found if isinstance(item, Element)])
    return "the same answers" if seen[0] == seen[1] == seen[2] else "told apart"


def _password(arena: Arena) -> str:
    name = arena.user()
    here, there = arena.member(name), arena.member(name)
    fields = f"<username>{name}</username><password>correct horse</password>"
    reply = here.ask("set", f"<query xmlns='{ns.REGISTER}'>{fields}</query>", DOMAIN)
    if reply.get("type") != "result":
        return f"not offered: {stanzaError(reply)[1]}"
    return f"the other session: {tell(settle(there), there)}"


def _others() -> list[Row]:
    return [
        Row("I04", "forged stanza ids to a bare JID", "XEP-0359 5", partial(_stanzaIds, full=False),
            ("0 of 4 forged ids delivered",)),
        Row("I04", "forged stanza ids to a full JID", "XEP-0359 5", partial(_stanzaIds, full=True),
            ("0 of 4 forged ids delivered",)),
        Row("I06", "capitals and full-width letters in an address", "RFC 7622 3.3.2", _spelling, ("2 of 2 delivered",)),
        Row("I10", "eight stanzas of a blocked user", "XEP-0191 3.3", _blocked, ("0 delivered",)),
        Row("I11", "requests of a stranger to users online, offline, nobody", "13.10.2, 13.11, RFC 6121 11", _curious,
            ("the same answers",)),
        Row("I11", "a stranger's probes of users online, offline, nobody", "RFC 6121 4.3.2", _probe,
            ("the same answers",)),
        Row("A10", "the password is changed in another session", "4.9.3.16", _password,
            ("the other session: reset, closed", "the other session: not-authorized, closed"),
            ("the other session: *closed",)),
    ]  # fmt: skip
