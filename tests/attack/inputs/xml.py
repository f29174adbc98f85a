"""XML that RFC 6120 forbids, XML that is none, and too much of it (hardening X01-X10, RFC 6120 11)."""

from __future__ import annotations

_ENTITIES = [f"<!ENTITY {name} '{f'&{below};' * 10}'>" for below, name in zip("abcdefghi", "bcdefghij", strict=True)]

LAUGHS = f"<!DOCTYPE lol [<!ENTITY a 'ha'>{''.join(_ENTITIES)}]>"

FORBIDDEN = {
    "billion laughs": LAUGHS,
    "external entity": "<!DOCTYPE a SYSTEM 'file:///etc/passwd'>",
    "external parameter entity": "<!DOCTYPE a [<!ENTITY % x SYSTEM 'http://192.0.2.1/'> %x;]>",
    "internal subset": "<!DOCTYPE a [<!ATTLIST message to CDATA 'x'>]>",
    "processing instruction": "<?php echo 1?>",
    "style sheet": "<?xml-stylesheet href='x'?>",
    "comment": "<!-- hello -->",
    "empty comment": "<!---->",
}

PLACES = ("{}", "<message to='x@localhost'><body>{}</body></message>", "<message>{}</message>")

MALFORMED: dict[str, bytes] = {
    "mismatched tags": b"<message><body></message></body>",
    "a bracket in an attribute": b"<message id='<'/>",
    "an attribute twice": b"<message id='1' id='2'/>",
    "an attribute twice by its namespace": b"<message xmlns:a='u' xmlns:b='u' a:x='1' b:x='2'/>",
    "an attribute without quotes": b"<message id=1/>",
    "no space between attributes": b"<message id='1'to='2'/>",
    "a bare ampersand": b"<message><body>a & b</body></message>",
    "the end of CDATA in text": b"<message><body>]]></body></message>",
    "overlong slash": b"<message><body>\xc0\xaf</body></message>",
    "overlong three": b"<message><body>\xe0\x80\xaf</body></message>",
    "overlong NUL": b"<message><body>\xc0\x80</body></message>",
    "a lone surrogate": b"<message><body>\xed\xa0\x80</body></message>",
    "a surrogate pair": b"<message><body>\xed\xa0\xbd\xed\xb8\x80</body></message>",
    "beyond Unicode": b"<message><body>\xf4\x90\x80\x80</body></message>",
    "five bytes": b"<message><body>\xf8\x88\x80\x80\x80</body></message>",
    "a lone continuation": b"<message><body>\x80</body></message>",
    "a character cut short": b"<message><body>\xe2\x82</body></message>",
    "a cut character before a quote": b"<message id='\xe2'/>",
    "a cut character in a name": b"<message><b\xe2></b\xe2></message>",
    "NUL": b"<message><body>\0</body></message>",
    "NUL by reference": b"<message><body>&#0;</body></message>",
    "a control character": b"<message><body>\x07</body></message>",
    "a control character by reference": b"<message><body>&#x7;</body></message>",
    "a surrogate by reference": b"<message><body>&#xD800;</body></message>",
    "U+FFFF": b"<message><body>\xef\xbf\xbf</body></message>",
    "U+FFFE by reference": b"<message><body>&#xFFFE;</body></message>",
    "beyond Unicode by reference": b"<message><body>&#x110000;</body></message>",
    "an escape in an attribute": b"<message id='\x1b'/>",
    "a name with a space": b"< message/>",
    "no name": b"<></>",
    "a name with two colons": b"<a:b:c/>",
    "an empty prefix declaration": b"<message xmlns:a=''/>",
    "the prefix xml elsewhere": b"<message xmlns:xml='urn:example:x'/>",
    "the prefix xmlns": b"<message xmlns:xmlns='urn:example:x'/>",
    "a namespace with a separator": b"<message xmlns:a='urn:x y'><a:b/></message>\x01",
}

MEGABYTES = b"x" * 10_000_000

HUGE: dict[str, tuple[bytes, bytes]] = {
    "text": (b"<message><body>", b""),
    "text with references": (b"<message><body>&amp;", b"&amp;"),
    "an attribute": (b"<message id='", b""),
    "an attribute's name": (b"<message x", b""),
    "a tag's name": (b"<", b""),
    "white space in a tag": (b"<message ", b" "),
    "a prefix": (b"<message xmlns:", b""),
    "a namespace": (b"<message xmlns:a='", b""),
    "brackets in an attribute": (b"<message id='", b">"),
    "CDATA": (b"<message><body><![CDATA[", b""),
    "elements": (b"<message>", b"<a/>"),
    "depth": (b"<message>", b"<a>"),
}

MUCH = {
    "depth": "<a>" * 20_000 + "</a>" * 20_000,
    "attributes": "<a " + " ".join(f"a{n}=''" for n in range(20_000)) + "/>",
    "a few attributes too many": "<a " + " ".join(f"a{n}=''" for n in range(65)) + "/>",
    "elements": "<a/>" * 60_000,
    "declarations": "<a " + " ".join(f"xmlns:a{n}='u{n}'" for n in range(2_000)) + "/>",
    "depth beyond the limit": "<a>" * 64 + "</a>" * 64,
}

SEQUENCES = [
    *(bytes([first, second]) for first in (0xC0, 0xC1, 0xC2, 0xDF) for second in (0x00, 0x3C, 0x80, 0xBF, 0xC0)),
    *(bytes([first, second, 0x80]) for first in (0xE0, 0xE2, 0xED, 0xEF) for second in (0x80, 0x9F, 0xA0, 0xBF, 0x3C)),
    *(bytes([first, second, 0x80, 0x80]) for first in (0xF0, 0xF4, 0xF5, 0xFF) for second in (0x80, 0x8F, 0x90, 0xBF)),
    *(bytes([code]) for code in (*range(0x20), 0x7F, 0x80, 0xFE, 0xFF)),
    *(chr(code).encode() for code in (0x80, 0x85, 0x9F, 0xFDD0, 0xFFFD, 0xFFFE, 0xFFFF, 0x1FFFE, 0x10FFFF)),
    *(chr(code).encode() for code in (0x2028, 0xFEFF)),
    b"]]>", b"\r\n", b"\r", b"]]&gt;", b"\xe2\x80\xae", b"a\r\rb",
]  # fmt: skip
