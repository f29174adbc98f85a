"""A non-blocking connection, plain or TLS, and the epoll loop that serves many of them.

The loop calls one bound method per readable connection and nothing else, because the generator must stay far cheaper
than the server it measures.
"""

import ctypes
import os
import select
import socket
import ssl
import time
from collections.abc import Callable

_CHUNK = 16384


class LoadError(Exception):
    """The run cannot go on: the server refused, went away, or made no progress in time."""


class Link:
    """One client connection; ``read`` and ``write`` never block."""

    __slots__ = ("_loop", "fd", "out", "ready", "sock")

    def __init__(self, loop: "Loop", host: str, port: int) -> None:
        self._loop = loop
        self.sock: socket.socket | ssl.SSLSocket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The peer is on loopback: connecting either succeeds or is refused at once.
        self.sock.settimeout(10.0)
        try:
            self.sock.connect((host, port))
        except OSError as problem:
            self.sock.close()
            raise LoadError(f"cannot connect to {host}:{port}: {problem}") from problem
        self.sock.setblocking(False)
        self.fd = self.sock.fileno()
        self.out = bytearray()
        self.ready: Callable[[], None] = _ignore
        loop.add(self)

    def read(self) -> bytes:
        """What has arrived, ``b""`` if nothing has; `LoadError` once the server has closed."""
        try:
            data = self.sock.recv(_CHUNK)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b""
        except (OSError, ssl.SSLError) as problem:
            raise LoadError(f"connection lost: {problem}") from problem
        if not data:
            raise LoadError("the server closed the connection")
        return data

    def write(self, data: bytes) -> None:
        """Send now what the kernel takes, keep the rest for later."""
        if self.out:
            self.out += data
            return
        try:
            sent = self.sock.send(data)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            sent = 0
        except (OSError, ssl.SSLError) as problem:
            raise LoadError(f"connection lost: {problem}") from problem
        if sent < len(data):
            self.out += data[sent:]
            self._loop.wantWrite(self, True)

    def flush(self) -> None:
        """The kernel has room again: send the rest."""
        data = bytes(self.out)
        self.out.clear()
        self._loop.wantWrite(self, False)
        if data:
            self.write(data)

    def wrap(self, context: ssl.SSLContext) -> None:
        """Put TLS on the connection; the handshake runs with `handshake`."""
        self._loop.remove(self)
        self.sock = context.wrap_socket(self.sock, server_hostname="localhost", do_handshake_on_connect=False)
        self.fd = self.sock.fileno()
        self._loop.add(self)

    def handshake(self) -> bool:
        """Take the TLS handshake one step further; True when it is done."""
        assert isinstance(self.sock, ssl.SSLSocket)
        try:
            self.sock.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except (OSError, ssl.SSLError) as problem:
            raise LoadError(f"TLS handshake failed: {problem}") from problem
        return True

    def spoken(self) -> tuple[str, str]:
        """Protocol version and cipher; empty without TLS."""
        if not isinstance(self.sock, ssl.SSLSocket):
            return "", ""
        cipher = self.sock.cipher()
        return self.sock.version() or "", cipher[0] if cipher else ""

    def close(self) -> None:
        """Forget the connection; safe to call twice."""
        if self.fd >= 0:
            self._loop.remove(self)
            self.fd = -1
            self.sock.close()


def _ignore() -> None:
    """Nobody listens yet."""


def _timer(interval: float) -> int:
    """A descriptor that becomes readable each ``interval`` seconds (timerfd_create(2); Python has it from 3.13 on)."""
    library = ctypes.CDLL(None, use_errno=True)
    number: int = library.timerfd_create(time.CLOCK_MONOTONIC, os.O_CLOEXEC | os.O_NONBLOCK)
    whole, part = divmod(int(interval * 1e9), 10**9)
    setting = (ctypes.c_long * 4)(whole, part, whole, part)
    if number < 0 or library.timerfd_settime(number, 0, setting, None) != 0:
        raise LoadError(f"no kernel timer: {os.strerror(ctypes.get_errno())}")
    return number


class Loop:
    """Epoll over links.  Every `run` is bounded by a deadline and by a limit on silence."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._links: dict[int, Link] = {}
        #: Called when everything that was readable at one moment has been read.
        self.between: Callable[[], None] = _ignore

    def add(self, link: Link) -> None:
        """Watch a link for input."""
        self._links[link.fd] = link
        self._epoll.register(link.fd, select.EPOLLIN)

    def remove(self, link: Link) -> None:
        """Stop watching a link."""
        del self._links[link.fd]
        self._epoll.unregister(link.fd)

    def wantWrite(self, link: Link, wanted: bool) -> None:
        """Also watch for room to write, or no longer."""
        self._epoll.modify(link.fd, select.EPOLLIN | (select.EPOLLOUT if wanted else 0))

    def run(self, done: Callable[[], bool], limit: float, silence: float = 30.0) -> None:
        """Serve until ``done()``; `LoadError` after ``limit`` seconds or ``silence`` seconds without any input."""
        now = time.perf_counter()
        deadline, quiet = now + limit, now + silence
        links, poll = self._links, self._epoll.poll
        while not done():
            events = poll(0.05)
            now = time.perf_counter()
            for fd, mask in events:
                link = links.get(fd)
                if link is not None:
                    self._serve(link, mask) if mask != select.EPOLLIN else link.ready()
            if events:
                quiet = now + silence
                self.between()
            if now > deadline or now > quiet:
                raise LoadError(f"no end after {limit:.0f} s" if now > deadline else f"silence for {silence:.0f} s")

    def runTimed(self, tick: Callable[[], bool], interval: float, limit: float) -> None:
        """Call ``tick`` each ``interval`` seconds and serve, until ``tick`` says False.

        A kernel timer in the epoll set wakes it exactly and for one system call: epoll's own time-out counts in
        milliseconds.  When expirations fall together, ``tick`` is told nothing and has to look at the clock.
        """
        deadline = time.perf_counter() + limit
        links, poll, timer = self._links, self._epoll.poll, _timer(interval)
        self._epoll.register(timer, select.EPOLLIN)
        try:
            while time.perf_counter() < deadline:
                for number, mask in poll(1.0):
                    if number == timer:
                        os.read(timer, 8)
                        if not tick():
                            return
                    elif number in links:
                        links[number].ready() if mask == select.EPOLLIN else self._serve(links[number], mask)
        finally:
            os.close(timer)
        raise LoadError(f"no end after {limit:.0f} s")

    def pause(self, seconds: float) -> None:
        """Serve for a fixed time."""
        end = time.perf_counter() + seconds
        self.run(lambda: time.perf_counter() >= end, seconds + 5.0, seconds + 5.0)

    def close(self) -> None:
        """Close every link and the epoll descriptor."""
        for link in list(self._links.values()):
            link.close()
        self._epoll.close()

    def _serve(self, link: Link, mask: int) -> None:
        """The rarer events: room to write, hang-up."""
        if mask & select.EPOLLOUT:
            link.flush()
        if mask & ~select.EPOLLOUT:
            link.ready()
