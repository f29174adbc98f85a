"""Date and time in XMPP (XEP-0082): seconds since the epoch to text and back.

Everything we send is UTC, so that no stamp tells where a user is.
"""

from __future__ import annotations

import re
import time
from datetime import date
from typing import Final

_EPOCH: Final = date(1970, 1, 1).toordinal()
_LAST: Final = 253402300800.0  # 10000-01-01
_FIRST: Final = -62135596800.0  # 0001-01-01
_LONGEST: Final = 64
_match = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]+)?(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
).fullmatch


def stamp(seconds: float, digits: int = 0) -> str:
    """Return a moment, in seconds since 1970, as a UTC DateTime with that many digits (0-6) of a fraction.

    The fraction is cut, not rounded, so that a stamp never lies in the future.
    """
    if not _FIRST <= seconds < _LAST:
        raise ValueError("a moment outside the years 1 to 9999")
    whole = int(seconds // 1)
    now = time.gmtime(whole)
    text = f"{now[0]:04}-{now[1]:02}-{now[2]:02}T{now[3]:02}:{now[4]:02}:{now[5]:02}"
    if digits:
        scale = 10**digits
        return f"{text}.{min(int((seconds - whole) * scale), scale - 1):0{digits}}Z"
    return text + "Z"


def parseStamp(text: str) -> float:
    """Return the seconds since 1970 that a DateTime names; raise ValueError if it is none.

    The zone is mandatory.  A leap second counts as the first second of the next minute.
    """
    found = _match(text) if len(text) <= _LONGEST else None
    if found is None:
        raise ValueError("not a date and time of XEP-0082")
    year, month, day, hour, minute, second = map(int, found.group(1, 2, 3, 4, 5, 6))
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError("a time of day that does not exist")
    days = date(year, month, day).toordinal() - _EPOCH
    offset = 0
    if found[8]:
        hours, minutes = int(found[9]), int(found[10])
        if hours > 14 or minutes > 59:
            raise ValueError("a time zone that does not exist")
        offset = (hours * 60 + minutes) * (-60 if found[8] == "-" else 60)
    whole = ((days * 24 + hour) * 60 + minute) * 60 + second - offset
    return whole + float(found[7] or 0)
