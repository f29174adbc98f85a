"""First and last words of an authentication (RFC 6120 6, RFC 4616, RFC 5802), and the registry of mechanisms."""

from __future__ import annotations

import base64

from tests.attack.raw import auth, plain, response
from xmppservice.wire import ns


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


GOOD = _encoded(b"\0canary\0yranac")

FIRST = {
    "no base64": (auth("PLAIN", "@@@"), "incorrect-encoding"),
    "no padding": (auth("PLAIN", _encoded(b"\0a\0bc").rstrip("=")), "incorrect-encoding"),
    "white space in base64": (auth("PLAIN", GOOD[:4] + "\n" + GOOD[4:]), "incorrect-encoding"),
    "white space around base64": (auth("PLAIN", f" {GOOD} "), "incorrect-encoding"),
    "stray bits in base64": (auth("PLAIN", "AGEAYh=="), "incorrect-encoding"),
    "characters behind the padding": (auth("PLAIN", "AA==AA=="), "incorrect-encoding"),
    "URL's base64": (auth("PLAIN", "AGEA_-8="), "incorrect-encoding"),
    "no NUL": (auth("PLAIN", b"alice"), "malformed-request"),
    "one NUL": (auth("PLAIN", b"alice\0secret"), "malformed-request"),
    "three NULs": (auth("PLAIN", b"\0alice\0sec\0ret"), "malformed-request"),
    "no user": (auth("PLAIN", b"\0\0secret"), "malformed-request"),
    "no password": (auth("PLAIN", b"\0alice\0"), "malformed-request not-authorized"),
    "nothing": (auth("PLAIN", "="), "malformed-request"),
    "no UTF-8": (auth("PLAIN", b"\0alice\0\xff"), "malformed-request"),
    "an element": (f"<auth xmlns='{ns.SASL}' mechanism='PLAIN'><x/></auth>", "malformed-request"),
    "a long user": (plain("x" * 1100, "secret"), "malformed-request not-authorized"),
    "a long password": (plain("canary", "x" * 5000), "malformed-request"),
    "a user with a space": (plain("a b", "x"), "not-authorized"),
    "a user with a slash": (plain("a/b", "x"), "not-authorized"),
    "a user with a domain": (plain("canary@localhost", "yranac"), "not-authorized malformed-request"),
    "no mechanism": (f"<auth xmlns='{ns.SASL}'>{GOOD}</auth>", "invalid-mechanism"),
    "a mechanism in lower case": (auth("plain", GOOD), "invalid-mechanism"),
    "SCRAM: rubbish": (auth("SCRAM-SHA-1", b"rubbish"), "malformed-request"),
    "SCRAM: order": (auth("SCRAM-SHA-1", b"n,,r=abc,n=canary"), "malformed-request"),
    "SCRAM: no nonce": (auth("SCRAM-SHA-1", b"n,,n=canary"), "malformed-request"),
    "SCRAM: no user": (auth("SCRAM-SHA-1", b"n,,n=,r=abc"), "malformed-request"),
    "SCRAM: mandatory extension": (auth("SCRAM-SHA-1", b"n,,m=x,n=canary,r=abc"), "malformed-request"),
    "SCRAM: flag": (auth("SCRAM-SHA-1", b"q,,n=canary,r=abc"), "malformed-request"),
    "SCRAM: quoting": (auth("SCRAM-SHA-1", b"n,,n=can=41ary,r=abc"), "malformed-request"),
    "SCRAM: a nonce of control characters": (auth("SCRAM-SHA-1", b"n,,n=canary,r=a\x07c"), "malformed-request"),
    "SCRAM: a long nonce": (auth("SCRAM-SHA-1", b"n,,n=canary,r=" + b"a" * 2900), "malformed-request"),
    "SCRAM: a long user": (auth("SCRAM-SHA-1", b"n,,n=" + b"a" * 2900 + b",r=abc"), "malformed-request"),
    "abort": (f"<abort xmlns='{ns.SASL}'/>", "aborted"),
    "a response to nothing": (response(b"x"), "malformed-request"),
}

FINAL = {
    "another nonce": (lambda final: final.replace(b",r=", b",r=x"), "malformed-request not-authorized"),
    "a nonce cut": (lambda final: final.replace(b",p=", b"x,p="), "malformed-request not-authorized"),
    "no proof": (lambda final: final.partition(b",p=")[0], "malformed-request"),
    "an empty proof": (lambda final: final.partition(b",p=")[0] + b",p=", "malformed-request"),
    "a proof that is short": (lambda final: final.partition(b",p=")[0] + b",p=AAAA", "malformed-request"),
    "a proof of zeros": (lambda final: final.partition(b",p=")[0] + b",p=" + b"A" * 27 + b"=", "not-authorized"),
    "a channel of its own": (lambda final: final.replace(b"c=biws", b"c=eSws"), "not-authorized malformed-request"),
    "mandatory extension": (lambda final: final.replace(b",p=", b",m=x,p="), "malformed-request"),
    "something behind the proof": (lambda final: final + b",x=y", "malformed-request"),
    "nothing": (lambda final: b"", "malformed-request"),
    "no UTF-8": (lambda final: b"\xff\xfe", "malformed-request"),
}

IANA = """9798-M-DSA-SHA1 9798-M-ECDSA-SHA1 9798-M-RSA-SHA1-ENC ANONYMOUS CRAM-MD5 DIGEST-MD5 EAP-AES128
EAP-AES128-PLUS ECDH-X25519-CHALLENGE ECDSA-NIST256P-CHALLENGE EXTERNAL GS2-KRB5 GS2-KRB5-PLUS GSS-SPNEGO GSSAPI
KERBEROS_V4 KERBEROS_V5 LOGIN NMAS-SAMBA-AUTH NMAS_AUTHEN NMAS_LOGIN NTLM OAUTH10A OAUTHBEARER OPENID20 OTP
PASSDSS-3DES-1 SAML20 SCRAM-MD5 SCRAM-SHA-224 SCRAM-SHA3-512 SECURID SKEY SPNEGO SXOVER-PLUS X-OAUTH2
HT-SHA-256-ENDP HT-SHA-256-EXPR DIGEST""".split()
