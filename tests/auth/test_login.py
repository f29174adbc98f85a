"""Logging in through the portal with every mechanism, and every refusal of RFC 6120 section 6.5."""

from __future__ import annotations

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.strcred import makeChecker
from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.auth.world import HOST, Avatar, MemoryStore, World
from tests.protocol.sasl.scramclient import ScramClient
from xmppservice.auth.portal import DEFAULT_POLICY, allowed, failureFor, offered, portalFor, refusal
from xmppservice.auth.realm import Realm
from xmppservice.hub.contracts.auth import (
    ICertificate,
    ICredentialStore,
    IScramCredentials,
    IScramSecrets,
    LoginRefused,
)
from xmppservice.hub.contracts.stream import IAccount
from xmppservice.protocol.errors import SASLFailure
from xmppservice.protocol.sasl.credentials import (
    SCRAM_HASHES,
    CertificateCredentials,
    ClientCertificate,
    PlainCredentials,
    ScramCredentials,
)
from xmppservice.protocol.sasl.mechanism import SASLContext
from xmppservice.protocol.sasl.registry import MECHANISMS

BINDINGS = {"tls-exporter": b"E" * 32}
SCRAMS = [name for name in MECHANISMS if name.startswith("SCRAM")]
CERTIFICATE = ClientCertificate(("alice@example.com",), b"", True)

#: From the IANA registry of SASL mechanisms, those that we do not have.
FOREIGN = (
    "9798-M-DSA-SHA1 9798-U-DSA-SHA1 CRAM-MD5 DIGEST-MD5 EAP-AES128 EAP-AES128-PLUS ECDH-X25519-CHALLENGE "
    "ECDSA-NIST256P-CHALLENGE GS2-KRB5 GS2-KRB5-PLUS GSS-SPNEGO GSSAPI KERBEROS_V4 KERBEROS_V5 LOGIN NMAS_LOGIN "
    "NTLM OAUTH10A OAUTHBEARER OPENID20 OTP SAML20 SECURID SKEY SPNEGO SPNEGO-PLUS SXOVER-PLUS XOAUTH XOAUTH2 "
    "SCRAM-SHA3-512 SCRAM-MD5 plain scram-sha-1 SCRAM-SHA-1-PLUS-PLUS"
).split()


def contextFor(certificate: ClientCertificate | None = CERTIFICATE) -> SASLContext:
    """Make the context of an encrypted stream."""
    return SASLContext(HOST, tls=True, bindings=BINDINGS, clientCertificate=certificate)


def scramMessages(name: str, user: str, password: str, authzid: str = "") -> tuple[ScramClient, list[object]]:
    """Make a client for a mechanism and the messages it will send."""
    plus = name.endswith("-PLUS")
    digest = SCRAM_HASHES[name.removesuffix("-PLUS")]
    client = ScramClient(
        user,
        password,
        digest,
        authzid=authzid,
        flag="p=tls-exporter" if plus else "n",
        binding=b"E" * 32 if plus else b"",
    )
    return client, [client.first(), client.final]


class WorldCase(SynchronousTestCase):
    """Has a world, and an assertion for refused logins."""

    def setUp(self) -> None:
        """Make the world anew."""
        self.world = World()

    def refused(self, condition: str, name: str, messages: list[object], context: SASLContext | None = None) -> None:
        """Check that a login fails with this condition."""
        try:
            outcome = self.world.login(name, context or contextFor(), *messages)
        except Exception as error:
            self.assertEqual(failureFor(error).condition, condition)
        else:
            self.fail(f"{name} let {outcome[0]} in")


class ContractTests(SynchronousTestCase):
    """The objects keep their contracts."""

    def test_interfaces(self) -> None:
        """Each credentials class provides what its checkers ask for; the doubles provide what they stand for."""
        verifyObject(IScramCredentials, ScramCredentials("alice", "SCRAM-SHA-1", b"", b""))
        verifyObject(IUsernamePassword, PlainCredentials(b"alice", b"secret"))
        verifyObject(ICertificate, CertificateCredentials("alice", CERTIFICATE))
        verifyObject(ICredentialStore, MemoryStore())
        verifyObject(IAccount, Avatar("alice"))
        verifyObject(IScramSecrets, World().keyring)


class LoginTests(WorldCase):
    """Right credentials get in."""

    def test_scram(self) -> None:
        """Every SCRAM variant logs in, and the client can check the server's signature."""
        for name in SCRAMS:
            client, messages = scramMessages(name, "alice", "secret")
            jid, data = self.world.login(name, contextFor(), *messages)
            self.assertEqual(jid.full, "alice@example.com")
            self.assertTrue(client.check(data))

    def test_plain(self) -> None:
        """PLAIN logs in, with and without an initial response, and in another spelling of the name."""
        for messages in ([b"\0alice\0secret"], [None, b"\0alice\0secret"], [b"\0ALICE\0secret"]):
            jid, data = self.world.login("PLAIN", contextFor(), *messages)
            self.assertEqual((jid.full, data), ("alice@example.com", None))

    def test_unicode(self) -> None:
        """Composed and decomposed spellings of name and password are the same (RFC 8265)."""
        self.world.store.add("j\xf6rg", "gr\xfc\xdfe \u2665")
        spelling = "\0Jo\u0308rg\0gru\u0308\xdfe \u2665".encode()
        jid, _ = self.world.login("PLAIN", contextFor(), spelling)
        self.assertEqual(jid.local, "j\xf6rg")

    def test_external(self) -> None:
        """A certificate with one address of ours logs in without more words (XEP-0178)."""
        for messages in ([b""], [None, b""], [b"alice@example.com"]):
            jid, _ = self.world.login("EXTERNAL", contextFor(), *messages)
            self.assertEqual(jid.full, "alice@example.com")

    def test_anonymous(self) -> None:
        """Guests get a new name each (XEP-0175)."""
        first, _ = self.world.login("ANONYMOUS", contextFor(), None)
        second, _ = self.world.login("ANONYMOUS", contextFor(), b"sirhc")
        self.assertNotEqual(first, second)
        self.assertEqual(len(first.local), 32)

    def test_logout(self) -> None:
        """Logging out tells who leaves."""
        self.world.login("PLAIN", contextFor(), b"\0alice\0secret")
        self.world.logout()
        self.assertEqual(self.world.released, [("alice@example.com", "mind")])

    def test_stockChecker(self) -> None:
        """A stock Twisted checker serves PLAIN beside ours, and alone leaves nothing but PLAIN."""
        stock = InMemoryUsernamePasswordDatabaseDontUse(bob=b"builder")
        world = World([stock])
        self.assertEqual(world.login("PLAIN", contextFor(), b"\0bob\0builder")[0].local, "bob")
        self.assertEqual(world.login("PLAIN", contextFor(), b"\0alice\0secret")[0].local, "alice")
        self.world = world
        self.refused("not-authorized", "PLAIN", [b"\0bob\0wrong"])
        self.refused("account-disabled", "PLAIN", [b"\0carol\0secret"])
        alone = portalFor(world.realm, [], [stock])
        self.assertEqual(offered(alone, True, BINDINGS), ["PLAIN"])
        self.assertEqual(offered(alone, False, {}), [])


    def test_strcred(self) -> None:
        """Checkers written on the command line, as in `--auth memory:bob:builder`, serve PLAIN and guests."""
        world = World([makeChecker("memory:bob:builder"), makeChecker("anonymous")])
        self.assertEqual(world.login("PLAIN", contextFor(), b"\0bob\0builder")[0].local, "bob")
        self.assertEqual(len(world.login("ANONYMOUS", contextFor(), None)[0].local), 32)

    def test_several(self) -> None:
        """Of several checkers for one kind of credentials, each is asked in turn."""
        world = World([makeChecker("memory:bob:builder"), makeChecker("memory:eve:apple")])
        for user in (b"bob\0builder", b"eve\0apple", b"alice\0secret"):
            world.login("PLAIN", contextFor(), b"\0" + user)

    def test_fileChecker(self) -> None:
        """The stock password file works too; it deals in octets where the memory checker deals in text."""
        path = self.mktemp()
        with open(path, "wb") as passwords:
            passwords.write("bob:b\xfcilder\n".encode())
        self.world = World([makeChecker(f"file:{path}")])
        spelled = "\0bob\0b\xfcilder".encode()
        self.assertEqual(self.world.login("PLAIN", contextFor(), spelled)[0].local, "bob")
        self.refused("not-authorized", "PLAIN", [b"\0bob\0builder"])


class RealmTests(SynchronousTestCase):
    """From avatar id to avatar."""

    def test_noAccount(self) -> None:
        """A stock checker knows somebody who has no account here: nobody gets in."""
        world = World([makeChecker("memory:dave:pw")])
        error = self.assertRaises(LoginRefused, world.login, "PLAIN", contextFor(), b"\0dave\0pw")
        self.assertEqual(error.condition, "not-authorized")

    def test_noGuests(self) -> None:
        """Without a source of guests nobody is one, whatever a checker says."""
        realm = Realm(lambda local: succeed(Avatar(local)))
        error = self.failureResultOf(realm.requestAvatar((), None, IAccount), LoginRefused).value
        self.assertEqual(error.condition, "not-authorized")

    def test_preparedId(self) -> None:
        """An avatar id in another spelling leads to the same account."""
        realm = Realm(lambda local: succeed(Avatar(local)))
        _, avatar, logout = self.successResultOf(realm.requestAvatar(b"ALICE", None, IAccount))
        self.assertEqual(avatar.jid.full, "alice@example.com")
        logout()

    def test_otherInterface(self) -> None:
        """Nothing but IAccount is to be had."""
        self.assertRaises(NotImplementedError, Realm(succeed).requestAvatar, b"alice", None, IUsernamePassword)


class AuthorisationTests(WorldCase):
    """A01: whoever logs in is bound as itself, whatever it asks for."""

    OWN = ("alice@example.com", "Alice@EXAMPLE.com")
    FOREIGN = (
        "carol@example.com",
        "alice@other.example",
        "alice@example.com/phone",
        "example.com",
        "alice",
        "@example.com",
        "alice@",
        "a b@example.com",
        "alice@example.com.evil.example",
        " alice@example.com",
        "alice@example.com@example.com",
    )

    def exchanges(self, authzid: str) -> list[tuple[str, list[object]]]:
        """Return a right login with each mechanism that carries an authorisation identity."""
        return [
            ("PLAIN", [f"{authzid}\0alice\0secret".encode()]),
            ("EXTERNAL", [authzid.encode()]),
            *((name, scramMessages(name, "alice", "secret", authzid)[1]) for name in SCRAMS),
        ]

    def test_own(self) -> None:
        """The account's own bare JID, in any spelling, is as good as none."""
        for authzid in self.OWN:
            for name, messages in self.exchanges(authzid):
                self.assertEqual(self.world.login(name, contextFor(), *messages)[0].full, "alice@example.com")

    def test_foreign(self) -> None:
        """Another user, host, a resource, or no JID at all: invalid-authzid with every mechanism."""
        for authzid in self.FOREIGN:
            for name, messages in self.exchanges(authzid):
                self.refused("invalid-authzid", name, messages)

    def test_wrongPassword(self) -> None:
        """A wrong password is no way to find out whose identity may be assumed."""
        for name in SCRAMS:
            self.refused("not-authorized", name, scramMessages(name, "alice", "wrong", "alice@example.com")[1])

    def test_certificateChoice(self) -> None:
        """Several addresses demand a choice among them; addresses elsewhere do not count (XEP-0178)."""
        both = contextFor(ClientCertificate(("alice@example.com", "carol@example.com", "x@y.z"), b"", True))
        self.assertEqual(self.world.login("EXTERNAL", both, b"alice@example.com")[0].local, "alice")
        self.refused("account-disabled", "EXTERNAL", [b"carol@example.com"], both)
        self.refused("invalid-authzid", "EXTERNAL", [b""], both)
        self.refused("invalid-authzid", "EXTERNAL", [b"dave@example.com"], both)
        self.refused("invalid-authzid", "EXTERNAL", [b"x@y.z"], both)
        spelled = contextFor(ClientCertificate(("Alice@Example.COM", "alice@example.com", "x@y.z", "@"), b"", True))
        self.assertEqual(self.world.login("EXTERNAL", spelled, b"")[0].local, "alice")


class RefusalTests(WorldCase):
    """Each condition of RFC 6120 section 6.5 in its case (`aborted` is the stream's own)."""

    def test_notAuthorized(self) -> None:
        """A wrong password, an unknown user, a disabled account with a wrong password: all the same."""
        for user, password in (("alice", "wrong"), ("nobody", "secret"), ("carol", "wrong"), ("alice", "secret ")):
            self.refused("not-authorized", "PLAIN", [f"\0{user}\0{password}".encode()])
            for name in SCRAMS:
                self.refused("not-authorized", name, scramMessages(name, user, password)[1])

    def test_accountDisabled(self) -> None:
        """Who proves to be the owner hears that the account is disabled."""
        self.refused("account-disabled", "PLAIN", [b"\0carol\0secret"])
        for name in SCRAMS:
            self.refused("account-disabled", name, scramMessages(name, "carol", "secret")[1])
        carol = contextFor(ClientCertificate(("carol@example.com",), b"", True))
        self.refused("account-disabled", "EXTERNAL", [b""], carol)

    def test_malformedRequest(self) -> None:
        """Messages that break the mechanism's grammar, or are too long to be meant (A08)."""
        for message in (
            b"",
            b"alice\0secret",
            b"\0alice\0secret\0",
            b"\0\0secret",
            b"\0alice\0",
            b"\0al\xff\0secret",
            b"\0alice\0secr\xffet",
            b"\xff\0alice\0secret",
            b"\0alice\0" + b"p" * 1024,
            b"\0" + b"u" * 1024 + b"\0secret",
            b"\0alice\0" + b"p" * 1_000_000,
            b"\0" + b"u" * 1_000_000 + b"\0secret",
        ):
            self.refused("malformed-request", "PLAIN", [message])
        self.refused("malformed-request", "ANONYMOUS", [b"t" * 256])
        self.refused("malformed-request", "ANONYMOUS", [b"\0"])
        self.refused("malformed-request", "ANONYMOUS", [b"\xff"])
        self.refused("malformed-request", "EXTERNAL", [b"\xff"])
        self.refused("malformed-request", "EXTERNAL", [b"alice\0@example.com"])

    def test_longFieldsAreFine(self) -> None:
        """RFC 4616 section 2: fields of 255 octets must be accepted."""
        self.world.store.add("u" * 255, "p" * 255)
        message = b"\0" + b"u" * 255 + b"\0" + b"p" * 255
        self.assertEqual(self.world.login("PLAIN", contextFor(), message)[0].local, "u" * 255)

    def test_invalidMechanism(self) -> None:
        """No mechanism but ours exists (A02)."""
        for name in FOREIGN:
            self.refused("invalid-mechanism", name, [b"\0alice\0secret"])
        self.refused("invalid-mechanism", "SCRAM-SHA-1-PLUS", [b""], SASLContext(HOST, tls=True))

    def test_encryptionRequired(self) -> None:
        """PLAIN and EXTERNAL need TLS, even if a caller forgot to look in the list."""
        clear = SASLContext(HOST, clientCertificate=CERTIFICATE)
        for name in ("PLAIN", "EXTERNAL"):
            self.refused("encryption-required", name, [b"\0alice\0secret"], clear)

    def test_untrustedCertificate(self) -> None:
        """A certificate that nobody vouches for is worth nothing; nor is one of another host, or none."""
        self.refused("not-authorized", "EXTERNAL", [b""], contextFor(ClientCertificate(("alice@example.com",))))
        self.refused("not-authorized", "EXTERNAL", [b""], contextFor(ClientCertificate((), b"", True)))
        elsewhere = contextFor(ClientCertificate(("alice@other.example",), b"", True))
        self.refused("not-authorized", "EXTERNAL", [b""], elsewhere)
        self.refused("invalid-mechanism", "EXTERNAL", [b""], contextFor(None))
        nobody = contextFor(ClientCertificate(("nobody@example.com",), b"", True))
        self.refused("not-authorized", "EXTERNAL", [b""], nobody)

    def test_temporaryFailure(self) -> None:
        """A store that is down is our trouble and said to be temporary."""
        self.world.store.error = OSError("disk gone")
        self.refused("temporary-auth-failure", "PLAIN", [b"\0alice\0secret"])
        self.refused("temporary-auth-failure", "SCRAM-SHA-1", scramMessages("SCRAM-SHA-1", "alice", "secret")[1])
        self.refused("temporary-auth-failure", "EXTERNAL", [b""])

    def test_translation(self) -> None:
        """What a checker raises becomes a condition; strangers' exceptions never leak."""
        self.assertEqual(failureFor(LoginRefused("credentials-expired")).condition, "credentials-expired")
        self.assertEqual(failureFor(UnauthorizedLogin("secret detail")).condition, "not-authorized")
        self.assertEqual(failureFor(SASLFailure("aborted")).condition, "aborted")
        self.assertEqual(failureFor(ZeroDivisionError()).condition, "temporary-auth-failure")


class OfferTests(WorldCase):
    """Offered = policy ∩ state of TLS ∩ what the portal can check."""

    def test_tls(self) -> None:
        """On an encrypted stream: all but ANONYMOUS, strongest first, EXTERNAL only with a certificate."""
        families = ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1"]
        expected = [f"{name}-PLUS" for name in families] + families + ["PLAIN"]
        self.assertEqual(offered(self.world.portal, True, BINDINGS), expected)
        self.assertEqual(offered(self.world.portal, True, BINDINGS, certificate=CERTIFICATE), ["EXTERNAL", *expected])

    def test_clear(self) -> None:
        """On a clear stream: plain SCRAM only."""
        names = ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "ANONYMOUS"]
        self.assertEqual(offered(self.world.portal, False, {}, MECHANISMS), names)

    def test_policy(self) -> None:
        """What the configuration does not permit is not offered."""
        self.assertEqual(offered(self.world.portal, True, BINDINGS, {"PLAIN", "ANONYMOUS"}), ["PLAIN", "ANONYMOUS"])

    def test_allowed(self) -> None:
        """What a host allows at all does not depend on a connection."""
        self.assertEqual(allowed(self.world.portal), DEFAULT_POLICY)
        self.assertEqual(allowed(portalFor(self.world.realm, []), MECHANISMS), frozenset())

    def test_refusal(self) -> None:
        """Asking for what was not offered is told why (6.5.4, 6.5.7, 6.5.9)."""
        portal = self.world.portal
        self.assertEqual(refusal("PLAIN", portal, False).condition, "encryption-required")
        self.assertEqual(refusal("SCRAM-SHA-1-PLUS", portal, True).condition, "invalid-mechanism")
        strict = DEFAULT_POLICY - {"SCRAM-SHA-1"}
        self.assertEqual(refusal("SCRAM-SHA-1", portal, True, strict).condition, "mechanism-too-weak")
        self.assertEqual(refusal("EXTERNAL", portal, True).condition, "invalid-mechanism")
        for name in ("", *FOREIGN):
            self.assertEqual(refusal(name, portal, True).condition, "invalid-mechanism")
        self.assertEqual(refusal("ANONYMOUS", portal, True).condition, "invalid-mechanism")
        unchecked = portalFor(self.world.realm, [])
        self.assertEqual(refusal("ANONYMOUS", unchecked, True).condition, "invalid-mechanism")
