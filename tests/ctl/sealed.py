"""Runs a command as ``MemoryDenyWriteExecute=yes`` of systemd would: no memory both writable and executable.

The seccomp filter is that of systemd.exec(5): mmap with PROT_WRITE and PROT_EXEC together is refused, and so is
mprotect or pkey_mprotect with PROT_EXEC. x86-64 only. Usage: ``python -m tests.ctl.sealed command …``
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

_MMAP, _MPROTECT, _PKEY_MPROTECT = 9, 10, 329
_WRITE, _EXEC = 2, 4
_LOAD, _JUMP_EQUAL, _AND, _RETURN = 0x20, 0x15, 0x54, 0x06
_ALLOW, _EPERM = 0x7FFF0000, 0x00050001
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 38, 22, 2
_NUMBER, _PROTECTION = 0, 32


def _step(code: int, value: int, whenTrue: int = 0, whenFalse: int = 0) -> bytes:
    return struct.pack("HBBI", code, whenTrue, whenFalse, value)


def _program() -> bytes:
    """Load the number, branch to the one of two masks that fits, refuse if the masked protection is all of it."""
    return b"".join(
        (
            _step(_LOAD, _NUMBER),
            _step(_JUMP_EQUAL, _MMAP, 3, 0),
            _step(_JUMP_EQUAL, _MPROTECT, 6, 0),
            _step(_JUMP_EQUAL, _PKEY_MPROTECT, 5, 0),
            _step(_RETURN, _ALLOW),
            _step(_LOAD, _PROTECTION),
            _step(_AND, _WRITE | _EXEC),
            _step(_JUMP_EQUAL, _WRITE | _EXEC, 5, 0),
            _step(_RETURN, _ALLOW),
            _step(_LOAD, _PROTECTION),
            _step(_AND, _EXEC),
            _step(_JUMP_EQUAL, _EXEC, 1, 0),
            _step(_RETURN, _ALLOW),
            _step(_RETURN, _EPERM),
        )
    )


def seal() -> None:
    """Put the filter over this process and its children."""
    libc = ctypes.CDLL(None, use_errno=True)
    program = ctypes.create_string_buffer(_program())
    header = struct.pack("HxxxxxxQ", (len(program) - 1) // 8, ctypes.addressof(program))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(_PR_SET_SECCOMP, _FILTER, header, 0, 0):
        raise OSError(ctypes.get_errno(), "the filter was not taken")


if __name__ == "__main__":
    seal()
    os.execv(sys.argv[1], sys.argv[1:])
