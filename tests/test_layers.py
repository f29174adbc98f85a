"""The rules of the house, over the syntax trees of every file; see docs/architecture.rst.

Each rule is also run on a broken sample, because a rule that cannot fail tells nothing.
"""

from __future__ import annotations

import pytest

from tests import rules
from tests.sources import ROOT, Source, readTree, synthetic, words

RULES: list[rules.Rule] = [
    rules.downwards,
    rules.lowRowsArePlain,
    rules.hubHasNoTransport,
    rules.modulesStandAlone,
    rules.oneDoor,
    rules.reactorInTap,
    rules.testingStaysOutside,
    rules.noCycles,
    rules.sizes,
    rules.plainNames,
    rules.narrowExcept,
    rules.noMarks,
    rules.noMocks,
    rules.documented,
]

X = "xmppservice/"
LONG_BODY = "def f():\n" + "    a = 1\n" * 61
BROKEN: list[tuple[rules.Rule, dict[str, str]]] = [
    (rules.downwards, {X + "wire/a.py": "import xmppservice.protocol.jid"}),
    (rules.downwards, {X + "protocol/a.py": "def f():\n    from xmppservice.hub import router"}),
    (rules.downwards, {X + "hub/a.py": "from ..storage import writer"}),
    (rules.downwards, {X + "hub/deep/a.py": "from ...modules.ping import Ping"}),
    (rules.downwards, {X + "storage/a.py": "from xmppservice.auth import realm"}),
    (rules.downwards, {X + "cluster/a.py": "from xmppservice.storage import writer"}),
    (rules.downwards, {X + "edge/a.py": "from xmppservice.gateways import cpim"}),
    (rules.downwards, {X + "edge/a.py": "from xmppservice import server"}),
    (rules.downwards, {X + "hub/a.py": "import xmppservice.interfaces"}),
    (rules.downwards, {X + "interfaces.py": "from xmppservice.storage import writer"}),
    (rules.downwards, {X + "__init__.py": "from xmppservice.wire import ns"}),
    (rules.downwards, {X + "elsewhere.py": ""}),
    (rules.lowRowsArePlain, {X + "wire/a.py": "import zope.interface"}),
    (rules.lowRowsArePlain, {X + "protocol/a.py": "from twisted.internet import defer"}),
    (rules.lowRowsArePlain, {X + "protocol/a.py": "import idna"}),
    (rules.hubHasNoTransport, {X + "hub/a.py": "from twisted.internet import protocol"}),
    (rules.hubHasNoTransport, {X + "hub/a.py": "from twisted.internet.protocol import Factory"}),
    (rules.hubHasNoTransport, {X + "hub/a.py": "import sqlalchemy"}),
    (rules.hubHasNoTransport, {X + "hub/a.py": "import socket"}),
    (rules.modulesStandAlone, {X + "modules/a.py": "from xmppservice.modules.b import B"}),
    (rules.modulesStandAlone, {X + "modules/a/b.py": "from ..c import C"}),
    (rules.modulesStandAlone, {X + "server.py": "from xmppservice.modules import ping"}),
    (rules.oneDoor, {X + "modules/a.py": "import sqlalchemy"}),
    (rules.oneDoor, {X + "modules/a/store.py": "from sqlalchemy import select"}),
    (rules.oneDoor, {X + "storage/a.py": "import txredisapi"}),
    (rules.oneDoor, {X + "edge/c2s.py": "from OpenSSL import SSL"}),
    (rules.oneDoor, {X + "edge/c2s.py": "import treq"}),
    (rules.oneDoor, {X + "wire/element.py": "import pyexpat"}),
    (rules.oneDoor, {X + "wire/parser.py": "from xml.parsers import expat"}),
    (rules.oneDoor, {X + "hub/a.py": "from random import choice"}),
    (rules.reactorInTap, {X + "server.py": "from twisted.internet import reactor"}),
    (rules.reactorInTap, {X + "edge/a.py": "import twisted.internet.reactor as r"}),
    (rules.testingStaysOutside, {X + "hub/a.py": "from xmppservice.testing import MemoryServer"}),
    (rules.testingStaysOutside, {X + "ctl/a.py": "import tests.rules"}),
    (rules.noCycles, {X + "hub/a.py": "from . import b", X + "hub/b.py": "def f():\n    from .a import A"}),
    (rules.noCycles, {f"{X}hub/{a}.py": f"import xmppservice.hub.{b}" for a, b in ("ab", "bc", "cd", "db")}),
    (rules.sizes, {X + "a.py": "a = 1\n" * 801}),
    (rules.sizes, {X + "a.py": LONG_BODY}),
    (rules.sizes, {X + "a.py": "def f():\n" + "    a = 1\n" * 30}),
    (rules.sizes, {X + "a.py": "a = 1\n" * 500}),
    (rules.plainNames, {X + "a.py": "class RosterManager: pass"}),
    (rules.plainNames, {X + "a.py": "def runEngine(): pass"}),
    (rules.plainNames, {X + "a.py": "def run(stanza_handler): pass"}),
    (rules.plainNames, {X + "a.py": "class A:\n    def f(self): self.helpers = 1"}),
    (rules.plainNames, {X + "utils.py": ""}),
    (rules.narrowExcept, {X + "a.py": "try:\n    pass\nexcept:\n    pass"}),
    (rules.narrowExcept, {X + "a.py": "try:\n    pass\nexcept (OSError, BaseException):\n    pass"}),
    (rules.noMarks, {X + "a.py": "a = 1  # TO" + "DO: more"}),
    (rules.noMocks, {"tests/a.py": "from unittest import mock"}),
    (rules.documented, {X + "a.py": "a = 1"}),
    (rules.documented, {X + "a.py": '"""M."""\nclass A: pass'}),
    (rules.documented, {X + "a.py": '"""M."""\nclass A:\n    """A."""\n    def f(self): pass'}),
]

GOOD = {
    X + "__init__.py": '"""The package."""\n__version__ = "1"',
    X + "wire/element.py": '"""Elements."""\nfrom collections import deque\nfrom . import ns',
    X + "wire/ns.py": '"""Names."""',
    X + "wire/parser.py": '"""Parser."""\nimport pyexpat\nparser.StartElementHandler = 1',
    X + "protocol/jid.py": '"""Addresses."""\nimport idna\nfrom precis_i18n import get_profile',
    X + "hub/host.py": (
        '"""Hosts."""\nfrom typing import TYPE_CHECKING\nfrom twisted.internet.defer import Deferred\n'
        "from xmppservice import plugins\nif TYPE_CHECKING:\n    from .router import Router"
    ),
    X + "hub/router.py": '"""Router."""\nfrom .host import Host\nfrom xmppservice.wire.element import Element',
    X + "auth/realm.py": '"""Realm."""\nfrom xmppservice.storage.accounts import Accounts',
    X + "storage/accounts.py": '"""Accounts."""\nimport sqlalchemy\nfrom xmppservice.hub import host',
    X + "modules/pubsub/tables.py": '"""Tables."""\nimport sqlalchemy',
    X + "modules/pubsub/service.py": (
        '"""Service."""\nfrom . import tables\nfrom xmppservice import __version__\nfrom xmppservice.hub import host'
    ),
    X + "edge/tls/layer.py": '"""TLS."""\nfrom OpenSSL import SSL',
    X + "plugins/standard.py": '"""Modules."""\nfrom xmppservice.hub.host import ModuleMaker',
    X + "tap.py": '"""Start."""\nfrom twisted.internet import reactor\nfrom xmppservice import server',
    X + "server.py": '"""Composition."""\nfrom xmppservice.edge.tls import layer',
    X + "testing/server.py": '"""Kit."""\nfrom xmppservice import interfaces, server',
    X + "interfaces.py": '"""Interfaces."""\nfrom xmppservice.hub.host import *',
}


def describe(case: object) -> str:
    """Names a test's parameter: the rule's name, and which file it is tried on."""
    return str(getattr(case, "__name__", "")) or ",".join(case if isinstance(case, dict) else ())


@pytest.fixture(scope="module")
def tree() -> list[Source]:
    """Every Python file of the project."""
    return readTree("xmppservice", "tests", "benchmarks", "twisted", "docs")


@pytest.mark.parametrize("rule", RULES, ids=describe)
def test_houseKeepsRule(rule: rules.Rule, tree: list[Source]) -> None:
    """The project's own files keep every rule."""
    problems = rule(tree)
    assert not problems, f"{rule.__doc__}\n" + "\n".join(problems)


@pytest.mark.parametrize(("rule", "files"), BROKEN, ids=describe)
def test_ruleCanFail(rule: rules.Rule, files: dict[str, str]) -> None:
    """Each rule finds a sample that breaks it."""
    assert rule(synthetic(files))


@pytest.mark.parametrize("rule", RULES, ids=describe)
def test_ruleAcceptsGoodHouse(rule: rules.Rule) -> None:
    """No rule complains about a small house in order."""
    assert rule(synthetic(GOOD)) == []


def test_everyRuleIsSeenFailing() -> None:
    """Every rule in use has a broken sample."""
    assert {rule for rule, _ in BROKEN} == set(RULES)


def test_treeIsRead(tree: list[Source]) -> None:
    """The reader finds the project's files, this one too."""
    paths = {source.path for source in tree}
    assert {"tests/test_layers.py", "twisted/plugins/xmppservice_plugin.py"} <= paths
    assert any(path.startswith("xmppservice/hub/") for path in paths)


def test_twistedFoldersStayOpen() -> None:
    """An ``__init__.py`` below ``twisted/`` would hide Twisted itself, or our plugin."""
    assert sorted(path.name for path in (ROOT / "twisted").rglob("__init__.py")) == []


def test_wordsOfNames() -> None:
    """Names come apart at capitals and underscores, and abbreviations stay whole."""
    assert words("StartElementHandler") == ["start", "element", "handler"]
    assert words("_someHTTPName_two") == ["some", "http", "name", "two"]
