"""Reads Python source as syntax trees: what it imports and defines. Used by the tests of the house rules."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Import:
    """One imported name: ``from a.b import c`` gives ``a.b.c``."""

    target: str
    line: int
    typing: bool

    @property
    def top(self) -> str:
        """The distribution's top-level name."""
        return self.target.partition(".")[0]

    def within(self, *prefixes: str) -> bool:
        """Whether the name is one of these modules or inside one of them."""
        return any(self.target == prefix or self.target.startswith(prefix + ".") for prefix in prefixes)


class Source:
    """One file: its path from the project's root, text, tree and imports."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self.tree = ast.parse(text, path)
        parts = path.removesuffix(".py").split("/")
        self.package = path.endswith("/__init__.py")
        self.parts = tuple(parts[:-1] if self.package else parts)
        self.module = ".".join(self.parts)

    @property
    def area(self) -> str:
        """The folder or file directly inside the package ("" for its own ``__init__``)."""
        return self.parts[1] if len(self.parts) > 1 else ""

    @property
    def ours(self) -> bool:
        """Whether this is a file of the package, not of tests or benchmarks."""
        return self.parts[0] == "xmppservice"

    @cached_property
    def imports(self) -> list[Import]:
        """Every import, also those inside functions; relative ones resolved."""
        typing = {id(node) for block in self._typingBlocks() for part in block.body for node in ast.walk(part)}
        found = []
        for node in ast.walk(self.tree):
            for target in self._targets(node):
                found.append(Import(target, getattr(node, "lineno", 0), id(node) in typing))
        return found

    def _typingBlocks(self) -> Iterator[ast.If]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
                yield node

    def _targets(self, node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = self.parts if self.package else self.parts[:-1]
                up = up[: len(up) - node.level + 1]
                base = ".".join((*up, base)) if base else ".".join(up)
            yield from (f"{base}.{alias.name}" for alias in node.names)

    @cached_property
    def functions(self) -> list[Function]:
        """Every function and method, nested ones too."""
        return [node for node in ast.walk(self.tree) if isinstance(node, Function)]

    @cached_property
    def lines(self) -> int:
        """Number of lines in the file."""
        return self.text.count("\n") + 1


def bodyLines(function: Function) -> int:
    """Lines of a function's body, its docstring not counted."""
    body = function.body
    if ast.get_docstring(function, clean=False) is not None:
        body = body[1:]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def words(name: str) -> list[str]:
    """Splits ``someHTTPName_two`` into lower-case words."""
    return [part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def definedNames(source: Source) -> Iterator[tuple[str, int]]:
    """Names that this file gives to things: itself, classes, functions, parameters, variables, own attributes."""
    yield source.parts[-1], 1
    for node in ast.walk(source.tree):
        if isinstance(node, Function | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
                yield node.attr, node.lineno


def readTree(*folders: str, root: Path = ROOT) -> list[Source]:
    """Reads every Python file below these folders of the project."""
    files = (path for folder in folders for path in sorted((root / folder).rglob("*.py")))
    own = (path for path in files if not {"node_modules", "__pycache__", "_build"} & set(path.parts))
    return [Source(path.relative_to(root).as_posix(), path.read_text("utf-8")) for path in own]


def synthetic(files: Mapping[str, str]) -> list[Source]:
    """Makes sources of texts, so that a rule can be seen to fail."""
    return [Source(path, text) for path, text in files.items()]
