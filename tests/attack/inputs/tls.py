"""What is sent around TLS, and TLS that is too weak (RFC 6120 5, hardening T01-T04)."""

from __future__ import annotations

import ssl

from tests.attack.raw import auth, header, plain
from xmppservice.wire import ns

EARLY = {
    "a header": header(),
    "a header and authentication": header() + plain("canary", "yranac"),
    "a stanza": "<message to='canary@localhost'><body>x</body></message>",
    "the end": "</stream:stream>",
}

SECURED_ONLY = {
    "PLAIN": plain("canary", "yranac"),
    "SCRAM": auth("SCRAM-SHA-1", b"n,,n=canary,r=abcdef"),
    "EXTERNAL": auth("EXTERNAL", b""),
    "SASL2": "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/>",
    "compression": "<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>",
    "binding": f"<iq type='set' id='1'><bind xmlns='{ns.BIND}'/></iq>",
    "resumption": f"<resume xmlns='{ns.SM}' previd='x' h='0'/>",
    "stream management": f"<enable xmlns='{ns.SM}'/>",
    "registration": f"<iq type='get' id='1'><query xmlns='{ns.REGISTER}'/></iq>",
    "dialback": "<db:result xmlns:db='jabber:server:dialback' from='a' to='localhost'>x</db:result>",
    "dialback's check": "<db:verify xmlns:db='jabber:server:dialback' type='valid' from='a' to='localhost' id='1'/>",
    "old authentication": "<iq type='set' id='1'><query xmlns='jabber:iq:auth'><username>x</username></query></iq>",
}

REFUSALS = {"PLAIN", "SCRAM", "EXTERNAL"}

V = ssl.TLSVersion

WEAK = {
    "TLS 1.0": (V.TLSv1, V.TLSv1, ""),
    "TLS 1.1": (V.TLSv1_1, V.TLSv1_1, ""),
    "static RSA": (V.TLSv1_2, V.TLSv1_2, "kRSA"),
    "CBC": (V.TLSv1_2, V.TLSv1_2, "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384:ECDHE-RSA-AES128-SHA"),
    "no forward secrecy": (V.TLSv1_2, V.TLSv1_2, "AES128-GCM-SHA256:AES256-GCM-SHA384"),
    "nobody's certificate": (V.TLSv1_2, V.TLSv1_2, "aNULL"),
    "no encryption": (V.TLSv1_2, V.TLSv1_2, "eNULL"),
}
