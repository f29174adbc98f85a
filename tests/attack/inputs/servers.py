"""What other servers may try (RFC 6120, XEP-0220, XEP-0288; hardening 2.3)."""

from __future__ import annotations

from tests.attack.inputs.streams import headers
from tests.attack.peer import BIDI, body, dialback
from tests.attack.raw import DOMAIN, auth
from tests.attack.raw import header as _header
from xmppservice.wire import ns

STRANGER, KNOWN = "stranger.test", "known.test"


def header(to: str | None = DOMAIN, version: str | None = "1.0", **more: str) -> str:
    """The header of a server that is `STRANGER`, unless told otherwise."""
    return _header(to, version, **{"xmlns": ns.SERVER, "xmlns:db": ns.DIALBACK, "from": STRANGER, **more})


HEADERS: dict[str, tuple[str | bytes, str]] = {
    **headers(header, "client", ns.CLIENT),
    "a component's header": (header(xmlns=ns.COMPONENT), "invalid-namespace"),
    "from no address": (header(**{"from": "@@@"}), "improper-addressing"),
    "from nothing": (header(**{"from": ""}), "improper-addressing"),
    "from an address with a resource": (header(**{"from": "a.test/x"}), "improper-addressing"),
    "from a domain that is too long": (header(**{"from": "a" * 1024}), "improper-addressing"),
    "from ourselves": (header(**{"from": DOMAIN}), "invalid-from"),
    "from ourselves in capitals": (header(**{"from": "LOCALHOST."}), "invalid-from"),
    "from another host of ours": (header(**{"from": "other.test"}), "invalid-from"),
    "from our component": (header(**{"from": "component.test"}), "invalid-from"),
    "from somebody we do not talk to": (header(**{"from": "denied.test"}), "policy-violation"),
    "from below somebody we do not talk to": (header(**{"from": "a.DENIED.test"}), "policy-violation"),
}

#: What a server may not send before it has proved anything, and what ends its stream then.
EARLY: dict[str, tuple[str, str]] = {
    "an empty message": ("<message/>", "not-authorized"),
    "a message": (body(f"a@{STRANGER}", f"user1@{DOMAIN}"), "not-authorized"),
    "a message from ourselves": (body(f"a@{DOMAIN}", f"user1@{DOMAIN}"), "not-authorized"),
    "presence": (f"<presence from='a@{STRANGER}' to='user1@{DOMAIN}' type='subscribe'/>", "not-authorized"),
    "a request": (f"<iq from='{STRANGER}' to='{DOMAIN}' type='get' id='1'><ping xmlns='{ns.PING}'/></iq>",
                  "not-authorized"),
    "an answer": (f"<iq from='{STRANGER}' to='{DOMAIN}' type='result' id='1'/>", "not-authorized"),
    "stream management": (f"<enable xmlns='{ns.SM}'/>", "unsupported-stanza-type"),
    "a resumption": (f"<resume xmlns='{ns.SM}' previd='x' h='0'/>", "unsupported-stanza-type"),
    "something unknown": ("<foo/>", "unsupported-stanza-type"),
    "something of another kind": ("<message xmlns='urn:example:foo'/>", "unsupported-stanza-type"),
    "features": ("<stream:features/>", "unsupported-stanza-type"),
    "our part of TLS": (f"<proceed xmlns='{ns.TLS}'/>", "unsupported-stanza-type"),
    "our part of SASL": (f"<success xmlns='{ns.SASL}'/>", "unsupported-stanza-type"),
    "an abort": (f"<abort xmlns='{ns.SASL}'/>", "policy-violation"),
    "a response": (f"<response xmlns='{ns.SASL}'/>", "policy-violation"),
    "a second header": (header(), "invalid-xml"),
    "a component's handshake": ("<handshake>x</handshake>", "unsupported-stanza-type"),
    "text": ("hello", "bad-format"),
}  # fmt: skip

#: The same behind its proof.
LATE: dict[str, tuple[str, str]] = {
    "something unknown": ("<foo/>", "unsupported-stanza-type"),
    "something of another kind": ("<message xmlns='urn:example:foo'/>", "unsupported-stanza-type"),
    "features": ("<stream:features/>", "unsupported-stanza-type"),
    "of stream management": (f"<bogus xmlns='{ns.SM}'/>", "unsupported-stanza-type"),
    "what only we may say of it": (f"<enabled xmlns='{ns.SM}'/>", "unsupported-stanza-type"),
    "authentication": (auth("EXTERNAL", b"x"), "unsupported-stanza-type"),
    "a wish for both directions": (BIDI, "unsupported-stanza-type"),
    "STARTTLS": (f"<starttls xmlns='{ns.TLS}'/>", "unsupported-stanza-type"),
    "a second header": (header(), "invalid-xml"),
    "text": ("hello", "bad-format"),
    "no sender": (f"<message to='user1@{DOMAIN}'/>", "improper-addressing"),
    "no recipient": (f"<message from='a@{KNOWN}'/>", "improper-addressing"),
    "neither": ("<message/>", "improper-addressing"),
    "an empty sender": (f"<message from='' to='user1@{DOMAIN}'/>", "improper-addressing"),
    "an empty recipient": (f"<message from='a@{KNOWN}' to=''/>", "improper-addressing"),
    "a sender that is no address": (f"<message from='@' to='user1@{DOMAIN}'/>", "improper-addressing"),
    "a recipient that is no address": (f"<message from='a@{KNOWN}' to='@@@'/>", "improper-addressing"),
    "dialback without sender": (f"<db:result to='{DOMAIN}'>x</db:result>", "improper-addressing"),
    "dialback without recipient": (f"<db:result from='{KNOWN}'>x</db:result>", "improper-addressing"),
    "dialback from a user": (dialback("result", "a@b.test", DOMAIN, "x"), "improper-addressing"),
    "dialback of no type": (dialback("result", KNOWN, DOMAIN, type="maybe"), "invalid-xml"),
    "a question without the id of a stream": (dialback("verify", KNOWN, DOMAIN, "x"), "invalid-xml"),
    "another element of dialback": (f"<db:foo from='{KNOWN}' to='{DOMAIN}'/>", "unsupported-stanza-type"),
}

#: SASL before anything was proved, over TLS with a good certificate: what comes back, and whether the stream stays.
TRIES: dict[str, tuple[str, str]] = {
    "another mechanism": (auth("PLAIN", b"\0a\0b"), "invalid-mechanism"),
    "a mechanism of no name": (auth("", ""), "invalid-mechanism"),
    "what is no base64": (auth("EXTERNAL", "@@@"), "incorrect-encoding"),
    "base64 without its end": (auth("EXTERNAL", "YQ"), "incorrect-encoding"),
    "base64 with white space": (auth("EXTERNAL", "YQ= ="), "incorrect-encoding"),
    "elements inside": (auth("EXTERNAL", "<x/>"), "malformed-request"),
    "another domain": (auth("EXTERNAL", b"victim.test"), "invalid-authzid"),
    "our domain": (auth("EXTERNAL", DOMAIN.encode()), "invalid-authzid"),
    "a user of the domain": (auth("EXTERNAL", f"a@{STRANGER}".encode()), "invalid-authzid"),
    "a domain below": (auth("EXTERNAL", f"sub.{STRANGER}".encode()), "invalid-authzid"),
    "what is no UTF-8": (auth("EXTERNAL", b"\xff\xfe"), "invalid-authzid"),
    "NUL": (auth("EXTERNAL", f"{STRANGER}\0x".encode()), "invalid-authzid"),
    "too long a domain": (auth("EXTERNAL", b"a" * 3000), "invalid-authzid"),
}
