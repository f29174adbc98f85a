"""Rules about secrets that hold for the text of the code itself (A04, A07)."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import xmppservice
from xmppservice.protocol.sasl.encoding import MAX_MESSAGE
from xmppservice.protocol.sasl.mechanism import freshNonce

ROOT = Path(xmppservice.__file__).parent
SECRET = re.compile(r"key|proof|password|signature|nonce|secret|binding|token|digest|salt", re.IGNORECASE)


def trees() -> list[tuple[Path, ast.Module]]:
    """Parse all that has to do with logging in."""
    files = [*ROOT.glob("protocol/sasl/*.py"), *ROOT.glob("auth/*.py")]
    assert len(files) > 15
    return [(path, ast.parse(path.read_text())) for path in files]


def namesIn(node: ast.AST) -> set[str]:
    """Return the names and attributes that an expression mentions, but for the arguments of len()."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len":
        return set()
    own = {node.id} if isinstance(node, ast.Name) else {node.attr} if isinstance(node, ast.Attribute) else set()
    return own.union(*map(namesIn, ast.iter_child_nodes(node)))


def test_noPlainComparison() -> None:
    """No secret is compared with == or !=, whose time tells how much of it was right (A04)."""
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
                guilty = {name for name in namesIn(node) if SECRET.search(name)}
                assert not guilty, f"{path}:{node.lineno}: {guilty}"


def test_lintFinds() -> None:
    """The rule above does see what it looks for."""
    tree = ast.parse("if proof == self.storedKey: pass")
    assert namesIn(tree) == {"proof", "self", "storedKey"}


def test_noWeakRandom() -> None:
    """All randomness comes from `secrets` (A07)."""
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert "random" not in {alias.name for alias in node.names}, path
            if isinstance(node, ast.ImportFrom):
                assert node.module != "random", path


def test_nonces() -> None:
    """A hundred thousand nonces are all different, and their bits are even (A07)."""
    nonces = [freshNonce() for _ in range(100_000)]
    assert len(set(nonces)) == len(nonces)
    assert all(len(nonce) == 32 and "," not in nonce for nonce in nonces[:1000])
    counts = dict.fromkeys("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", 0)
    for letter in "".join(nonces):
        counts[letter] += 1
    mean = len(nonces) * 32 / 64
    # Six standard deviations: a false alarm in a billion runs.
    assert all(abs(count - mean) < 6 * mean**0.5 for count in counts.values())


def test_messagesFitStreamLimits() -> None:
    """The largest message in base64 stays below what a stream may carry before authentication."""
    assert MAX_MESSAGE * 4 / 3 < 8192
