"""Our server with a part of its defences cut out: code that runs in its process before it starts."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple

from tests.attack.servers.own import AttackedServer
from tests.interop.processes import Child, waitFor
from tests.sources import ROOT


class Sabotage(NamedTuple):
    """What is cut out, the row of the table that has to notice, and the reaction of a sound server."""

    code: str
    row: str
    sound: str


#: Each build has several cuts that have nothing to do with each other.
BUILDS: dict[str, dict[str, Sabotage]] = {
    "wire": {
        "no escaping of namespaces": Sabotage(
            "import xmppservice.wire.serializer as one; one._uri = lambda uri: uri",
            "X11 quotes, brackets, line ends in every place",
            "1 stanza delivered, the same tree",
        ),
        "comments are let through": Sabotage(
            "import xmppservice.wire.parser as two; two._onComment = lambda *rest: None",
            "X01 comment between stanzas",
            "restricted-xml, closed",
        ),
        "no limits of size": Sabotage(
            "import xmppservice.server.edges as three; from xmppservice.wire.limits import Limits; "
            "three.Limits = lambda **rest: Limits(1 << 40, 1 << 30, 1 << 30, 1 << 30, 1 << 40, None, 1 << 30)",
            "X04 10 MB as text, before authentication",
            "policy-violation/stanza-too-big, closed",
        ),
    },
    "negotiation": {
        "no look at the authzid": Sabotage(
            "import xmppservice.protocol.sasl.identity as one; one.authorize = lambda *rest: None",
            "A01 PLAIN with the authzid of another user",
            "failure: invalid-authzid, kept",
        ),
        "tries without end": Sabotage(
            "from xmppservice.protocol.stream.machine import StreamMachine as Machine; failed = Machine._saslFailed; "
            "Machine._saslFailed = lambda self, why: (setattr(self, '_tries', 99), failed(self, why))[1]",
            "A06 30 wrong passwords on one stream",
            "5 answered, policy-violation, closed",
        ),
        "TLS is not required": Sabotage(
            "Machine._mustSecure = lambda self: False",
            "T02 binding before TLS",
            "policy-violation, closed",
        ),
        "what follows <starttls/> is let through": Sabotage(
            "from xmppservice.edge.driver import StreamDriver; StreamDriver.remainder = lambda self: b''",
            "T01 a header in clear with <starttls/>",
            "policy-violation, closed",
        ),
        "no salt for users that do not exist": Sabotage(
            "from xmppservice.auth.keyring import Keyring; import os; decoy = Keyring._decoy; "
            "Keyring._decoy = lambda self, local, name: decoy(self, os.urandom(9).hex(), name)",
            "A05 a user that exists and one that does not",
            "the same answers",
        ),
    },
    "hub": {
        "no look at from": Sabotage(
            "from xmppservice.hub.session import Session; Session._checkFrom = lambda *rest: None",
            "3.1 a message from another user",
            "nothing delivered, invalid-from, closed",
        ),
        "forged ids stay": Sabotage(
            "from xmppservice.modules.stanza_ids import StanzaIds; StanzaIds._isForged = lambda *rest: False",
            "I04 forged stanza ids to a bare JID",
            "0 of 4 forged ids delivered",
        ),
        "the blocked are served": Sabotage(
            "from xmppservice.modules.blocking import Blocking; Blocking.refuses = lambda *rest: False",
            "I10 eight stanzas of a blocked user",
            "0 delivered",
        ),
    },
}


class ProcessWith(AttackedServer):
    """A server with code that runs in its process before it starts."""

    def __init__(self, folder: Path, code: str) -> None:
        self._code = code or "pass"
        super().__init__(folder)

    def start(self) -> None:
        """As `OwnServer.start`, behind the code."""
        self.configure()
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment = {"PYTHONPATH": path, "XMPPSERVICE_CONFIG": ""}
        command = [
            *("-c", f"{self._code}; from twisted.scripts.twistd import run; run()"),
            *("--nodaemon", "--pidfile=", "xmpp", *self.options),
            *("--c2s", f"tcp:{self.port}:interface=127.0.0.1"),
            *("--c2s-tls", f"tcp:{self.directPort}:interface=127.0.0.1"),
        ]
        self.child = Child([sys.executable, *command], self.folder / "server.log", self.folder, environment)
        waitFor("the server", self._isUp)

    def _isUp(self) -> bool:
        assert self.child.running(), f"the server ended:\n{self.report()}"
        return "serving " in self.report()


class SabotagedServer(ProcessWith):
    """A build of `BUILDS`."""

    def __init__(self, folder: Path, build: str) -> None:
        super().__init__(folder, "; ".join(sabotage.code for sabotage in BUILDS[build].values()))
