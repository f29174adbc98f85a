"""In-band registration (XEP-0077)."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.modules.administered import administered
from tests.modules.asking import ask, condition, payload, refused
from xmppservice.auth.secrets import StoredSecrets
from xmppservice.modules.register import Quota
from xmppservice.protocol.jid import JID
from xmppservice.protocol.payloads.forms import Form
from xmppservice.protocol.sasl.credentials import deriveKeys
from xmppservice.testing import MemoryClient, MemoryServer, MemoryStream
from xmppservice.wire import ns
from xmppservice.wire.element import Element
from xmppservice.wire.limits import AUTHENTICATED
from xmppservice.wire.parser import parseDocument

GET = f"<query xmlns='{ns.REGISTER}'/>"
REMOVE = f"<query xmlns='{ns.REGISTER}'><remove/></query>"
GOOD = "correct horse"


def fields(username: str | None = "bill", password: str | None = GOOD, more: str = "") -> str:
    """A query with fields filled in."""
    name = "" if username is None else f"<username>{username}</username>"
    word = "" if password is None else f"<password>{password}</password>"
    return f"<query xmlns='{ns.REGISTER}'>{name}{word}{more}</query>"


def form(username: str = "bill", password: str = GOOD, kind: str = "submit") -> str:
    """A query with the form filled in."""
    return (
        f"<query xmlns='{ns.REGISTER}'><x xmlns='jabber:x:data' type='{kind}'>"
        f"<field var='FORM_TYPE' type='hidden'><value>{ns.REGISTER}</value></field>"
        f"<field var='username'><value>{username}</value></field>"
        f"<field var='password'><value>{password}</value></field></x></query>"
    )


class RegisterTestCase(SynchronousTestCase):
    """A server, and streams that nobody has logged in on."""

    def start(self, **options: object) -> MemoryServer:
        """Make the server with these options of the module."""
        self.server = administered(
            MemoryServer(
                modules=("register", "disco", "vcard", "last_activity"), domains=("localhost", "b.test"),
                options={"register": options},
            )
        )
        return self.server

    def stranger(self, query: str, type: str = "set", stream: MemoryStream | None = None) -> Element:
        """Ask before authentication."""
        iq = parseDocument(f"<iq xmlns='jabber:client' type='{type}' id='r'>{query}</iq>".encode(), AUTHENTICATED)
        answer: Deferred[Element] = self.server.host.preAuth(iq, stream or MemoryStream())
        return self.successResultOf(answer)

    def refusal(self, query: str, type: str = "set", stream: MemoryStream | None = None) -> str:
        """Ask before authentication, for the condition of the error."""
        return condition(self.stranger(query, type, stream))

    def passwordIs(self, local: str, password: str) -> bool:
        """Whether an account exists and has this password."""
        record = self.successResultOf(self.server.database.accounts.secrets(self.server.host.id, local))
        if record is None:
            return False
        entry = StoredSecrets.decode(record.secrets).hashes["SCRAM-SHA-256"]
        keys = deriveKeys("SCRAM-SHA-256", password.encode(), entry.salt, entry.iterations)
        return keys.storedKey == entry.keys.storedKey


class ClosedTests(RegisterTestCase):
    """Registration as it comes: closed."""

    def test_closedByDefault(self) -> None:
        """Nobody makes an account unless the administrator opened registration; nothing is offered."""
        self.start()
        stream = MemoryStream()
        self.assertEqual(self.server.host.streamFeatures("auth", stream), [])
        self.assertEqual(self.refusal(GET, "get"), "service-unavailable")
        self.assertEqual(self.refusal(fields()), "not-allowed")
        self.assertFalse(self.passwordIs("bill", GOOD))

    def test_redirection(self) -> None:
        """A closed host can point to a web page (section 5)."""
        self.start(url="https://example.com/join")
        query = self.stranger(GET, "get").elements()[0]
        self.assertEqual([each.name for each in query], ["instructions", "x"])
        page = query.elements()[1].find(ns.OOB, "url")
        assert page is not None
        self.assertEqual(page.text, "https://example.com/join")
        self.assertEqual(self.refusal(fields()), "not-allowed")


class OpenTests(RegisterTestCase):
    """Registration opened by the administrator (section 3.1)."""

    def test_fields(self) -> None:
        """The required fields are told, as fields and as a form (sections 3.1 and 6)."""
        self.start(open=True)
        query = self.stranger(GET, "get").elements()[0]
        self.assertEqual([each.name for each in query], ["instructions", "username", "password", "x"])
        asked = Form.parse(query.elements()[3])
        self.assertEqual((asked.formType, [each.var for each in asked.fields]), (ns.REGISTER, ["username", "password"]))

    def test_feature(self) -> None:
        """The stream feature is offered before authentication (section 8)."""
        self.start(open=True)
        [feature] = self.server.host.streamFeatures("auth", MemoryStream())
        self.assertEqual((feature.ns, feature.name), ("http://jabber.org/features/iq-register", "register"))
        self.assertEqual(self.server.host.streamFeatures("bind", MemoryStream()), [])

    def test_register(self) -> None:
        """Fields or form: the account is there when the result comes, with the password."""
        self.start(open=True)
        for name, query in (("bill", fields()), ("eve", form("Eve"))):
            answer = self.stranger(query)
            self.assertEqual((answer.get("type"), answer.get("id"), answer.children), ("result", "r", []))
            self.assertTrue(self.passwordIs(name, GOOD))
        account = self.successResultOf(self.server.host.account("bill"))
        assert account is not None
        self.assertEqual(account.role, "user")

    def test_conflict(self) -> None:
        """A name that is taken stays with who has it, however it is written (example 6)."""
        self.start(open=True)
        self.stranger(fields("bill"))
        for name in ("bill", "BILL", "\uff42ill"):
            self.assertEqual(self.refusal(fields(name, "another password")), "conflict")
        self.assertTrue(self.passwordIs("bill", GOOD))

    def test_race(self) -> None:
        """Of two who want a name at the same time one gets it."""
        self.start(open=True)
        host = self.server.host
        create = host.administration.createAccount

        def beaten(jid: JID, password: str, role: str) -> Deferred[None]:
            return create(jid, "somebody else's", role).addCallback(lambda _: create(jid, password, role))

        host.administration.createAccount = beaten  # type: ignore[method-assign]
        self.assertEqual(self.refusal(fields()), "conflict")
        self.assertTrue(self.passwordIs("bill", "somebody else's"))

    def test_notAcceptable(self) -> None:
        """What is missing, empty, too short, too long or not a name is not acceptable (example 7)."""
        self.start(open=True, attempts=0)
        wrong = [
            fields(None), fields(password=None), fields(""), fields(password=""), fields(password="short"),
            fields(password="x" * 1024), fields("a b"), fields("a@b"), fields("x" * 1024), fields("admin"),
            fields("Administrator"), form(""), form(password=""), GET,
        ]  # fmt: skip
        for query in wrong:
            self.assertEqual(self.refusal(query), "not-acceptable", query)
        self.assertEqual(self.refusal(fields(password="xxxxxxxx\x85")), "not-acceptable")

    def test_badRequests(self) -> None:
        """Form and fields together, a field twice, a form that is not filled in."""
        self.start(open=True, attempts=0)
        both = form().replace("</query>", "<username>x</username></query>")
        twice = fields(more="<username>other</username>")
        foreign = fields(more="<a xmlns='urn:x'/>")
        for query in (both, twice, foreign, form(kind="cancel"), form(kind="nonsense")):
            self.assertEqual(self.refusal(query), "bad-request", query)
        self.assertEqual(self.refusal(f"<other xmlns='{ns.REGISTER}'/>"), "service-unavailable")

    def test_removeWithoutLogin(self) -> None:
        """Nobody removes an account without being logged in (section 3.2, table)."""
        self.start(open=True)
        self.assertEqual(self.refusal(REMOVE), "unexpected-request")

    def test_needsTLS(self) -> None:
        """Without TLS there is no registration, and no offer of it (section 11)."""
        self.start(open=True)
        plain = MemoryStream(secure=False)
        self.assertEqual(self.server.host.streamFeatures("auth", plain), [])
        self.assertEqual(self.refusal(GET, "get", plain), "service-unavailable")
        self.assertEqual(self.refusal(fields(), "set", plain), "not-authorized")

    def test_withoutTLS(self) -> None:
        """On a trusted test network the administrator may allow it."""
        self.start(open=True, secure_only=False)
        plain = MemoryStream(secure=False)
        self.assertEqual(len(self.server.host.streamFeatures("auth", plain)), 1)
        self.assertEqual(self.stranger(fields(), "set", plain).get("type"), "result")

    def test_rateLimit(self) -> None:
        """One network address has a few tries in a period, whatever becomes of them (A09)."""
        self.start(open=True, attempts=3)
        self.stranger(fields("one"))
        self.assertEqual(self.refusal(fields("one")), "conflict")
        self.assertEqual(self.refusal(fields("")), "not-acceptable")
        self.assertEqual(self.refusal(fields("two")), "resource-constraint")
        self.assertFalse(self.passwordIs("two", GOOD))
        other = MemoryStream(peer="192.0.2.7")
        self.assertEqual(self.stranger(fields("two"), "set", other).get("type"), "result")
        self.server.advance(3600)
        self.assertEqual(self.stranger(fields("three")).get("type"), "result")

    def test_rateLimitOfNetworks(self) -> None:
        """An IPv6 address counts as its network: a stranger has all of it."""
        self.start(open=True, attempts=1)
        self.stranger(fields("one"), "set", MemoryStream(peer="2001:db8::1"))
        self.assertEqual(self.refusal(fields("two"), "set", MemoryStream(peer="2001:db8::2")), "resource-constraint")
        self.assertEqual(
            self.stranger(fields("two"), "set", MemoryStream(peer="2001:db8:0:1::1")).get("type"), "result"
        )

    def test_authenticatedUsersMakeNoAccounts(self) -> None:
        """Who is logged in, here or elsewhere, makes no further accounts (section 3.1.1)."""
        self.start(open=True)
        for client in (self.server.client("alice/1"), self.server.client("alice@b.test/1")):
            self.assertEqual(refused(client, fields("more"), "set", "localhost"), "not-allowed")
        self.assertFalse(self.passwordIs("more", GOOD))


class PasswordTests(RegisterTestCase):
    """Users change their password (section 3.3)."""

    def setUp(self) -> None:
        """Alice has an account with a password."""
        self.start()
        self.alice = self.account()

    def account(self) -> MemoryClient:
        """Make Alice's account and log in."""
        jid = JID.parse("alice@localhost")
        self.successResultOf(self.server.host.administration.createAccount(jid, "old password", "user"))
        return self.server.client("alice/phone", available=True)

    def test_onFile(self) -> None:
        """Users are told that they are registered, without their password (example 3)."""
        for to in ("localhost", None):
            query = payload(self.alice, GET, to=to)
            self.assertEqual([each.name for each in query], ["registered", "instructions", "username", "password"])
            self.assertEqual([each.text for each in query][2:], ["alice", ""])

    def test_change(self) -> None:
        """The password is another one when the result comes, by fields or form, name or address."""
        for query in (fields("alice"), fields("ALICE@localhost", "second one"), form("alice", "third one")):
            answer = ask(self.alice, query, "set", "localhost")
            self.assertEqual((answer.get("type"), answer.children), ("result", []))
        self.assertTrue(self.passwordIs("alice", "third one"))
        self.assertFalse(self.passwordIs("alice", "old password"))

    def test_sessions(self) -> None:
        """The session that asked goes on; the others must log in with the new password."""
        other = self.server.client("alice/desk")
        ask(self.alice, fields("alice"), "set", "localhost")
        assert other.stream.error is not None
        self.assertEqual(other.stream.error.condition, "reset")
        self.assertFalse(self.alice.stream.closed)
        self.assertEqual(payload(self.alice, GET).elements()[0].name, "registered")
        self.assertIs(self.server.account("alice"), self.alice.session.account)

    def test_othersPassword(self) -> None:
        """Nobody changes the password of somebody else, by whatever name or address (A09)."""
        mallory = self.server.client("mallory/pc")
        for name in ("alice", "alice@localhost", "mallory@b.test", "alice@b.test", "@", "a b", "x@"):
            self.assertEqual(refused(mallory, fields(name), "set", "localhost"), "not-allowed", name)
        self.assertEqual(refused(mallory, fields("alice"), "set", "alice@localhost"), "service-unavailable")
        self.assertEqual(refused(mallory, REMOVE, "set", "alice@localhost"), "service-unavailable")
        self.assertTrue(self.passwordIs("alice", "old password"))

    def test_sameNameElsewhere(self) -> None:
        """An account of the same name on another host of this server is somebody else."""
        namesake = self.server.client("alice@b.test/pc")
        self.assertEqual(refused(namesake, GET, to="localhost"), "service-unavailable")
        self.assertEqual(refused(namesake, fields("alice"), "set", "localhost"), "not-allowed")
        self.assertEqual(refused(namesake, REMOVE, "set", "localhost"), "registration-required")
        self.assertTrue(self.passwordIs("alice", "old password"))

    def test_incomplete(self) -> None:
        """Name and password are both needed (section 3.3, table)."""
        for query in (GET, fields(None), fields("alice", None), fields("")):
            self.assertEqual(refused(self.alice, query, "set", "localhost"), "bad-request", query)

    def test_emptyPassword(self) -> None:
        """No password becomes empty (section 3.3), or too short."""
        for word in ("", "short"):
            self.assertEqual(refused(self.alice, fields("alice", word), "set", "localhost"), "not-acceptable")
        self.assertEqual(refused(self.alice, fields("alice", "12345678\x85"), "set", "localhost"), "not-acceptable")
        self.assertTrue(self.passwordIs("alice", "old password"))

    def test_needsTLS(self) -> None:
        """A stream without TLS is not safe enough (section 3.3, table)."""
        self.alice.stream.secure = False
        self.assertEqual(refused(self.alice, fields("alice"), "set", "localhost"), "not-authorized")
        self.assertEqual(refused(self.alice, REMOVE, "set", "localhost"), "not-authorized")

    def test_rateLimit(self) -> None:
        """Changes cost CPU, so an account has a number of them."""
        for _ in range(10):
            ask(self.alice, fields("alice"), "set", "localhost")
        self.assertEqual(refused(self.alice, fields("alice"), "set", "localhost"), "resource-constraint")
        self.server.advance(3600)
        self.assertEqual(ask(self.alice, fields("alice"), "set", "localhost").get("type"), "result")

    def test_notAllowed(self) -> None:
        """The administrator may forbid both."""
        self.start(password_change=False, removal=False)
        alice = self.account()
        self.assertEqual(refused(alice, fields("alice"), "set", "localhost"), "not-allowed")
        self.assertEqual(refused(alice, REMOVE, "set", "localhost"), "not-allowed")

    def test_feature(self) -> None:
        """disco#info tells that passwords can be changed (section 10)."""
        info = payload(self.alice, f"<query xmlns='{ns.DISCO_INFO}'/>", to="localhost")
        self.assertIn(ns.REGISTER, [each.get("var") for each in info])


class RemovalTests(RegisterTestCase):
    """Users remove their account (section 3.2)."""

    def setUp(self) -> None:
        """Alice has an account, a friend and a vCard."""
        self.start()
        self.server.befriend("alice", "bob")
        self.alice = self.server.client("alice/phone", available=True)
        ask(self.alice, "<vCard xmlns='vcard-temp'><FN>A</FN></vCard>", "set")

    def test_remove(self) -> None:
        """The result comes, then the stream error; account and data are gone."""
        for to in ("localhost", None):
            self.setUp()
            id = self.alice.session.account.id
            answer = ask(self.alice, REMOVE, "set", to)
            self.assertEqual((answer.get("type"), answer.get("id")), ("result", "ask"))
            assert self.alice.stream.error is not None
            self.assertEqual(self.alice.stream.error.condition, "not-authorized")
            self.assertIsNone(self.successResultOf(self.server.host.account("alice")))
            for read in ("vcard.get", "last_activity.get"):
                self.assertEqual(self.successResultOf(self.server.database.store.read(read, (id,))), [])

    def test_sessions(self) -> None:
        """All sessions of the account end."""
        other = self.server.client("alice/desk")
        ask(self.alice, REMOVE, "set")
        assert other.stream.error is not None
        self.assertEqual(other.stream.error.condition, "not-authorized")
        self.assertEqual(self.server.host.sessions(), [])

    def test_contacts(self) -> None:
        """Contacts learn that the subscriptions are over."""
        bob = self.server.client("bob/desk", available=True)
        ask(self.alice, REMOVE, "set")
        told = {each.get("type") for each in bob.take() if each.name == "presence"}
        self.assertEqual(told, {"unavailable", "unsubscribe", "unsubscribed"})

    def test_notAlone(self) -> None:
        """Nothing goes with the request (section 3.2, table), and then nothing is removed."""
        for more in ("<username>alice</username>", "<x xmlns='jabber:x:data' type='submit'/>", "<remove/>"):
            query = REMOVE.replace("</query>", more + "</query>")
            self.assertEqual(refused(self.alice, query, "set", "localhost"), "bad-request")
        self.assertIsNotNone(self.successResultOf(self.server.host.account("alice")))

    def test_failingStorage(self) -> None:
        """If the account cannot be deleted the client is not told that it was."""
        memory = self.server.database._memory
        assert memory is not None
        memory.raw.execute("DROP TABLE vcards")
        self.alice.send(f"<iq type='set' id='x'>{REMOVE}</iq>")
        self.assertEqual([each for each in self.alice.take() if each.name == "iq"], [])
        assert self.alice.stream.error is not None
        self.assertEqual(self.alice.stream.error.condition, "internal-server-error")
        self.assertIsNotNone(self.successResultOf(self.server.host.account("alice")))
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_unknownToAdministration(self) -> None:
        """A refusal before anything happened leaves the session as it was."""
        self.server.host.administration._settings.hosts.clear()  # type: ignore[attr-defined]
        self.assertEqual(refused(self.alice, REMOVE, "set"), "internal-server-error")
        self.assertEqual(self.alice.stream.paused, 0)
        self.assertEqual(payload(self.alice, GET).elements()[0].name, "registered")
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_tooSlow(self) -> None:
        """If nothing comes of it in time the session is not left without its stream."""
        never: Deferred[None] = Deferred()
        self.server.host.administration.deleteAccount = lambda jid: never  # type: ignore[method-assign]
        self.alice.send(f"<iq type='set' id='x'>{REMOVE}</iq>")
        self.assertEqual((self.alice.take(), self.alice.stream.paused), ([], 1))
        self.server.advance(11)
        self.assertEqual([condition(each) for each in self.alice.take()], ["internal-server-error"])
        self.assertEqual(self.alice.stream.paused, 0)
        self.assertEqual(payload(self.alice, GET).elements()[0].name, "registered")
        self.assertEqual(len(self.flushLoggedErrors()), 1)


class QuotaTests(SynchronousTestCase):
    """The rate limit."""

    def test_window(self) -> None:
        """Tries count for a period from their own time on."""
        quota = Quota(2, 10)
        times = {0: True, 5: True, 9: False, 10: True, 11: False, 15: True}
        self.assertEqual({now: quota.take("a", now) for now in times}, times)

    def test_keys(self) -> None:
        """Each key has its own."""
        quota = Quota(1, 10)
        self.assertEqual([quota.take(key, 0) for key in ("a", "b", "a")], [True, True, False])

    def test_unlimited(self) -> None:
        """A count of 0 allows everything and keeps nothing."""
        quota = Quota(0, 10)
        self.assertTrue(all(quota.take("a", 0) for _ in range(100)))
        self.assertEqual(len(quota._tries), 0)

    def test_bounded(self) -> None:
        """Strangers cannot make us remember without end."""
        quota = Quota(1, 10)
        for number in range(10_050):
            quota.take(str(number), 0)
        self.assertEqual(len(quota._tries), 10_000)
        self.assertFalse(quota.take("10049", 1))
