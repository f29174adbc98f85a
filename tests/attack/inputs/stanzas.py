"""Stanzas that lie, and stanzas that are wrong (RFC 6120 8, hardening I01-I05, X12-X14)."""

from __future__ import annotations

from xmppservice.wire import ns

CARBONS = "urn:xmpp:carbons:2"

FORWARD = "urn:xmpp:forward:0"

MAM = "urn:xmpp:mam:2"

DISCO = f"<query xmlns='{ns.DISCO_INFO}'/>"

FROMS = [
    "canary@localhost",
    "canary@localhost/x",
    "localhost",
    "{bare}/other",
    "@@@",
    "",
    "{bare}.evil.test",
    "x{bare}",
]

FORGERIES = {
    "a roster push": f"<iq type='set' id='1'{{to}}><query xmlns='{ns.ROSTER}'><item jid='a@evil.test'/></query></iq>",
    "a stray result": "<iq type='result' id='1'{to}/>",
    "a stray error": "<iq type='error' id='1'{to}><error type='cancel'/></iq>",
    "an archive's result": f"<message{{to}}><result xmlns='{MAM}'><forwarded xmlns='{FORWARD}'/></result></message>",
    "a received carbon": f"<message{{to}}><received xmlns='{CARBONS}'><forwarded xmlns='{FORWARD}'><message "
    f"xmlns='{ns.CLIENT}' from='canary@localhost/x'><body>x</body></message></forwarded></received></message>",
    "a sent carbon": f"<message{{to}}><sent xmlns='{CARBONS}'><forwarded xmlns='{FORWARD}'/></sent></message>",
}  # fmt: skip

BAD_IQS = {
    "no id": f"<iq type='get'>{DISCO}</iq>",
    "no type": f"<iq id='1'>{DISCO}</iq>",
    "another type": f"<iq type='fetch' id='1'>{DISCO}</iq>",
    "no child": "<iq type='get' id='1'/>",
    "only text": "<iq type='set' id='1'>text</iq>",
    "two children": f"<iq type='get' id='1'>{DISCO}{DISCO}</iq>",
    "another type of presence": "<presence type='sleepy'/>",
    "a priority of words": "<presence><priority>high</priority></presence>",
    "a subscription to nobody": "<presence type='subscribe'/>",
    "an empty roster set": f"<iq type='set' id='1'><query xmlns='{ns.ROSTER}'/></iq>",
    "two items": f"<iq type='set' id='1'><query xmlns='{ns.ROSTER}'><item jid='a@b'/><item jid='c@b'/></query></iq>",
    "a roster item without address": f"<iq type='set' id='1'><query xmlns='{ns.ROSTER}'><item/></query></iq>",
    "nobody to block": f"<iq type='set' id='1'><block xmlns='{ns.BLOCKING}'/></iq>",
}  # fmt: skip

ADDRESSES = {
    "no local part": "@localhost",
    "signs": "@@@",
    "a space": "a b@localhost",
    "an ampersand": "a&amp;b@localhost",
    "no resource": "a@localhost/",
    "no domain": "a@/x",
    "right to left": "a\u202e@localhost",
    "a zero width joiner": "a\u200db@localhost",
    "1024 bytes of local part": "a" * 1024 + "@localhost",
    "1024 bytes of domain": "a@" + "a" * 1024,
    "1024 bytes of resource": "canary@localhost/" + "a" * 1024,
    "two-byte characters over the limit": "é" * 512 + "@localhost",
    "three-byte characters over the limit": "canary@localhost/" + "漢" * 342,
    "four-byte characters over the limit": "canary@localhost/" + "😀" * 256,
    "a control character in the resource": "canary@localhost/a\x7fb",
    "a dot only": "a@.",
    "labels too long": "a@" + "x" * 64 + ".test",
    "spaces in the domain": "a@b c",
    "an address of IPv6 without its end": "a@[::1",
}

NUMBERS = ["-1", "2147483648", "4294967296", "18446744073709551616", "1" + "0" * 308, "NaN", "１２", "", " 1", "1e3",
           "0x1", "9" * 60_000, "+1", "1_0"]  # fmt: skip

SERVED = [
    ns.DISCO_INFO, ns.DISCO_ITEMS, ns.PING, ns.VERSION, ns.TIME, ns.LAST, ns.VCARD, ns.PRIVATE, ns.ROSTER, ns.BLOCKING,
    ns.REGISTER, ns.BIND, ns.SESSION,
]  # fmt: skip

NAMES = ("query", "ping", "time", "vCard", "blocklist", "block", "unblock", "bind", "session", "x")

INNER = ("", "text", "<item/>", "<item jid='@@@' subscription='bogus'/>", "<x xmlns='jabber:x:data'/>",
         "<remove/><remove/>",
         "<username/><password/>", "<storage xmlns='urn:example:s'/><b/>", "<remove/>x<item jid=''/>")  # fmt: skip
