"""IRC for the tests of a gateway: ngircd, biboumi between it and the server, and somebody who is on IRC only."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.interop.processes import PATIENCE, Child, accepts, freePort, waitFor

NGIRCD_CONFIG = """
[Global]
Name = irc.localhost
Info = a test
AdminInfo1 = a test
Listen = 127.0.0.1
Ports = {port}
MotdPhrase = hello
[Limits]
MaxConnectionsIP = 0
MaxJoins = 0
MaxPenaltyTime = 0
[Options]
DNS = no
Ident = no
PAM = no
IncludeDir = {folder}
"""


class Ngircd:
    """Debian's ngircd, on a loopback port of its own."""

    def __init__(self, folder: Path) -> None:
        self.port = freePort()
        included = folder / "ngircd.conf.d"
        included.mkdir()
        config = folder / "ngircd.conf"
        config.write_text(NGIRCD_CONFIG.format(port=self.port, folder=included), encoding="utf-8")
        self.child = Child(["ngircd", "--nodaemon", "--config", str(config)], folder / "ngircd.log", folder)
        waitFor("ngircd's port", lambda: accepts(self.port))


class Biboumi:
    """Debian's biboumi with a configuration; what it keeps is in the folder."""

    def __init__(self, folder: Path, config: str) -> None:
        self._folder = folder
        self._config = folder / "biboumi.cfg"
        self._config.write_text(config, encoding="utf-8")
        self.start()

    def start(self) -> None:
        """Starts the process; it connects by itself."""
        self.child = Child(["biboumi", str(self._config)], self._folder / "biboumi.log", self._folder)

    def kill(self) -> None:
        """Ends it without a word to anybody."""
        self.child.process.kill()
        self.child.process.wait()


class IRCUser:
    """A connection to an IRC server that says what it is told to."""

    def __init__(self, port: int, nick: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._lines = self._socket.makefile("r", encoding="utf-8", newline="\r\n")
        self.send(f"NICK {nick}", f"USER {nick} 0 * :{nick}")
        self.expect(f" 001 {nick} ")

    def send(self, *lines: str) -> None:
        """Says these lines."""
        self._socket.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def expect(self, part: str) -> str:
        """The next line with this in it; those before it are forgotten."""
        heard: list[str] = []
        try:
            for line in self._lines:
                heard.append(line)
                if part in line:
                    return line.strip()
        except TimeoutError:
            pass
        raise AssertionError(f"no {part!r} came, but {heard}")

    def close(self) -> None:
        """Goes."""
        self._lines.close()
        self._socket.close()
