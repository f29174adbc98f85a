r"""JID escaping (XEP-0106): names from elsewhere as local parts, and back.

A gateway makes local parts out of what people are called in another network, where names may have characters that a
local part excludes; ``"d'artagnan"`` becomes ``d\27artagnan``. Only whoever shows such a name to people, or hands it
to the other network, undoes this. A server does not: it routes and compares escaped addresses as they are.
"""

from __future__ import annotations

import re
from typing import Final

FEATURE: Final = r"jid\20escaping"
"""What a gateway that escapes has among its features (section 6)."""

_ESCAPED: Final = {f"\\{ord(character):02x}": character for character in " \"&'/:<>@\\"}
_SEQUENCES: Final = "|".join(sequence[1:] for sequence in _ESCAPED)
_unescapable = re.compile(rf"\\(?:{_SEQUENCES})")
# A backslash is escaped only where it would be read as the start of a sequence (section 4.2, 3). Upper-case digits
# count too: a local part is lower-cased on its way, and would have the sequence then.
_excluded = re.compile(rf"[ \"&'/:<>@]|\\(?={_SEQUENCES})", re.IGNORECASE)


def escape(name: str) -> str:
    """Return a name of another network as a local part can have it; what is in its way otherwise stays.

    The result is not prepared: build an address with it, `JID.parse(f"{escape(name)}@{domain}")`.

    @raise ValueError: it begins or ends with a space, which cannot be escaped (section 3.2).
    """
    if name[:1] == " " or name[-1:] == " ":
        raise ValueError("a name that begins or ends with a space has no escaped form")
    return _excluded.sub(lambda found: f"\\{ord(found[0]):02x}", name)


def unescape(local: str) -> str:
    """Return what a local part stands for; sequences that XEP-0106 does not list stay as they are (section 4.1).

    Never compare what this returns: two addresses are the same only when their escaped forms are (section 7).
    """
    last = len(local) - 3

    def original(found: re.Match[str]) -> str:
        character = _ESCAPED[found[0]]
        # No escaped name begins or ends with a space; shown as one, it would look like another.
        return found[0] if character == " " and found.start() in (0, last) else character

    return _unescapable.sub(original, local)
