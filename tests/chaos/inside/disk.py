"""A disk that the test rules: below SQLite, in the server and in its writer.

The methods of SQLite's own file system (the default VFS, found by ctypes in the library that Python uses) are
replaced in place: writes, truncations, syncs and the syncing of folders are written into a journal, from which
`tests.chaos.powerloss` makes the disk as a power loss would leave it. Files in the folder of rules make the disk
worse, at once and while it runs:

``slow``
    holds the seconds that each sync takes;
``full``
    no file of the database may grow: writes behind its end fail as on a full disk;
``broken``
    holds how many of a thousand writes fail with an I/O error.
"""

from __future__ import annotations

import ctypes
import os
import random
import struct
import time
from collections.abc import Callable
from pathlib import Path

_OK, _FULL, _IOERR_WRITE = 0, 13, 778
#: Flags of xOpen: database, rollback journal, write-ahead log.
_KINDS = 0x100 | 0x800 | 0x80000

JOURNAL = "journal"
#: Kind, length of the path, time, offset or size, length of the data.
RECORD = struct.Struct("<cHdqi")
WRITE, TRUNCATE, SYNC, CREATE, DELETE, FOLDER = b"W", b"T", b"S", b"C", b"D", b"F"

_pointer, _int, _long, _text = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_char_p
_Open = ctypes.CFUNCTYPE(_int, _pointer, _text, _pointer, _int, _pointer)
_Delete = ctypes.CFUNCTYPE(_int, _pointer, _text, _int)
_Write = ctypes.CFUNCTYPE(_int, _pointer, _pointer, _int, _long)
_Truncate = ctypes.CFUNCTYPE(_int, _pointer, _long)
_Sync = ctypes.CFUNCTYPE(_int, _pointer, _int)
_OpenFolder = ctypes.CFUNCTYPE(_int, _text, _pointer)
_GetCall = ctypes.CFUNCTYPE(_pointer, _pointer, _text)
_SetCall = ctypes.CFUNCTYPE(_int, _pointer, _text, _pointer)


class _VFS(ctypes.Structure):
    """``sqlite3_vfs``, version 3."""

    _fields_ = [
        ("version", _int), ("fileSize", _int), ("longestPath", _int), ("next", _pointer), ("name", _text),
        ("data", _pointer), ("open", _pointer), ("delete", _pointer), ("access", _pointer), ("fullPath", _pointer),
        ("unused", _pointer * 9), ("setCall", _pointer), ("getCall", _pointer), ("nextCall", _pointer),
    ]  # fmt: skip


class _Methods(ctypes.Structure):
    """``sqlite3_io_methods``, version 3."""

    _fields_ = [
        ("version", _int), ("close", _pointer), ("read", _pointer), ("write", _pointer), ("truncate", _pointer),
        ("sync", _pointer), ("rest", _pointer * 13),
    ]  # fmt: skip


class _File(ctypes.Structure):
    """``sqlite3_file``: what stands behind the pointer is the VFS's own."""

    _fields_ = [("methods", ctypes.POINTER(_Methods))]


class Disk:
    """The patched file system of this process."""

    def __init__(self, rules: Path) -> None:
        self._rules = {name: str(rules / name) for name in ("slow", "full", "broken")}
        self._journal = os.open(rules / JOURNAL, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._paths: dict[int, bytes] = {}
        #: Methods by the address of the original ones, with all that must not be freed.
        self._methods: dict[int, tuple[_Methods, list[object]]] = {}
        self._kept: list[object] = []
        self._chance = random.Random(os.getpid())

    def install(self) -> None:
        """From now on every file that SQLite opens is ours."""
        import _sqlite3

        library = ctypes.CDLL(_sqlite3.__file__)
        library.sqlite3_initialize()
        library.sqlite3_vfs_find.restype = ctypes.POINTER(_VFS)
        vfs = library.sqlite3_vfs_find(None).contents
        assert vfs.version >= 3, vfs.version
        vfs.open = self._keep(_Open(self._opener(_Open(vfs.open))))
        vfs.delete = self._keep(_Delete(self._deleter(_Delete(vfs.delete))))
        original = _OpenFolder(_GetCall(vfs.getCall)(ctypes.addressof(vfs), b"openDirectory"))
        mine = self._keep(_OpenFolder(self._folderOpener(original)))
        assert _SetCall(vfs.setCall)(ctypes.addressof(vfs), b"openDirectory", mine) == _OK

    def _keep(self, function: Callable[..., int]) -> int | None:
        self._kept.append(function)
        return ctypes.cast(function, _pointer).value  # type: ignore[arg-type]

    def _note(self, kind: bytes, path: bytes, place: int = 0, data: bytes = b"") -> None:
        # One system call with O_APPEND: whole records, in one order for both processes.
        os.write(self._journal, RECORD.pack(kind, len(path), time.monotonic(), place, len(data)) + path + data)

    def _rule(self, name: str) -> float:
        try:
            with open(self._rules[name], "rb") as file:
                return float(file.read() or b"1")
        except (FileNotFoundError, ValueError):
            return 0.0

    # -- what SQLite calls ----------------------------------------------------------------------------

    def _opener(self, original: Callable[..., int]) -> Callable[..., int]:
        def opened(vfs: int, path: bytes | None, file: int, flags: int, out: int | None) -> int:
            exists = path is None or os.path.exists(path)
            result = original(vfs, path, file, flags, out)
            if result == _OK and path is not None and flags & _KINDS:
                self._paths[file] = path
                if not exists:
                    self._note(CREATE, path)
                self._wrap(_File.from_address(file))
            return result

        return opened

    def _deleter(self, original: Callable[..., int]) -> Callable[..., int]:
        def deleted(vfs: int, path: bytes, sync: int) -> int:
            self._note(DELETE, path)
            return original(vfs, path, sync)

        return deleted

    def _folderOpener(self, original: Callable[..., int]) -> Callable[..., int]:
        def opened(path: bytes, out: int) -> int:
            # SQLite opens a folder only to sync it.
            result = original(path, out)
            self._note(FOLDER, os.path.dirname(path))
            return result

        return opened

    def _wrap(self, file: _File) -> None:
        methods = file.methods.contents
        address = ctypes.addressof(methods)
        if address not in self._methods:
            copy = _Methods.from_buffer_copy(methods)
            functions: list[object] = [
                _Write(self._writer(_Write(methods.write))),
                _Truncate(self._truncater(_Truncate(methods.truncate))),
                _Sync(self._syncer(_Sync(methods.sync))),
            ]
            copy.write, copy.truncate, copy.sync = (ctypes.cast(each, _pointer).value for each in functions)  # type: ignore[arg-type]
            self._methods[address] = copy, functions
        file.methods = ctypes.pointer(self._methods[address][0])

    def _writer(self, original: Callable[..., int]) -> Callable[..., int]:
        def written(file: int, data: int, size: int, offset: int) -> int:
            path = self._paths[file]
            if self._rule("full") and offset + size > os.path.getsize(path):
                return _FULL
            if self._chance.random() * 1000 < self._rule("broken"):
                return _IOERR_WRITE
            self._note(WRITE, path, offset, ctypes.string_at(data, size))
            return original(file, data, size, offset)

        return written

    def _truncater(self, original: Callable[..., int]) -> Callable[..., int]:
        def truncated(file: int, size: int) -> int:
            self._note(TRUNCATE, self._paths[file], size)
            return original(file, size)

        return truncated

    def _syncer(self, original: Callable[..., int]) -> Callable[..., int]:
        def synced(file: int, flags: int) -> int:
            time.sleep(self._rule("slow"))
            result = original(file, flags)
            if result == _OK:
                self._note(SYNC, self._paths[file])
            return result

        return synced


def install(rules: str) -> None:
    """Take over the disk of this process, and of every writer that it starts."""
    from tests.chaos.inside import writers

    rules = os.path.abspath(rules)
    installHere(rules)
    writers.before(f"from tests.chaos.inside import disk; disk.installHere({rules!r})")


def installHere(rules: str) -> None:
    """Take over the disk of this process alone."""
    _disks.append(Disk(Path(rules)))
    _disks[-1].install()


#: They live as long as the process.
_disks: list[Disk] = []
