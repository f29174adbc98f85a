"""What an operator can do about a server that cannot be reached, or that was refused."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

ADVICE: Final = (
    # What the other server says of us comes first: what it could not do looks like what we could not.
    (
        "it refused dialback: not-authorized",
        "run xmppctl check, mend what it says of our certificate, and ask its operator whom it trusts",
    ),
    ("it refused dialback: item-not-found", "its operator has to mend its SRV records: they lead to another server"),
    ("it refused dialback: policy-violation", "ask its operator: it has a list of whom it talks to"),
    ("it refused dialback", "see that it can reach this server: our DNS, and our port from outside"),
    ("server cannot be asked", "run xmppctl s2s try for its domain: it called us, and we cannot call it"),
    # What is wrong with a certificate is next: why POSH or DANE did not help may follow in the same text.
    ("no TLSA record is about", "its operator has to bring TLSA records and certificate into line"),
    ("TLSA records could not be looked up", "try again later: the name servers of the domain fail; dig shows how"),
    ("it showed no certificate", 'its operator has to install one; or set s2s.authentication = "dialback"'),
    ("not trusted here", "its operator has to send the whole chain; or name its authority in s2s.authorities"),
    ("self-signed certificate", "its operator has to get one from an authority, or to vouch for it by POSH or DANE"),
    ("certificate has expired", "its operator has to renew it and to reload; see that the clock here is right"),
    ("not yet valid", "see that the clock here is right; else its operator has to mend its certificate"),
    ("the certificate is for", "its operator has to get one for the domain itself, not for the host alone"),
    ("certificate is not accepted", "its operator has to mend its certificate"),
    ("there is no domain", "check the spelling; if it is right, its operator has to mend its DNS"),
    (
        "say that it has no server for other servers",
        'nothing here: its operator has published an SRV record with the target "."',
    ),
    ("neither SRV records nor an address", "its operator has to publish one of them; or set s2s.overrides"),
    ("name server", "ask the name servers of this machine with dig; mend them, or set s2s.resolver"),
    ("could not be found out", "try again later: the name servers of the domain fail; dig shows how"),
    ("in a network that federation refuses", "take the network out of s2s.refused, or set s2s.overrides"),
    ("connection refused by", "its operator has to start it, or to mend its SRV records: nothing listens there"),
    ("timed out", "open outgoing connections in the firewall here; else its server is down, or its firewall closed"),
    ("no route to", "give this machine a way there (IPv6 addresses need IPv6 here); or set s2s.overrides"),
    ("cannot connect to", "see whether this machine reaches the address otherwise, for instance with nc -vz"),
    ("has no address", "its operator has to give the host in its SRV records an address"),
    ("we have no certificates", "put certificates into tls.certificates, and restart"),
    ("TLS handshake failed", "try openssl s_client; SRV records that mix up direct TLS and STARTTLS look like this"),
    (
        "offers no encryption",
        'its operator has to switch TLS on; on a trusted network set s2s.tls = "optional" and '
        's2s.authentication = "dialback"',
    ),
    ("refuses the encryption", "its operator has to mend its certificate; its log says what is wrong"),
    (
        "does not accept our certificate",
        "run xmppctl check, mend what it says of our certificate, and ask its operator whom it trusts",
    ),
    ("and no dialback", "both sides need certificates that the other one accepts; run xmppctl check for ours"),
    ("dialback key is not valid", "see that our DNS leads to this server alone: it has asked another one"),
    ("its key is not valid", "see with dig where its DNS leads: not to the server that called; or somebody lies"),
    ("host-unknown", "its operator has to mend its SRV records: they lead to a server that does not serve it"),
    ("it refused the stream", "ask its operator: its log says why, or it has a list of whom it talks to"),
    ("too many servers are being tried", "see with xmppctl s2s which domains are unreachable; deny those nobody needs"),
    ("incident", "look for this number in the log, and report it: this is a mistake in our server"),
    ("no XMPP", "its operator has to mend its SRV records: something else listens there"),
    ("does not answer", "try again later: its server is overloaded, or something else listens there"),
    ("no answer within the time", "try again later: its server is overloaded, or packets are lost"),
    ("offers no way to authenticate", "its operator has to offer SASL EXTERNAL or dialback"),
    ("invalid-namespace", "its operator has to mend its SRV records: they lead to a port for clients, or for others"),
    ("closed the stream", "ask its operator: its log says why"),
    ("stream was closed", "ask its operator; SRV records that mix up direct TLS and STARTTLS can look like this"),
    ("connection was lost", "ask its operator: its log says why, or a firewall has cut the connection"),
)
"""What a reason has in it, and what to do then; the first that fits counts."""


def adviceFor(reason: str) -> str:
    """What to do about a reason, "" if nobody knows."""
    return next((advice for phrase, advice in ADVICE if phrase in reason), "")


def advices(reasons: Iterable[str]) -> list[str]:
    """What to do about several reasons, each thing once."""
    return list(dict.fromkeys(advice for reason in reasons if (advice := adviceFor(reason))))
