"""Typed options: values, checks, messages and what the manual is made from."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from xmppservice.hub import options
from xmppservice.hub.options import Duration, FilePath, OptionError, Size, describeOptions, option, parseOptions


@attrs.frozen
class Everything:
    """One option of each type."""

    isOpen: bool = option(False, "Whether anybody may.")
    tries: int = option(5, "How often.", range=(1, 10))
    share: float = option(0.5, "How much.", range=(0, None))
    greeting: str = option("", "What to say.", range=(None, 8))
    policy: str = option("required", "Which policy.", choices=("required", "optional"))
    names: list[str] = option(["a"], "Who.")
    kinds: tuple[str, ...] = option((), "Which kinds.", choices=("chat", "normal"))
    authTime: Duration = option(30.0, "How long.", range=(1, 3600))
    stanzaBytes: Size = option(262144, "How big.")
    secretFile: FilePath = option("", "Where the secret is.")
    nickname: str | None = option(None, "A name, if any.")


def refused(table: dict[str, Any], where: tuple[str, ...] = ("limits",)) -> OptionError:
    """The error that a table gives."""
    with pytest.raises(OptionError) as caught:
        parseOptions(Everything, table, where)
    return caught.value


def test_defaults() -> None:
    """An empty table gives the defaults, and a default list is not shared."""
    first, second = parseOptions(Everything, {}), parseOptions(Everything, {})
    assert first == Everything()
    first.names.append("b")
    assert second.names == ["a"]


def test_everyType() -> None:
    """Each type takes its TOML value, and keys are the snake_case of the attributes."""
    made = parseOptions(
        Everything,
        {
            "is_open": True,
            "tries": 3,
            "share": 2,
            "greeting": "hi",
            "policy": "optional",
            "names": ["x", "y"],
            "kinds": ["chat"],
            "auth_time": "5 min",
            "stanza_bytes": "8 KiB",
            "secret_file": "irc.secret",
            "nickname": "n",
        },
        base="/etc/x",
    )
    assert made == Everything(
        isOpen=True,
        tries=3,
        share=2.0,
        greeting="hi",
        policy="optional",
        names=["x", "y"],
        kinds=("chat",),
        authTime=300.0,
        stanzaBytes=8192,
        secretFile="/etc/x/irc.secret",
        nickname="n",
    )


def test_frozen() -> None:
    """Options cannot be changed behind the configuration's back."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Everything().tries = 4  # type: ignore[misc]


def test_unknownKey() -> None:
    """An unknown key is an error that names the nearest known one."""
    error = refused({"tires": 3})
    assert error.path == ("limits", "tires")
    assert error.suggestion == "tries"
    assert str(error) == "limits.tires: unknown key (did you mean 'tries'?)"
    assert refused({"zzzzzz": 3}).suggestion is None


def test_hostInKey() -> None:
    """A key with a dot in it is quoted in the message as it must be in the file."""
    assert refused({"tires": 1}, ("hosts", "example.com", "ping")).key == 'hosts."example.com".ping.tires'


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"is_open": 1}, "must be true or false, not 1"),
        ({"is_open": "yes"}, 'must be true or false, not "yes"'),
        ({"tries": True}, "must be a whole number, not true"),
        ({"tries": 2.5}, "must be a whole number, not 2.5"),
        ({"tries": 11}, "must be between 1 and 10, not 11"),
        ({"share": -1}, "must be at least 0, not -1"),
        ({"greeting": "123456789"}, "must have a length at most 8, not 9"),
        ({"greeting": 5}, "must be a text, not 5"),
        ({"policy": "none"}, 'must be "required" or "optional", not "none"'),
        ({"kinds": ["chat", "groupchat"]}, 'must be "chat" or "normal", not "groupchat"'),
        ({"names": "a"}, 'must be a list of texts, not "a"'),
        ({"names": [1]}, "must be a list of texts, not [1]"),
        ({"auth_time": "soon"}, 'must be a duration such as 30, "30 s" or "5 min", not \'soon\''),
        ({"auth_time": "0 s"}, "must be between 1 and 3600 seconds, not 0"),
        ({"auth_time": -3}, 'must be a duration such as 30, "30 s" or "5 min", not -3'),
        ({"stanza_bytes": "8 KiX"}, "must be a size in bytes such as 4096 or \"256 KiB\", not '8 KiX'"),
        ({"stanza_bytes": {}}, 'must be a size in bytes such as 4096 or "256 KiB"'),
        ({"tries": {"a": 1}}, "must be a whole number, not a table"),
    ],
)
def test_wrongValues(table: dict[str, Any], problem: str) -> None:
    """Each wrong value is refused in words an operator understands."""
    assert refused(table).problem == problem


def test_suggestsChoice() -> None:
    """A mistyped choice names the right one, also in a list."""
    assert refused({"policy": "optionl"}).suggestion == "optional"
    assert refused({"kinds": ["chatt"]}).suggestion == "chat"


def test_notATable() -> None:
    """A scalar where a section belongs is refused as such."""
    with pytest.raises(OptionError, match="limits: must be a table, not 5"):
        parseOptions(Everything, 5, "limits")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "seconds"), [(5, 5), (0.5, 0.5), ("30", 30), ("30s", 30), ("2 h", 7200), ("250 ms", 0.25), ("1 d", 86400)]
)
def test_durations(text: float | str, seconds: float) -> None:
    """Durations are numbers or texts with a unit."""
    assert options.duration(text) == seconds


@pytest.mark.parametrize(("text", "count"), [("10 kB", 10_000), ("1.5 MiB", 1572864), ("64 B", 64), ("2gib", 2**31)])
def test_sizes(text: float | str, count: int) -> None:
    """Sizes are numbers or texts with a unit, decimal and binary."""
    assert options.size(text) == count


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "", "1 1", "١ s"])
def test_oddQuantities(value: Any) -> None:
    """TOML can say nan, inf and much else; no duration comes of it."""
    with pytest.raises(ValueError, match="must be a duration"):
        options.duration(value)


def test_describe() -> None:
    """The reference page gets key, type, default, unit, range, choices and help of every option."""
    described = {entry.key: entry for entry in describeOptions(Everything)}
    assert list(described)[:2] == ["is_open", "tries"]
    assert described["auth_time"].type == "duration"
    assert described["auth_time"].unit == "seconds"
    assert described["auth_time"].range == (1, 3600)
    assert described["auth_time"].defaultText == '"30 s"'
    assert described["stanza_bytes"].defaultText == '"256 KiB"'
    assert described["policy"].choices == ("required", "optional")
    assert described["names"].defaultText == '["a"]'
    assert described["is_open"].defaultText == "false"
    assert all(entry.help for entry in described.values())


def test_impossibleType() -> None:
    """A field that no TOML value fits is the author's error, found when the class is read."""

    @attrs.frozen
    class Wrong:
        field: dict[str, int] = option({}, "No.")

    with pytest.raises(TypeError, match=r"Wrong\.field"):
        describeOptions(Wrong)


def test_nested() -> None:
    """Options may be nested in their module's class."""

    class Module:
        @attrs.frozen
        class Options:
            limit: int = option(10, "How many.")

    assert parseOptions(Module.Options, {"limit": 3}).limit == 3
