"""Our own server under attack: further hosts, a module that fails, and limits that are reached soon."""

from __future__ import annotations

from tests.attack.servers.victim import Attacked
from tests.interop.processes import freePort
from tests.interop.servers import OwnServer

COMPONENT, SECRET = "component.test", "0123456789abcdef0123456789abcdef"

CONFIG = """
[limits]
queue = "64 KiB"
# Rates would only make these tests slow; test_overload is about them.
stream_bytes = "1 GiB"
stream_bytes_burst = "1 GiB"
stream_stanzas = 1000000
stream_stanzas_burst = 1000000
address_bytes = "1 GiB"
address_bytes_burst = "1 GiB"
address_stanzas = 1000000
address_stanzas_burst = 1000000
[listen]
component = ["tcp:{component}:interface=127.0.0.1"]
[ports."{domain}"]
kind = "component"
secret_file = "component.secret"
[modules.offline]
limit = 20
[hosts.localhost]
enable = ["tests.attack.faulty"]
[hosts."other.test"]
[hosts."open.test"]
enable = ["register"]
[hosts."open.test".register]
open = true
attempts = 0
"""


class AttackedServer(Attacked, OwnServer):
    """The real process with further hosts and limits that are reached soon."""

    name = "own"
    extra = CONFIG
    fault = "Traceback (most recent call last)"

    def start(self) -> None:
        """Starts it with our configuration."""
        self.configure()
        super().start()
        self._read = 0

    def configure(self) -> None:
        """Lays our configuration over the one that ``xmppctl init`` wrote."""
        folder = self.folder / "conf.d"
        folder.mkdir(exist_ok=True)
        self.componentPort = freePort()
        secret = self.folder / "component.secret"
        secret.touch(0o600)
        secret.write_text(SECRET, encoding="ascii")
        text = self.extra.replace("{component}", str(self.componentPort)).replace("{domain}", COMPONENT)
        (folder / "attack.toml").write_text(text, encoding="utf-8")
