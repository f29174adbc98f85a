"""Headers and first-level elements (RFC 6120 4)."""

from __future__ import annotations

from collections.abc import Callable

from tests.attack.raw import auth, header
from xmppservice.wire import ns

PING = f"<iq type='get' id='1'><ping xmlns='{ns.PING}'/></iq>"

Header = Callable[..., str]


def headers(header: Header, other: str, content: str) -> dict[str, tuple[str | bytes, str]]:
    """Bad beginnings of a stream and their conditions; `header` makes good ones, others have that content."""
    return {
        "unknown host": (header("nope.test"), "host-unknown"),
        "unknown host with a dot": (header("NOPE.test."), "host-unknown"),
        "no host": (header(None), "host-unknown"),
        "no address": (header("@@@"), "improper-addressing"),
        "a space in the address": (header("a b"), "improper-addressing"),
        "another content namespace": (header(xmlns="jabber:foo"), "invalid-namespace"),
        f"a {other}'s header": (header(xmlns=content), "invalid-namespace"),
        "another stream namespace": (header(**{"xmlns:stream": "urn:example:streams"}), "invalid-namespace"),
        "no version": (header(version=None), "unsupported-version"),
        "an old version": (header(version="0.9"), "unsupported-version"),
        "a version that is none": (header(version="abc"), "unsupported-version"),
        "a version with an abundance of digits": (header(version="1" * 4000 + ".0"), "unsupported-version"),
        "another element": (header().replace("<stream:stream", "<stream:flow"), "bad-format"),
        "HTTP": ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "not-well-formed"),
        "a header beyond the limit": (header(id="x" * 10_240), "policy-violation"),
        "ISO 8859-1": ("<?xml version='1.0' encoding='iso-8859-1'?>" + header(), "unsupported-encoding"),
        "XML 1.1": ("<?xml version='1.1'?>" + header(), "unsupported-encoding"),
        "UTF-16 with a mark": (header().encode("utf-16"), "unsupported-encoding"),
        "UTF-16, little end first": (header().encode("utf-16-le"), "unsupported-encoding"),
        "UTF-16, big end first": (header().encode("utf-16-be"), "unsupported-encoding"),
        "UTF-32 with a mark": (header().encode("utf-32"), "unsupported-encoding"),
        "UTF-32, big end first": (header().encode("utf-32-be"), "unsupported-encoding"),
    }


HEADERS = headers(header, "server", ns.SERVER)

ADDRESSED = "<message to='canary@localhost'><body>x</body></message>"

UNKNOWN = {
    "in our namespace": "<foo/>",
    "in another": "<foo xmlns='urn:example:foo'/>",
    "in the stream's": "<stream:features/>",
    "of stream management": f"<bogus xmlns='{ns.SM}'/>",
    "another kind of message": "<message xmlns='urn:example:foo'/>",
}

ORDER = {
    "authentication": (auth("PLAIN", b"\0a\0b"), "policy-violation"),
    "an abort": (f"<abort xmlns='{ns.SASL}'/>", "policy-violation"),
    "a response": (f"<response xmlns='{ns.SASL}'/>", "policy-violation"),
}
