"""The log: one event, one line (hardening D10), as text or as JSON, and nothing in it that people wrote (I09).

Theory of operation. `Lines` is the observer that twistd gets. Text that is not printable is escaped in the whole
message, so nobody outside can begin a line, move the cursor or turn the direction of writing. A failure gets an
incident id unless whoever logged it has told one to the peer. What an exception says of itself is shown only where
that cannot hold data (see `_SPEAKING`): an ``int(body)`` that fails would carry the body into the log. Of events
that come again and again only so many a second are written; the rest is counted and told in one line.
"""

from __future__ import annotations

import json
import linecache
import math
import re
import secrets
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, LogEvent, LogLevel
from twisted.python.failure import Failure
from zope.interface import implementer

#: Lines of one kind, and tracebacks of one kind, in a second.
LINES, TRACEBACKS = 20, 5
#: Kinds that are told apart.
KINDS = 1000
#: Characters of a message, and of a field in JSON.
LONGEST, LONGEST_FIELD = 2000, 500
#: Frames of a traceback, and exceptions that led to another.
FRAMES, CHAIN = 40, 5

#: Levels of syslog, for journald (sd-daemon(3)).
_PRIORITY = {"debug": 7, "info": 6, "warn": 4, "error": 3, "critical": 2}
_NUMBER = {"debug": 0, "info": 1, "warn": 2, "error": 3, "critical": 4}

#: Exceptions whose words are made of names in the code, of types and of what the system says.
_SPEAKING = (
    ArithmeticError, AttributeError, BufferError, ImportError, IndexError, MemoryError, NameError, OSError,
    RecursionError, TypeError,
)  # fmt: skip
_TRUSTED = ("twisted.internet.", "xmppservice.hub.contracts.", "xmppservice.hub.loader.")
_RESERVED = frozenset({"time", "level", "system", "message", "incident", "traceback"})
#: What Twisted's older interface adds to events.
_LEGACY = frozenset({
    "failure", "format", "isError", "isWarning", "category", "filename", "lineno", "warning", "printed", "why",
})  # fmt: skip
_OLD = "log_legacy"
_UNPRINTABLE = re.compile(r"[^ -~]")


def escaped(text: str) -> str:
    """Text without control characters, line ends, marks of direction and whatever else does not show itself."""
    return text if text.isprintable() else _UNPRINTABLE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x100:
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def bounded(text: str, longest: int) -> str:
    """The beginning of a text, and how much more there was."""
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text) - longest} characters more)"


class _Values(Mapping[str, Any]):
    """An event as what a format is filled from; Twisted's formats may call what they name."""

    def __init__(self, event: LogEvent) -> None:
        self._event = event

    def __getitem__(self, key: str) -> Any:
        return self._event[key[:-2]]() if key.endswith("()") else self._event[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._event)

    def __len__(self) -> int:
        return len(self._event)


def failureOf(event: LogEvent) -> Failure | None:
    """The failure of an event, also of one that came by Twisted's older interface."""
    failure = event.get("log_failure")
    if failure is None and event.get("isError"):
        failure = event.get("failure")
    return failure if isinstance(failure, Failure) else None


def messageOf(event: LogEvent) -> str:
    """The message of an event on one line, the incident in it if there is one."""
    format = event.get("log_format")
    if event.get("log_namespace") == _OLD and failureOf(event) is not None:
        # The text that Twisted's older interface makes holds the whole traceback.
        message = str(event.get("why") or "an unexpected failure")
    elif format is None:
        message = str(event.get("log_text", ""))
    else:
        if isinstance(format, bytes):
            format = format.decode("utf-8", "replace")
        try:
            message = format.format_map(_Values(event))
        except Exception as error:
            # Not the values, whatever they are.
            message = f"{format} (cannot be filled in: {type(error).__name__})"
    message = bounded(escaped(message), LONGEST)
    incident = event.get("incident")
    return message if incident is None or str(incident) in message else f"{message} (incident {escaped(str(incident))})"


# -- tracebacks --------------------------------------------------------------------------------------------------------


def tracebackOf(failure: Failure, words: bool = False) -> list[str]:
    """The lines of a traceback: where, and which exception. `words`: also what any exception says of itself."""
    lines: list[str] = []
    error: BaseException | None = failure.value
    frames = [(frame[1], frame[2], frame[0]) for frame in failure.frames]
    for _ in range(CHAIN):
        if error is None:
            break
        lines = ["Traceback (most recent call last):", *_frames(frames), _exception(error, words), *lines]
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if cause is not None:
            lines = ["led to:", *lines]
            stack = traceback.extract_tb(cause.__traceback__)
            frames = [(frame.filename, frame.lineno or 0, frame.name) for frame in stack]
        error = cause
    return [escaped(line) for line in lines]


def _frames(frames: list[tuple[str, int, str]]) -> Iterator[str]:
    dropped = len(frames) - FRAMES
    for index, (file, line, name) in enumerate(frames):
        if dropped > 0 and FRAMES // 2 <= index < FRAMES // 2 + dropped:
            if index == FRAMES // 2:
                yield f"  … {dropped} frames …"
            continue
        yield f'  File "{file}", line {line}, in {name}'
        source = linecache.getline(file, line).strip()
        if source:
            yield f"    {bounded(source, LONGEST_FIELD)}"


def _exception(error: BaseException, words: bool) -> str:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if not words and not isinstance(error, _SPEAKING) and not name.startswith(_TRUSTED):
        return f"{name} (its text is shown at the level debug)" if error.args else name
    try:
        text = str(error)
    except Exception:
        text = "its text cannot be had"
    return bounded(f"{name}: {text}" if text else name, LONGEST)


# -- the two formats ---------------------------------------------------------------------------------------------------


def _timeOf(event: LogEvent) -> str:
    moment = datetime.fromtimestamp(event.get("log_time") or time.time(), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _levelOf(event: LogEvent) -> str:
    level = event.get("log_level")
    return getattr(level, "name", None) or ("critical" if event.get("isError") else "info")


def _systemOf(event: LogEvent) -> str:
    system = event.get("log_namespace") or "-"
    return "twisted" if system == _OLD else bounded(escaped(str(system)), LONGEST_FIELD)


def asText(event: LogEvent, words: bool) -> list[str]:
    """Time, level, who, message; the lines of a traceback follow indented."""
    lines = [f"{_timeOf(event)} {_levelOf(event)} {_systemOf(event)}: {messageOf(event)}"]
    failure = failureOf(event)
    if failure is not None:
        lines += [f"    {line}" for line in tracebackOf(failure, words)]
    return lines


def asJSON(event: LogEvent, words: bool) -> list[str]:
    """One object: time, level, system, message, then the event's own plain fields, incident and traceback."""
    record: dict[str, Any] = {
        "time": _timeOf(event), "level": _levelOf(event), "system": _systemOf(event), "message": messageOf(event),
    }  # fmt: skip
    for key, value in event.items():
        if not key.startswith("log_") and key not in _RESERVED and key not in _LEGACY:
            plain = _plain(value)
            if plain is not None:
                record[key] = plain
    if event.get("incident") is not None:
        record["incident"] = bounded(str(event["incident"]), LONGEST_FIELD)
    failure = failureOf(event)
    if failure is not None:
        record["traceback"] = tracebackOf(failure, words)
    # ASCII only: what is not printable is escaped, but for DEL, which JSON lets pass.
    return [json.dumps(record, separators=(",", ":")).replace("\x7f", "\\u007f")]


def _plain(value: object) -> Any:
    """A value for JSON, None if it is none: of anything else nobody knows what it would show."""
    if isinstance(value, str):
        return bounded(value, LONGEST_FIELD)
    if isinstance(value, bool) or (isinstance(value, int) and abs(value) < 1 << 63):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else None


def _kindOf(event: LogEvent) -> tuple[str, str]:
    """Events of one kind are counted together: those of one format; failures that began at one line of code."""
    format = str(event.get("log_format"))[:LONGEST_FIELD]
    failure = failureOf(event)
    if failure is not None:
        where = f"{failure.frames[-1][1]}:{failure.frames[-1][2]}" if failure.frames else "unknown"
        format += f" ({type(failure.value).__name__} at {where})"
    return _systemOf(event), format


# -- the observer ------------------------------------------------------------------------------------------------------


@implementer(ILogObserver)
class Lines:
    """Writes events as lines. `write` takes one event's text; `clock` tells later what was left out.

    `priorities` puts the level in front of each line, as journald wants it; in JSON the level is in the object.
    """

    def __init__(
        self, write: Callable[[str], object], clock: IReactorTime | None = None, priorities: bool = False
    ) -> None:
        self._write = write
        self._clock = clock
        self._priorities = priorities
        self._window = 0
        self._counts: dict[tuple[str, str], int] = {}
        self._left: dict[tuple[str, str], int] = {}
        self._reporting = False
        self.configure()

    def configure(self, format: str = "text", level: str = "info") -> None:
        """Write so from now on."""
        self._json = format == "json"
        self._lowest = _NUMBER[level]

    def __call__(self, event: LogEvent) -> None:
        """See `ILogObserver`."""
        level = _levelOf(event)
        if _NUMBER.get(level, 1) < self._lowest:
            return
        failure = failureOf(event)
        if failure is not None and event.get("incident") is None:
            event["incident"] = secrets.token_hex(6)
        if self._admits(event, TRACEBACKS if failure is not None else LINES):
            self._put(event, level)

    def _put(self, event: LogEvent, level: str) -> None:
        lines = (asJSON if self._json else asText)(event, words=self._lowest == 0)
        if self._priorities and not self._json:
            lines = [f"<{_PRIORITY.get(level, 6)}>{line}" for line in lines]
        try:
            self._write("\n".join(lines) + "\n")
        except (OSError, ValueError):
            # A full disk, or nobody who reads: the server goes on.
            return

    # -- floods ------------------------------------------------------------------------------------

    def _admits(self, event: LogEvent, most: int) -> bool:
        """Whether this is one of the first of its kind in this second."""
        now = int(event.get("log_time") or time.time())
        if now != self._window:
            self.report()
            self._window = now
        kind = _kindOf(event)
        if kind not in self._counts and len(self._counts) >= KINDS:
            kind = ("-", "other kinds")
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        if count <= most:
            return True
        self._left[kind] = self._left.get(kind, 0) + 1
        if not self._reporting and self._clock is not None:
            self._reporting = True
            self._clock.callLater(1.0, self._reportLate)
        return False

    def _reportLate(self) -> None:
        self._reporting = False
        self.report()

    def report(self) -> None:
        """Say how much was left out, and begin to count anew."""
        self._counts = {}
        left, self._left = self._left, {}
        for (system, format), count in left.items():
            self._tell(system, format, count)

    def _tell(self, system: str, format: str, left: int) -> None:
        event: LogEvent = {
            "log_format": "{count} more like this were left out: {kind}", "log_namespace": system,
            "log_level": LogLevel.warn, "log_time": time.time(), "count": left, "kind": format,
        }  # fmt: skip
        self._put(event, "warn")
