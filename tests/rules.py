"""The house rules as functions: each takes sources and gives the places that break it."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator, Sequence

from tests.sources import Function, Import, Source, bodyLines, definedNames, words

Rule = Callable[[Sequence[Source]], list[str]]

ROWS = {
    "wire": 0,
    "protocol": 1,
    "hub": 2,
    "storage": 3,
    "auth": 3,
    "cluster": 3,
    "modules": 4,
    "edge": 4,
    "gateways": 4,
    "tap": 5,
    "server": 5,
    "ctl": 5,
    "settings": 5,
    "systemd": 5,
}
COMPOSITION = 5
SIDEWAYS = {("auth", "storage")}
# Areas outside the rows: the row below which (and including which) they may import.
BESIDE = {"interfaces": 2, "plugins": 2, "testing": COMPOSITION, "": -1}
TRANSPORT = tuple(
    f"twisted.{name}"
    for name in (
        "internet.asyncioreactor internet.endpoints internet.epollreactor internet.process internet.protocol "
        "internet.reactor internet.ssl internet.stdio internet.tcp internet.threads internet.udp internet.unix "
        "conch mail names protocols web words"
    ).split()
) + ("asyncio", "select", "selectors", "socket", "sqlite3", "ssl", "subprocess", "threading", "multiprocessing")
HUB_LIBRARIES = {"attr", "attrs", "twisted", "xmppservice", "zope"}
FORBIDDEN_WORDS = {
    word + plural for word in ("manager", "handler", "processor", "engine", "helper", "util") for plural in ("", "s")
}
MARKS = re.compile(r"\b(?:" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")
FILE_LIMIT, FILE_USUAL = 800, 400
BODY_LIMIT, BODY_USUAL = 60, 25
USUAL_SHARE = 0.9


def _ours(sources: Sequence[Source]) -> Iterator[tuple[Source, Import]]:
    for source in sources:
        if source.ours:
            for item in source.imports:
                yield source, item


def _area(item: Import) -> str:
    parts = item.target.split(".")
    return parts[1] if parts[0] == "xmppservice" and len(parts) > 1 else ""


def downwards(sources: Sequence[Source]) -> list[str]:
    """Rule 1: a file imports its own folder or a lower row."""
    problems = [f"{s.path}: belongs to no row" for s in sources if s.ours and s.area not in ROWS | BESIDE]
    for source, item in _ours(sources):
        if item.top == "xmppservice" and not _mayImport(source.area, _area(item)):
            problems.append(f"{source.path}:{item.line}: {source.area or 'the package'} imports {item.target}")
    return problems


def _mayImport(area: str, target: str) -> bool:
    if area == target or target == "__version__" or (area, target) in SIDEWAYS or area not in ROWS | BESIDE:
        return True
    if target == "plugins":
        return ROWS.get(area, COMPOSITION) >= ROWS["hub"]
    if target not in ROWS:
        return target == "interfaces" and area == "testing"
    if area in BESIDE:
        return ROWS[target] <= BESIDE[area]
    return ROWS[target] < ROWS[area] or ROWS[target] == ROWS[area] == COMPOSITION


def lowRowsArePlain(sources: Sequence[Source]) -> list[str]:
    """Rule 2: rows 0 and 1 use the standard library only, save for the libraries of ``protocol/jid.py``."""
    problems = []
    for source, item in _ours(sources):
        if source.area not in ("wire", "protocol") or item.top in sys.stdlib_module_names | {"xmppservice"}:
            continue
        if not (source.path == "xmppservice/protocol/jid.py" and item.top in ("precis_i18n", "idna")):
            problems.append(f"{source.path}:{item.line}: {source.area} imports {item.target}")
    return problems


def hubHasNoTransport(sources: Sequence[Source]) -> list[str]:
    """Rule 3: row 2 knows Deferred and zope.interface, but no transport, SQL or Redis."""
    problems = []
    for source, item in _ours(sources):
        known = item.top in sys.stdlib_module_names or item.top in HUB_LIBRARIES
        if source.area == "hub" and (not known or item.within(*TRANSPORT)):
            problems.append(f"{source.path}:{item.line}: hub imports {item.target}")
    return problems


def modulesStandAlone(sources: Sequence[Source]) -> list[str]:
    """Rule 4: a module imports no other module, and nobody imports a module by name."""
    problems = []
    for source, item in _ours(sources):
        target = item.target.split(".")
        if target[:2] == ["xmppservice", "modules"] and source.parts[:3] != tuple(target[:3]):
            problems.append(f"{source.path}:{item.line}: imports the module {item.target}")
    return problems


def oneDoor(sources: Sequence[Source]) -> list[str]:
    """Rule 5: each library has one place that uses it, and XML comes in through one parser."""
    problems = []
    for source, item in _ours(sources):
        for names, allowed in _DOORS:
            if item.within(*names) and not allowed(source):
                problems.append(f"{source.path}:{item.line}: imports {item.target}")
    return problems


def _mayUseSQL(source: Source) -> bool:
    ofTables = source.parts[-1] == "tables" or "queries" in source.parts[2:]
    return source.area == "storage" or (source.area == "modules" and ofTables)


def _mayFetch(source: Source) -> bool:
    return source.area in ("modules", "gateways") or source.parts[1:3] in (("edge", "http"), ("edge", "s2s"))


_DOORS: tuple[tuple[tuple[str, ...], Callable[[Source], bool]], ...] = (
    (("sqlalchemy", "sqlite3", "psycopg"), _mayUseSQL),
    (("redis", "txredisapi"), lambda source: source.area == "cluster"),
    (("OpenSSL",), lambda source: source.parts[1:3] == ("edge", "tls")),
    (("treq",), _mayFetch),
    (("pyexpat",), lambda source: source.path == "xmppservice/wire/parser.py"),
    (("xml", "lxml", "defusedxml", "twisted.words.xish"), lambda source: False),
    (("random",), lambda source: False),
)


def reactorInTap(sources: Sequence[Source]) -> list[str]:
    """Rule 6: the reactor is imported only in ``tap.py``."""
    return [
        f"{source.path}:{item.line}: imports the reactor"
        for source, item in _ours(sources)
        if item.within("twisted.internet.reactor") and source.path != "xmppservice/tap.py"
    ]


def testingStaysOutside(sources: Sequence[Source]) -> list[str]:
    """Rule 7: nothing in the package imports the test kit, nor the tests."""
    return [
        f"{source.path}:{item.line}: imports {item.target}"
        for source, item in _ours(sources)
        if source.area != "testing" and item.within("xmppservice.testing", "tests", "pytest", "hypothesis")
    ]


def noCycles(sources: Sequence[Source]) -> list[str]:
    """No file needs itself to be imported; imports for type checkers only do not run, and do not count."""
    known = {source.module for source in sources}
    graph = {source.module: _needs(source, known) for source in sources}
    done: set[str] = set()
    problems = []
    for start in graph:
        cycle = _findCycle(start, graph, done)
        if cycle:
            problems.append("import cycle: " + " → ".join(cycle))
    return problems


def _needs(source: Source, known: set[str]) -> list[str]:
    found = []
    for item in source.imports:
        parts = item.target.split(".")
        name = next((".".join(parts[:n]) for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in known), None)
        if name is not None and name != source.module and not item.typing:
            found.append(name)
    return found


def _findCycle(start: str, graph: dict[str, list[str]], done: set[str]) -> list[str] | None:
    path: list[str] = [start]
    pending = [iter(graph[start])]
    while pending and path[0] not in done:
        following = next(pending[-1], None)
        if following is None:
            done.add(path.pop())
            pending.pop()
            if not path:
                return None
        elif following in path:
            done.update(path)
            return [*path[path.index(following) :], following]
        elif following not in done:
            path.append(following)
            pending.append(iter(graph[following]))
    return None


def sizes(sources: Sequence[Source]) -> list[str]:
    """Files and functions keep to their limits, and nine in ten to the usual size."""
    problems = [f"{s.path}: {s.lines} lines, over {FILE_LIMIT}" for s in sources if s.lines > FILE_LIMIT]
    bodies = [(bodyLines(function), source, function) for source in sources for function in source.functions]
    for length, source, function in bodies:
        if length > BODY_LIMIT:
            problems.append(f"{source.path}:{function.lineno}: {function.name} has {length} lines, over {BODY_LIMIT}")
    problems += _share("files", FILE_USUAL, [source.lines for source in sources])
    problems += _share("functions", BODY_USUAL, [length for length, _, _ in bodies])
    return problems


def _share(what: str, usual: int, lengths: list[int]) -> list[str]:
    short = sum(length < usual for length in lengths)
    if short >= USUAL_SHARE * len(lengths):
        return []
    return [f"only {short} of {len(lengths)} {what} are under {usual} lines"]


def plainNames(sources: Sequence[Source]) -> list[str]:
    """No name hides what a thing does behind a word that fits everything."""
    return [
        f"{source.path}:{line}: the name {name}"
        for source in sources
        if source.ours
        for name, line in definedNames(source)
        if FORBIDDEN_WORDS & set(words(name))
    ]


def narrowExcept(sources: Sequence[Source]) -> list[str]:
    """No bare ``except`` and none for BaseException: a stop signal must get through."""
    problems = []
    for source in sources:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ExceptHandler):
                kind = ast.unparse(node.type) if node.type else ""
                if not kind or "BaseException" in kind:
                    problems.append(f"{source.path}:{node.lineno}: catches everything")
    return problems


def noMarks(sources: Sequence[Source]) -> list[str]:
    """Work that is left over is an issue, not a mark in the source."""
    return [
        f"{source.path}:{number}: {line.strip()}"
        for source in sources
        for number, line in enumerate(source.text.splitlines(), 1)
        if MARKS.search(line)
    ]


def noMocks(sources: Sequence[Source]) -> list[str]:
    """A double is a class that implements an interface; there is no mock library."""
    return [
        f"{source.path}:{item.line}: imports {item.target}"
        for source in sources
        for item in source.imports
        if item.within("unittest.mock", "mock", "pytest_mock")
    ]


def documented(sources: Sequence[Source]) -> list[str]:
    """Modules, public classes and functions have a docstring, and so have the methods that inherit none."""
    problems = []
    for source in sources:
        if source.ours:
            problems += [f"{source.path}:{line}: {name} has no docstring" for name, line in _undocumented(source)]
    return problems


def _undocumented(source: Source) -> Iterator[tuple[str, int]]:
    if source.tree.body and ast.get_docstring(source.tree) is None:
        yield "the module", 1
    for node in source.tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            if ast.get_docstring(node) is None:
                yield node.name, node.lineno
            if isinstance(node, ast.ClassDef) and not _inherits(node):
                yield from _undocumentedMethods(node)


def _inherits(node: ast.ClassDef) -> bool:
    """Whether a method's contract may stand in a base class or an interface."""
    bases = {ast.unparse(base) for base in node.bases} - {"object", "Interface", "Exception", "ValueError"}
    return bool(bases) or any("implementer" in ast.unparse(each) for each in node.decorator_list)


def _undocumentedMethods(node: ast.ClassDef) -> Iterator[tuple[str, int]]:
    for method in node.body:
        if isinstance(method, Function) and not method.name.startswith("_") and ast.get_docstring(method) is None:
            if not any(ast.unparse(each).endswith((".setter", "overload")) for each in method.decorator_list):
                yield f"{node.name}.{method.name}", method.lineno
