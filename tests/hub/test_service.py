"""The service tree: order, failure, draining and late children."""

from __future__ import annotations

from twisted.application.service import Application, IService, IServiceCollection, MultiService, Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from xmppservice.hub.service import ServiceTree, StartFailed


class Recorded(Service):
    """A service that writes down what happens to it and starts or stops when told."""

    def __init__(self, name: str, journal: list[str]) -> None:
        self.setName(name)
        self.journal = journal
        self.starting: Deferred[None] | None = None
        self.stopping: Deferred[None] | None = None

    def privilegedStartService(self) -> None:
        """Record."""
        self.journal.append(f"privileged {self.name}")

    def startService(self) -> Deferred[None] | None:
        """Record, and wait if there is something to wait for."""
        Service.startService(self)
        self.journal.append(f"start {self.name}")
        return self.starting

    def stopService(self) -> Deferred[None] | None:
        """Record, and wait if there is something to wait for."""
        Service.stopService(self)
        self.journal.append(f"stop {self.name}")
        return self.stopping


class ServiceTreeTests(SynchronousTestCase):
    """A tree with three children and a clock."""

    def setUp(self) -> None:
        """Make database, hosts and edges under one root."""
        self.journal: list[str] = []
        self.clock = Clock()
        self.tree = ServiceTree("server", self.clock, drain=8.0)
        self.database, self.hosts, self.edges = (Recorded(n, self.journal) for n in ("database", "hosts", "edges"))
        for service in (self.database, self.hosts, self.edges):
            service.setServiceParent(self.tree)

    def start(self) -> None:
        """Start the tree and forget that it did."""
        self.successResultOf(self.tree.startService())
        self.journal.clear()

    def test_interfaces(self) -> None:
        """It is what twistd and other people's code expect."""
        verifyObject(IService, self.tree)
        verifyObject(IServiceCollection, self.tree)

    def test_startsInOrder(self) -> None:
        """Children start one after another, each awaited."""
        self.hosts.starting = Deferred()
        started = self.tree.startService()
        self.assertNoResult(started)
        self.assertEqual(self.journal, ["start database", "start hosts"])
        self.hosts.starting.callback(None)
        self.successResultOf(started)
        self.assertEqual(self.journal[2:], ["start edges"])
        self.assertTrue(self.tree.running)

    def test_privileged(self) -> None:
        """Every child may bind before privileges are dropped, and none starts by that."""
        self.tree.privilegedStartService()
        self.assertEqual(self.journal, ["privileged database", "privileged hosts", "privileged edges"])

    def test_failureStopsWhatWasStarted(self) -> None:
        """A failed start undoes itself in reverse order and says who failed."""
        self.edges.starting = fail(OSError("port 5222 is in use"))
        failure = self.failureResultOf(self.tree.startService(), StartFailed)
        self.assertEqual(str(failure.value), "edges: port 5222 is in use")
        self.assertEqual(self.journal[3:], ["stop hosts", "stop database"])
        self.assertFalse(self.tree.running)
        self.successResultOf(self.tree.stopService())
        self.assertEqual(len(self.journal), 5)

    def test_failureOfRaisingChild(self) -> None:
        """A child that raises counts as one whose Deferred fails; children after it never start."""

        class Raising(Recorded):
            def startService(self) -> None:
                """Raise."""
                raise ValueError("no")

        Raising("raising", self.journal).setServiceParent(self.tree)
        Recorded("never", self.journal).setServiceParent(self.tree)
        self.failureResultOf(self.tree.startService(), StartFailed)
        self.assertNotIn("start never", self.journal)

    def test_nestedFailureNamesPath(self) -> None:
        """The failure of a grandchild is named by its path."""
        inner = ServiceTree("ports", self.clock)
        inner.setServiceParent(self.tree)
        room = Recorded("conference", self.journal)
        room.starting = fail(KeyError("kind"))
        room.setServiceParent(inner)
        failure = self.failureResultOf(self.tree.startService(), StartFailed)
        self.assertEqual(failure.value.service, "ports/conference")
        self.assertIsInstance(failure.value.reason, KeyError)

    def test_failureWaitsForTheUndoing(self) -> None:
        """The caller learns of the failure when the started services have stopped."""
        self.database.stopping = Deferred()
        self.hosts.starting = fail(OSError("x"))
        started = self.tree.startService()
        self.assertNoResult(started)
        self.database.stopping.callback(None)
        self.failureResultOf(started, StartFailed)

    def test_root(self) -> None:
        """The root hands its failure to a callable, as twistd's application ignores Deferreds."""
        failures: list[Failure] = []
        root = ServiceTree("root", self.clock, onFailedStart=failures.append)
        self.edges.starting = fail(OSError("x"))
        self.tree.setServiceParent(root)
        self.successResultOf(root.startService())
        self.assertEqual([str(f.value) for f in failures], ["server/edges: x"])
        self.assertFalse(root.running)

    def test_stopsInReverse(self) -> None:
        """Children stop bottom-up, each awaited."""
        self.start()
        self.hosts.stopping = Deferred()
        stopped = self.tree.stopService()
        self.assertEqual(self.journal, ["stop edges", "stop hosts"])
        self.assertNoResult(stopped)
        self.hosts.stopping.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(self.journal[2:], ["stop database"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_drainLimit(self) -> None:
        """A child that hangs is left behind after the limit, the others still get their stop."""
        self.start()
        self.edges.stopping = Deferred()
        stopped = self.tree.stopService()
        self.clock.advance(7.9)
        self.assertNoResult(stopped)
        self.clock.advance(0.2)
        self.successResultOf(stopped)
        self.assertEqual(self.journal, ["stop edges", "stop hosts", "stop database"])
        self.assertEqual(len(self.flushLoggedErrors(TimeoutError)), 1)
        self.edges.stopping.callback(None)

    def test_drainLimitIsForAll(self) -> None:
        """The limit is shared: two slow children do not take it twice."""
        self.start()
        self.edges.stopping, self.hosts.stopping = Deferred(), Deferred()
        stopped = self.tree.stopService()
        self.clock.advance(5)
        self.edges.stopping.callback(None)
        self.clock.advance(3.1)
        self.successResultOf(stopped)
        self.flushLoggedErrors(TimeoutError)

    def test_lateFailureIsLogged(self) -> None:
        """A child that fails after it was given up is logged and nothing else."""
        self.start()
        self.edges.stopping = Deferred()
        self.tree.stopService()
        self.clock.advance(9)
        self.flushLoggedErrors(TimeoutError)
        self.edges.stopping.errback(OSError("late"))
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_failedStop(self) -> None:
        """A child that cannot stop cleanly is logged; the rest stops."""
        self.start()
        self.hosts.stopping = fail(OSError("x"))
        self.successResultOf(self.tree.stopService())
        self.assertEqual(self.journal[-1], "stop database")
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_stopTwice(self) -> None:
        """A second stop waits for the first and stops nobody twice."""
        self.start()
        self.edges.stopping = Deferred()
        first, second = self.tree.stopService(), self.tree.stopService()
        self.assertNoResult(second)
        self.edges.stopping.callback(None)
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(self.journal.count("stop edges"), 1)

    def test_stopWhileStarting(self) -> None:
        """A stop during the start cancels what is under way and stops what was up."""
        self.hosts.starting = Deferred()
        started = self.tree.startService()
        self.successResultOf(self.tree.stopService())
        self.failureResultOf(started, StartFailed)
        self.assertEqual(self.journal, ["start database", "start hosts", "stop database"])

    def test_stopWhileStartIsUndone(self) -> None:
        """A stop during the start waits until the undoing is over."""
        self.hosts.starting = Deferred()
        self.database.stopping = Deferred()
        started = self.tree.startService()
        stopped = self.tree.stopService()
        self.assertNoResult(stopped)
        self.database.stopping.callback(None)
        self.successResultOf(stopped)
        self.failureResultOf(started, StartFailed)

    def test_names(self) -> None:
        """Children are found by name, descendants by path."""
        inner = ServiceTree("ports")
        inner.setServiceParent(self.tree)
        room = Recorded("conference", self.journal)
        room.setServiceParent(inner)
        self.assertEqual(self.tree.names, ("database", "hosts", "edges", "ports"))
        self.assertIs(self.tree["hosts"], self.hosts)
        self.assertIs(self.tree["ports/conference"], room)
        self.assertIs(self.tree.getServiceNamed("edges"), self.edges)
        self.assertEqual(list(self.tree), [self.database, self.hosts, self.edges, inner])
        self.assertRaises(KeyError, self.tree.getServiceNamed, "nobody")

    def test_sameName(self) -> None:
        """Two children of one name are refused."""
        self.assertRaises(RuntimeError, Recorded("hosts", self.journal).setServiceParent, self.tree)
        self.assertEqual(len(self.tree.services), 3)

    def test_attach(self) -> None:
        """A module attached at run time is started, and its start is awaited."""
        self.start()
        module = Recorded("module", self.journal)
        module.starting = Deferred()
        attached = self.tree.attach(module)
        self.assertNoResult(attached)
        module.starting.callback(None)
        self.successResultOf(attached)
        self.assertIs(module.parent, self.tree)
        self.assertEqual(self.journal, ["privileged module", "start module"])

    def test_attachFails(self) -> None:
        """A module that does not start is no child."""
        self.start()
        module = Recorded("module", self.journal)
        module.starting = fail(OSError("x"))
        self.failureResultOf(self.tree.attach(module), OSError)
        self.assertIsNone(module.parent)
        self.assertNotIn("module", self.tree.names)

    def test_addToRunning(self) -> None:
        """The plain Twisted way of adding works at run time too, a failure being logged."""
        self.start()
        late = Recorded("late", self.journal)
        late.starting = fail(OSError("x"))
        late.setServiceParent(self.tree)
        self.assertIn("start late", self.journal)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_addWhileStarting(self) -> None:
        """A child that comes during the start is started in its turn, once."""
        self.hosts.starting = Deferred()
        started = self.tree.startService()
        Recorded("late", self.journal).setServiceParent(self.tree)
        self.assertNotIn("start late", self.journal)
        self.hosts.starting.callback(None)
        self.successResultOf(started)
        self.assertEqual(self.journal.count("start late"), 1)

    def test_remove(self) -> None:
        """A child taken out of a running tree is stopped."""
        self.start()
        self.successResultOf(self.hosts.disownServiceParent())
        self.assertEqual(self.journal, ["stop hosts"])
        self.assertEqual(self.tree.names, ("database", "edges"))

    def test_insideTwisted(self) -> None:
        """A tree lives in an application beside a MultiService, and takes stock services as children."""
        application = Application("x")
        self.tree.setServiceParent(IServiceCollection(application))
        stock = MultiService()
        stock.setServiceParent(self.tree)
        IService(application).startService()
        self.assertTrue(stock.running)
        self.successResultOf(IService(application).stopService())
        self.assertFalse(stock.running)
