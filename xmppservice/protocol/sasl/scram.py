"""SCRAM and SCRAM-PLUS with any hash (RFC 5802, RFC 7677), server side.

Theory of operation: the client's first message opens with a GS2 header (channel binding flag and authorisation
identity), followed by the "bare" part (user name and nonce). We ask for the user's salt, answer with it and a
longer nonce, and get back the GS2 header again with the channel binding data (`c=`), the nonce and the proof.
The proof covers the exact octets of all three messages, so they are kept as they came. Whether it holds is for
the portal's checker to say; it leaves the server's signature on the credentials, and that closes the exchange.
"""

from __future__ import annotations

import base64
import hmac

from xmppservice.protocol.errors import SASLFailure
from xmppservice.protocol.sasl.credentials import SASLCredentials, ScramCredentials
from xmppservice.protocol.sasl.encoding import strictBase64
from xmppservice.protocol.sasl.identity import authorize, prepareUser
from xmppservice.protocol.sasl.mechanism import Mechanism, SASLContext, decodeText
from xmppservice.protocol.sasl.steps import Challenge, NeedSecrets, Step

#: Longest nonce that a client may send; ours are 32 characters.
MAX_NONCE = 256
_ALPHA = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_CB_NAME = _ALPHA | frozenset("0123456789.-")
_START, _ASKED, _FINAL = range(3)


class Scram(Mechanism):
    """One exchange. `family` is the mechanism name without -PLUS and chooses the hash and the stored keys."""

    __slots__ = ("_authzid", "_binding", "_clientFirst", "_gs2", "_local", "_nonce", "_serverFirst", "_state",
                 "hashSize", "family", "plus")

    def __init__(self, name: str, context: SASLContext, hashSize: int) -> None:
        super().__init__(name, context)
        self.plus = name.endswith("-PLUS")
        self.family = name.removesuffix("-PLUS")
        self.hashSize = hashSize
        self._state = _START
        self._binding = ""

    def _advance(self, data: bytes | None) -> Step:
        if self._state == _FINAL and data is not None:
            return self._final(decodeText(data))
        if self._state == _START:
            return Challenge(b"") if data is None else self._first(decodeText(data))
        raise SASLFailure("malformed-request")

    def _first(self, message: str) -> Step:
        """Take the client-first-message (RFC 5802 section 7)."""
        parts = message.split(",")
        if len(parts) < 4:
            raise SASLFailure("malformed-request")
        flag, authzid, name, nonce = parts[:4]
        self._checkFlag(flag)
        self._authzid = _saslName(_value(authzid, "a")) if authzid else ""
        self._local = prepareUser(_saslName(_value(name, "n")))
        self._nonce = _value(nonce, "r")
        if len(self._nonce) > MAX_NONCE or not all("!" <= c <= "~" for c in self._nonce):
            raise SASLFailure("malformed-request")
        _checkExtensions(parts[4:])
        # Judged now, so that another's identity gets its own answer whether or not the proof would hold.
        authorize(self._authzid, self._local, self.context.host)
        self._gs2 = f"{flag},{authzid},"
        self._clientFirst = ",".join(parts[2:])
        self._state = _ASKED
        return NeedSecrets(self._local, self.family)

    def _checkFlag(self, flag: str) -> None:
        """Judge the channel binding flag (RFC 5802 section 6)."""
        if flag.startswith("p="):
            kind = flag[2:]
            if not self.plus or not kind or not _CB_NAME.issuperset(kind):
                raise SASLFailure("malformed-request")
            if kind not in self.context.bindings:
                raise SASLFailure("not-authorized", "channel binding type not supported")
            self._binding = kind
        elif flag not in ("n", "y") or self.plus:
            raise SASLFailure("malformed-request")
        elif flag == "y" and self.context.plusOffered:
            # The client saw no -PLUS where we offered one: somebody in the middle struck it out.
            raise SASLFailure("not-authorized", "channel binding was offered")

    def secrets(self, salt: bytes, iterations: int) -> Step:
        """Take the user's salt and iteration count; returns the challenge with them."""
        if self._state != _ASKED:
            return super().secrets(salt, iterations)
        self._nonce += self.context.nonce()
        encoded = base64.b64encode(salt).decode("ascii")
        self._serverFirst = f"r={self._nonce},s={encoded},i={iterations}"
        self._state = _FINAL
        return Challenge(self._serverFirst.encode("ascii"))

    def _final(self, message: str) -> Step:
        """Take the client-final-message (RFC 5802 section 7)."""
        withoutProof, comma, proofText = message.rpartition(",p=")
        parts = withoutProof.split(",")
        if not comma or len(parts) < 2:
            raise SASLFailure("malformed-request")
        binding, nonce = _value(parts[0], "c"), _value(parts[1], "r")
        _checkExtensions(parts[2:])
        proof = strictBase64(proofText)
        if proof is None or len(proof) != self.hashSize or strictBase64(binding) is None:
            raise SASLFailure("malformed-request")
        if not hmac.compare_digest(nonce.encode("utf-8"), self._nonce.encode("ascii")):
            raise SASLFailure("malformed-request")
        if not hmac.compare_digest(binding.encode("ascii"), self._expectedBinding()):
            raise SASLFailure("not-authorized")
        authMessage = f"{self._clientFirst},{self._serverFirst},{withoutProof}".encode()
        credentials = ScramCredentials(self._local, self.family, authMessage, proof)
        return self._claim(self._local, self._authzid, credentials)

    def _expectedBinding(self) -> bytes:
        """Build the value that `c=` must have: the GS2 header as it came, then the data of this channel."""
        data = b""
        if self._binding:
            source = self.context.bindings[self._binding]
            data = source if isinstance(source, bytes) else source()
        return base64.b64encode(self._gs2.encode("utf-8") + data)

    def _finalData(self, credentials: SASLCredentials) -> bytes | None:
        """Return the server-final-message; without a verified proof there is none, and no success."""
        signature = credentials.serverSignature if isinstance(credentials, ScramCredentials) else None
        if signature is None:
            raise SASLFailure("not-authorized")
        return b"v=" + base64.b64encode(signature)


def _value(attribute: str, letter: str) -> str:
    """Return the value of an attribute that must be `letter` and not empty."""
    if attribute[:2] != letter + "=" or len(attribute) < 3:
        raise SASLFailure("malformed-request")
    return attribute[2:]


def _saslName(text: str) -> str:
    """Undo the quoting of a saslname: only =2C and =3D may follow the sign (RFC 5802 section 5.1)."""
    first, *rest = text.split("=")
    for piece in rest:
        if piece[:2] == "2C":
            first += "," + piece[2:]
        elif piece[:2] == "3D":
            first += "=" + piece[2:]
        else:
            raise SASLFailure("malformed-request")
    return first


def _checkExtensions(attributes: list[str]) -> None:
    """Ignore optional extensions of good form; refuse the reserved `m` and a repeated known one."""
    for attribute in attributes:
        if len(attribute) < 3 or attribute[1] != "=" or attribute[0] not in _ALPHA or attribute[0] in "manrcpsiv":
            raise SASLFailure("malformed-request")
