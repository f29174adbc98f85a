"""The loader: finding, order, options, attaching all or none, detaching, reloading (architecture section 5)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import Interface
from zope.interface.verify import verifyObject

from xmppservice.hub.loader import Loader, ModuleError, ordered
from xmppservice.hub.module import HostModule, IModuleMaker, ModuleMaker
from xmppservice.plugins import standard
from xmppservice.testing import MemoryServer

MAKERS = [maker for maker in vars(standard).values() if isinstance(maker, ModuleMaker)]

SOURCE = '''
"""A module of a third party."""
from xmppservice.hub.hooks import HOST, iq
from xmppservice.hub.module import HostModule

class Example(HostModule):
    """Answers."""
    name = "{name}"
    events = []

    def attached(self):
        """Note it."""
        self.events.append("attached")
        self.addCleanUp(lambda: self.events.append("cleaned"))
        {attached}

    def detached(self):
        """Note it."""
        self.events.append("detached")

    @iq.get("urn:example:loader", "version", to=HOST)
    def onVersion(self, transit):
        """Say which one."""
        return transit.result(type(transit.stanza)("urn:example:loader", "version", dict(number="{number}")))
'''


class IThing(Interface):
    """Something that a module provides."""


class Plain(HostModule):
    """A module with a name that the test gives."""

    name = "plain"


MODULE = Plain


def named(name: str, after: tuple[str, ...] = (), before: tuple[str, ...] = ()) -> HostModule:
    """A module with that name and order."""
    kind = type(name, (HostModule,), {"name": name, "after": after, "before": before})
    return kind(None, None)  # type: ignore[no-any-return]


class OrderTests(SynchronousTestCase):
    """`ordered`."""

    def names(self, *modules: HostModule) -> list[str]:
        """The names, in order."""
        return [module.name for module in ordered(modules)]

    def test_asGiven(self) -> None:
        """Without wishes the order stays."""
        self.assertEqual(self.names(named("b"), named("a"), named("c")), ["b", "a", "c"])

    def test_after(self) -> None:
        """After, and before, hold."""
        self.assertEqual(self.names(named("a", after=("b",)), named("b"), named("c")), ["b", "a", "c"])
        self.assertEqual(self.names(named("a"), named("b", before=("a",))), ["b", "a"])

    def test_absent(self) -> None:
        """Wishes about modules that are not there do not matter."""
        self.assertEqual(self.names(named("a", after=("x",), before=("y",))), ["a"])

    def test_circle(self) -> None:
        """A circle is an error that names its members."""
        circle = [named("a", after=("b",)), named("b", after=("a",)), named("c")]
        error = self.assertRaises(ModuleError, ordered, circle)
        self.assertIn("a, b", str(error))


class FindingTests(SynchronousTestCase):
    """Names, defaults, hints."""

    def setUp(self) -> None:
        """A loader with the modules of this distribution."""
        self.loader = Loader(MAKERS)

    def test_makers(self) -> None:
        """Every line of the standard plugins can be imported, and says the module's own name."""
        for maker in MAKERS:
            verifyObject(IModuleMaker, maker)
            self.assertEqual(self.loader.moduleClass(maker.name).name, maker.name)
            self.assertTrue(maker.summary)

    def test_chatIsDefault(self) -> None:
        """What chat needs is there unless somebody disables it."""
        wanted = {"roster", "offline", "blocking", "stanza_ids", "stream_management"}
        self.assertLessEqual(wanted, set(self.loader.enabled((), ())))
        self.assertNotIn("roster", self.loader.enabled((), ("roster",)))

    def test_enabled(self) -> None:
        """Enabled ones come behind the defaults, once."""
        loader = Loader([ModuleMaker("a", "x", "", default=True), ModuleMaker("b", "x", "")])
        self.assertEqual(loader.enabled(("b", "a"), ()), ["a", "b"])

    def test_unknown(self) -> None:
        """A name that nobody knows is an error with a hint."""
        for action in (lambda: self.loader.maker("rooster"), lambda: self.loader.enabled((), ("rooster",))):
            self.assertIn("did you mean 'roster'", str(self.assertRaises(ModuleError, action)))

    def test_ambiguous(self) -> None:
        """Two plugins cannot have one name, unless they are the same."""
        same = ModuleMaker("a", "x", "")
        Loader([same, same])
        error = self.assertRaises(ModuleError, Loader, [same, ModuleMaker("a", "y", "")])
        self.assertIn("x and y", str(error))

    def test_notImportable(self) -> None:
        """Enabled but not importable is loud."""
        error = self.assertRaises(ModuleError, self.loader.moduleClass, "no.such.module")
        self.assertIn("no.such.module", str(error))

    def test_noModule(self) -> None:
        """A file without a module, or with several, is told so."""
        error = self.assertRaises(ModuleError, self.loader.moduleClass, "tests.hub.kit")
        self.assertIn("one subclass of HostModule", str(error))

    def test_namedModule(self) -> None:
        """MODULE says which of several it is."""
        self.assertIs(self.loader.moduleClass(__name__), Plain)

    def test_options(self) -> None:
        """Options are read by the module's own declaration, and a wrong key is named."""
        server = MemoryServer(("offline",), {"offline": {"limit": 5}})
        self.assertEqual(server.module("offline").options.limit, 5)
        error = self.assertRaises(ModuleError, MemoryServer, ("offline",), {"offline": {"limt": 5}})
        self.assertIn("did you mean 'limit'", str(error))


class AttachingTests(SynchronousTestCase):
    """Modules come and go on a running host."""

    #: Counts the names of modules made, so that each test imports its own.
    made: ClassVar[int] = 0

    def setUp(self) -> None:
        """A host and a folder on the path."""
        self.server = MemoryServer()
        self.host, self.loader = self.server.host, self.server.loader
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        sys.path.insert(0, str(self.folder))
        self.addCleanup(sys.path.remove, str(self.folder))
        self.patch(sys, "dont_write_bytecode", True)
        AttachingTests.made += 1
        self.path = f"xmppexample{self.made}.module"
        (self.folder / f"xmppexample{self.made}").mkdir()
        (self.folder / f"xmppexample{self.made}" / "__init__.py").write_text("")
        self.addCleanup(lambda: [sys.modules.pop(name) for name in list(sys.modules) if name.startswith("xmppexample")])
        self.changes: list[tuple[str, bool]] = []
        self.loader.onChange(lambda host, module, there: self.changes.append((module.name, there)))

    def write(self, number: int = 1, name: str = "example", attached: str = "pass") -> None:
        """Write the module's file."""
        text = SOURCE.format(number=number, name=name, attached=attached)
        (self.folder / f"xmppexample{self.made}" / "module.py").write_text(text)

    def version(self) -> str | None:
        """What the module answers, None if it is not there."""
        client = self.server.client("alice/phone")
        answer = client.query("<iq type='get' id='1' to='localhost'><version xmlns='urn:example:loader'/></iq>")
        return answer.elements()[0].get("number")

    def test_attachAndDetach(self) -> None:
        """What was registered goes with the module."""
        self.write()
        self.loader.attach(self.host, (self.path,))
        self.assertEqual(self.version(), "1")
        module = self.loader.detach(self.host, "example")
        self.assertIsNone(self.version())
        self.assertEqual(module.events, ["attached", "detached", "cleaned"])  # type: ignore[attr-defined]
        self.assertEqual(self.changes, [("example", True), ("example", False)])
        self.assertNotIn("example", self.host.modules)

    def test_detachUnknown(self) -> None:
        """Only what is there can go, or be reloaded."""
        self.assertRaises(ModuleError, self.loader.detach, self.host, "example")
        self.assertRaises(ModuleError, self.loader.reload, self.host, "example")

    def test_reload(self) -> None:
        """New code takes over, and the old module's clean-ups have run."""
        self.write(1)
        self.loader.attach(self.host, (self.path,))
        old = self.host.modules["example"]
        self.write(2)
        self.loader.reload(self.host, "example")
        self.assertEqual(self.version(), "2")
        self.assertEqual(old.events[1:], ["detached", "cleaned"])  # type: ignore[attr-defined]

    def test_reloadBroken(self) -> None:
        """Code that cannot be used leaves the old module at work."""
        self.write(1)
        self.loader.attach(self.host, (self.path,))
        (self.folder / f"xmppexample{self.made}" / "module.py").write_text("this is no Python")
        self.assertRaises(ModuleError, self.loader.reload, self.host, "example")
        self.assertEqual(self.version(), "1")

    def test_reloadFailsToAttach(self) -> None:
        """So does code that fails while it is attached."""
        self.write(1)
        self.loader.attach(self.host, (self.path,))
        self.write(2, attached="raise ValueError('broken')")
        self.assertRaises(ModuleError, self.loader.reload, self.host, "example")
        self.assertEqual(self.version(), "1")

    def test_attachFails(self) -> None:
        """All or none: one that fails takes the others with it."""
        self.write(attached="raise ValueError('broken')")
        error = self.assertRaises(ModuleError, self.loader.attach, self.host, ("offline", self.path))
        self.assertIn("example", str(error))
        self.assertEqual(self.host.modules, {})
        self.assertIsNone(self.version())
        self.assertEqual([there for name, there in self.changes if name == "offline"], [True, False])
        self.assertNotIn(("example", True), self.changes)

    def test_requires(self) -> None:
        """A module whose need nobody meets cannot come, and who meets it cannot go alone."""
        for name, line in (("needy", "requires = (IThing,)"), ("giving", "provides = (IThing,)")):
            text = (
                "from tests.hub.test_loader import IThing\nfrom xmppservice.hub.module import HostModule\n"
                f"class Module(HostModule):\n    name = {name!r}\n    {line}\n"
            )
            (self.folder / f"xmppexample{self.made}" / f"{name}.py").write_text(text)
        package = f"xmppexample{self.made}"
        error = self.assertRaises(ModuleError, self.loader.attach, self.host, (f"{package}.needy",))
        self.assertIn("IThing", str(error))
        self.loader.attach(self.host, (f"{package}.needy", f"{package}.giving"))
        giving = self.host.modules["giving"]
        self.assertIs(self.host.provider(IThing), giving)
        self.assertEqual(self.host.providers(IThing), [giving])
        self.assertRaises(ModuleError, self.loader.detach, self.host, "giving")
        self.assertIn("giving", self.host.modules)

    def test_twice(self) -> None:
        """Attaching what is there changes nothing."""
        self.loader.attach(self.host, ("offline",))
        module = self.host.modules["offline"]
        self.loader.attach(self.host, ("offline",))
        self.assertIs(self.host.modules["offline"], module)

    def test_periodic(self) -> None:
        """What a module does every so often ends with it, and survives a mistake in it."""
        calls: list[float] = []
        module = Plain(self.host, None)
        module.every(10, lambda: calls.append(self.host.clock.seconds()))
        self.server.advance(10)
        self.server.advance(10)
        self.assertEqual(calls, [10, 20])
        module.cleanUp()
        self.server.advance(10)
        self.assertEqual(len(calls), 2)
        self.assertEqual(self.server.clock.getDelayedCalls(), [])

    def test_cleanUpOrder(self) -> None:
        """Clean-ups run backwards."""
        done: list[int] = []
        module = Plain(self.host, None)
        for number in range(3):
            module.addCleanUp(lambda number=number: done.append(number))  # type: ignore[misc]
        module.cleanUp()
        module.cleanUp()
        self.assertEqual(done, [2, 1, 0])

    def test_streamManagement(self) -> None:
        """A standard module hands back what it has set."""
        self.loader.attach(self.host, ("stream_management",))
        self.assertIsNotNone(self.host.resumption)
        self.loader.detach(self.host, "stream_management")
        self.assertIsNone(self.host.resumption)
