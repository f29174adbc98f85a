"""Typed options: one declaration gives the value, its check, its error message and its page in the manual.

A section of the configuration, or a module, declares a frozen attrs class whose fields are made by `option`. The
class is the single source: `parseOptions` reads a TOML table by it, `describeOptions` feeds the reference pages and
the commented example. Attributes are camelCase, keys in the file are the same names in snake_case.
"""

from __future__ import annotations

import difflib
import os
import re
import types
from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs

Duration = Annotated[float, "duration"]
"""Seconds; in the file a number or a text such as ``"30 s"``, ``"5 min"``, ``"1 h"``, ``"250 ms"``, ``"7 d"``."""

Size = Annotated[int, "size"]
"""Bytes; in the file a number or a text such as ``"8 KiB"``, ``"1.5 MiB"``, ``"10 kB"``."""

FilePath = Annotated[str, "path"]
"""A file or folder; a relative one starts at the folder of the configuration file. Empty means none."""

_Options = TypeVar("_Options")
_METADATA = "xmppservice.option"
_DURATIONS = {"ms": 0.001, "s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES = {"b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1024, "mib": 1024**2, "gib": 1024**3}
_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")
_TYPE_NAMES = {"duration": "duration", "size": "size", "path": "path"}


class OptionError(Exception):
    """One key of the configuration is wrong; the operator is to blame and must be able to mend it from the message.

    @ivar path: the keys from the top of the file to the wrong one.
    @ivar problem: what is wrong, as a phrase.
    @ivar suggestion: the known name that was probably meant, or None.
    """

    def __init__(self, path: tuple[str, ...], problem: str, suggestion: str | None = None) -> None:
        super().__init__(path, problem, suggestion)
        self.path = path
        self.problem = problem
        self.suggestion = suggestion

    @property
    def key(self) -> str:
        """The dotted key as one would write it in the file."""
        return dottedKey(self.path)

    def __str__(self) -> str:
        hint = f" (did you mean {self.suggestion!r}?)" if self.suggestion else ""
        return f"{self.key}: {self.problem}{hint}"


class _NotAChoice(ValueError):
    """A value outside the choices, with the choice that was probably meant."""

    def __init__(self, value: Any, choices: Collection[str]) -> None:
        super().__init__(f"must be {_alternatives(choices)}, not {_shown(value)}")
        self.suggestion = closest(str(value), choices)


@attrs.frozen
class OptionDescription:
    """One option as the manual shows it."""

    attribute: str
    key: str
    type: str
    default: Any
    help: str
    unit: str | None
    range: tuple[float | None, float | None] | None
    choices: tuple[str, ...] | None

    @property
    def defaultText(self) -> str:
        """The default as TOML, with the unit people write by hand."""
        return tomlValue(self.default, self.type)


def option(
    default: Any,
    help: str,
    unit: str | None = None,
    range: tuple[float | None, float | None] | None = None,
    choices: Collection[str] | None = None,
) -> Any:
    """Declare one option of a frozen attrs class.

    @param default: the value in force when the key is absent, in the type of the field.
    @param help: one sentence for the manual.
    @param unit: what a plain number counts, when the type does not say so.
    @param range: the lowest and highest value allowed, either may be None; for texts and lists, of the length.
    @param choices: the only values allowed; for a list, of each entry.
    """
    metadata = {_METADATA: (help, unit, range, tuple(choices) if choices is not None else None)}
    if isinstance(default, list):
        return attrs.field(factory=lambda: list(default), metadata=metadata, kw_only=True)
    return attrs.field(default=default, metadata=metadata, kw_only=True)


def optionKey(attribute: str) -> str:
    """The key in the file of an attribute: ``authTime`` is ``auth_time``."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", attribute).lower()


def dottedKey(path: Collection[str]) -> str:
    """Join keys as TOML does, quoting those that need it."""
    return ".".join(part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else f'"{part}"' for part in path)


def closest(name: str, known: Collection[str]) -> str | None:
    """The known name nearest to a mistyped one, or None when nothing is near."""
    found = difflib.get_close_matches(name, list(known), 1, 0.6)
    return found[0] if found else None


def duration(value: float | int | str) -> float:
    """Seconds from a number or from a text with a unit.

    @raise ValueError: it is neither.
    """
    return _quantity(value, _DURATIONS, "a duration such as 30, \"30 s\" or \"5 min\"")


def size(value: float | int | str) -> int:
    """Bytes from a number or from a text with a unit.

    @raise ValueError: it is neither.
    """
    return int(_quantity(value, _SIZES, "a size in bytes such as 4096 or \"256 KiB\""))


def _quantity(value: float | int | str, units: Mapping[str, float], expected: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"must be {expected}")
    if isinstance(value, str):
        match = _QUANTITY.fullmatch(value)
        factor = units.get(match[2].lower(), None if match[2] else 1.0) if match else None
        if match is None or factor is None:
            raise ValueError(f"must be {expected}, not {value!r}")
        return float(match[1]) * factor
    if not 0 <= value < float("inf"):
        raise ValueError(f"must be {expected}, not {value}")
    return value


def describeOptions(cls: type) -> tuple[OptionDescription, ...]:
    """All options of a class in the order of declaration."""
    kinds = _kinds(cls)
    found = []
    for field in attrs.fields(cls):
        if _METADATA not in field.metadata:
            continue
        text, unit, limits, choices = field.metadata[_METADATA]
        kind = kinds[field.name]
        default = getattr(cls(), field.name)
        unit = unit or {"duration": "seconds", "size": "bytes"}.get(kind)
        found.append(OptionDescription(field.name, optionKey(field.name), kind, default, text, unit, limits, choices))
    return tuple(found)


def parseOptions(
    cls: type[_Options], table: Mapping[str, Any], where: str | tuple[str, ...] = (), base: str | None = None
) -> _Options:
    """Read a table of the configuration by its options class.

    @param where: the keys that lead to the table, for messages.
    @param base: the folder at which relative paths start; None leaves them as they are.
    @raise OptionError: for the first key that is unknown or has a wrong value.
    """
    return cls(**parseValues(cls, table, where, base))


def parseValues(
    cls: type, table: Mapping[str, Any], where: str | tuple[str, ...] = (), base: str | None = None
) -> dict[str, Any]:
    """Like `parseOptions`, but give only the attributes that the table sets, so that tables can be overlaid."""
    path = (where,) if isinstance(where, str) and where else tuple(where)
    if not isinstance(table, Mapping):
        raise OptionError(path, f"must be a table, not {_shown(table)}")
    known = {description.key: description for description in describeOptions(cls)}
    values = {}
    for key, value in table.items():
        if key not in known:
            raise OptionError((*path, key), "unknown key", closest(key, known))
        try:
            values[known[key].attribute] = _checked(known[key], value, base, _wantsList(cls, known[key].attribute))
        except _NotAChoice as error:
            raise OptionError((*path, key), str(error), error.suggestion) from None
        except ValueError as error:
            raise OptionError((*path, key), str(error)) from None
    return values


def tomlValue(value: Any, kind: str = "text") -> str:
    """Write a value as TOML; durations and sizes get the unit that makes them short."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(tomlValue(entry) for entry in value) + "]"
    if kind == "duration" and value:
        return _withUnit(value, (("d", 86400), ("h", 3600), ("min", 60), ("s", 1), ("ms", 0.001)))
    if kind == "size" and value:
        return _withUnit(value, (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)))
    if isinstance(value, (int, float)):
        return f"{value:g}" if isinstance(value, float) else str(value)
    text = str(value if value is not None else "").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _withUnit(value: float, units: Collection[tuple[str, float]]) -> str:
    for name, factor in units:
        count = value / factor
        if count >= 1 and abs(count - round(count)) < 1e-9:
            return f'"{round(count)} {name}"'
    return f"{value:g}"


def _kinds(cls: type) -> dict[str, str]:
    """Attribute → the name of its type as the manual has it; a type that no TOML value can have is our own error."""
    hints = get_type_hints(cls, include_extras=True)
    return {name: _kind(hint, f"{cls.__name__}.{name}") for name, hint in hints.items() if get_origin(hint) != ClassVar}


def _kind(hint: Any, where: str) -> str:
    origin = get_origin(hint)
    if origin is Annotated:
        return next((str(extra) for extra in get_args(hint)[1:] if extra in _TYPE_NAMES), "text")
    if origin in (Union, types.UnionType):
        inner = [part for part in get_args(hint) if part is not type(None)]
        if len(inner) == 1:
            return _kind(inner[0], where)
    if hint in (list[str], tuple[str, ...]):
        return "list"
    if hint == tuple[tuple[str, ...], ...]:
        return "list of lists"
    simple = {bool: "boolean", int: "integer", float: "number", str: "text"}.get(hint)
    if simple is None:
        raise TypeError(f"{where}: an option cannot be of type {hint}")
    return simple


def _wantsList(cls: type, attribute: str) -> bool:
    return bool(get_type_hints(cls)[attribute] == list[str])


def _checked(description: OptionDescription, value: Any, base: str | None, wantsList: bool) -> Any:
    result = _converted(description.type, value, base)
    _checkChoices(description, result)
    _checkRange(description, result)
    return list(result) if wantsList else result


def _converted(kind: str, value: Any, base: str | None) -> Any:
    if kind == "duration":
        return duration(value)
    if kind == "size":
        return size(value)
    if kind == "list":
        if not isinstance(value, (list, tuple)) or not all(isinstance(entry, str) for entry in value):
            raise ValueError(f"must be a list of texts, not {_shown(value)}")
        return tuple(value)
    if kind == "list of lists":
        if not isinstance(value, (list, tuple)) or not all(isinstance(entry, (list, tuple)) for entry in value):
            raise ValueError(f"must be a list of lists, not {_shown(value)}")
        return tuple(_converted("list", entry, base) for entry in value)
    wanted: tuple[type, ...] = {"boolean": (bool,), "integer": (int,), "number": (int, float)}.get(kind, (str,))
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind != "boolean"):
        expected = {"boolean": "true or false", "integer": "a whole number", "number": "a number"}.get(kind, "a text")
        raise ValueError(f"must be {expected}, not {_shown(value)}")
    if kind == "path" and value and base is not None:
        return os.path.normpath(os.path.join(base, str(value)))
    return value


def _checkChoices(description: OptionDescription, value: Any) -> None:
    if description.choices is None:
        return
    for entry in value if description.type == "list" else (value,):
        if entry not in description.choices:
            raise _NotAChoice(entry, description.choices)


def _checkRange(description: OptionDescription, value: Any) -> None:
    if description.range is None:
        return
    low, high = description.range
    counted = len(value) if isinstance(value, (str, tuple)) else value
    what = "have a length " if isinstance(value, (str, tuple)) else "be "
    if (low is not None and counted < low) or (high is not None and counted > high):
        if low is not None and high is not None:
            bounds = f"between {low:g} and {high:g}"
        else:
            bounds = f"at least {low:g}" if low is not None else f"at most {high:g}"
        unit = f" {description.unit}" if description.unit else ""
        raise ValueError(f"must {what}{bounds}{unit}, not {counted:g}")


def _alternatives(choices: Collection[str]) -> str:
    quoted = [f'"{choice}"' for choice in choices]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " or " + quoted[-1]


def _shown(value: Any) -> str:
    """A wrong value in a message, short and in the words of TOML."""
    if isinstance(value, Mapping):
        return "a table"
    text = tomlValue(value)
    return text if len(text) <= 60 else text[:57] + "…"
