"""The how-to on other servers says what the server does: configurations, documents, numbers, advice."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.sources import ROOT
from xmppservice.edge.s2s.posh import readDocument
from xmppservice.edge.settings import StreamSettings
from xmppservice.hub.federation.advice import ADVICE
from xmppservice.server.federation import Plan, plan
from xmppservice.settings import loadSettings

TEXT = (ROOT / "docs" / "howto" / "federation.rst").read_text("utf-8")


def blocks(language: str) -> list[str]:
    """The code blocks of a language."""
    found = re.findall(rf"^\.\. code-block:: {language}\n\n((?:    .*\n|\n)+)", TEXT, re.MULTILINE)
    return [textwrap.dedent(block) for block in found]


def planned(folder: Path, text: str) -> Plan:
    """What the server makes of a configuration."""
    (folder / "authorities.pem").write_text("")
    (folder / "x.toml").write_text(f'{text}\n[hosts."example.com"]\n')
    settings: Any = loadSettings(str(folder / "x.toml"), {})
    assert settings.warnings == ()
    return plan(settings, StreamSettings(), None)


def test_configurations(tmp_path: Path) -> None:
    """Each one is taken, and means what the text says."""
    found = [planned(tmp_path, text) for text in blocks("toml")]
    assert len(found) == 9
    assert [each.posh for each in found].count(True) == [each.dane for each in found].count(True) == 1
    assert [not each.federation.certificates for each in found].count(True) == 1
    policy = next(each for each in found if each.federation.deny)
    assert not policy.federation.allows("a.spam.example") and policy.federation.allows("example.org")
    assert str(policy.overrides["other.example"][0]) == "xmpp.other.example port 443 (direct TLS)"
    assert len(policy.refused) > 1 and policy.resolver == ("127.0.0.1:53",)


def test_defaults(tmp_path: Path) -> None:
    """The numbers in the text are those of the code."""
    default = planned(tmp_path, "").federation
    assert default.certificates and planned(tmp_path, "").policy.tls == "required"
    assert (default.queueTime, default.queueStanzas, default.queueBytes) == (20, 1000, 1 << 20)
    assert (default.allBytes, default.longestPause, default.resumption) == (64 << 20, 60, 300)


def test_document() -> None:
    """The POSH document has the fingerprint that the command shows."""
    (text,) = blocks("json")
    document = readDocument(text.encode())
    assert len(document.fingerprints) == 1 and document.expires == 86400
    assert re.search(r'"sha-256": "([^"]+)"', text)[1] in TEXT.partition(".. code-block:: json")[0]  # type: ignore[index]


def test_advice() -> None:
    """The table has every reason with its advice, in the order in which they count."""
    rows = re.findall(r"^   \* - (.+)\n     - (.+)$", TEXT, re.MULTILINE)[1:]
    assert tuple(rows) == ADVICE


@pytest.mark.parametrize("word", ["up", "waiting", "unreachable", "refused", "nothing proved yet"])
def test_states(word: str) -> None:
    """Each state that the list shows is explained, and is one that the list shows."""
    assert f"\n``{word}``" in TEXT
    assert f'"{word}"' in (ROOT / "xmppservice/hub/federation/commands.py").read_text("utf-8")
