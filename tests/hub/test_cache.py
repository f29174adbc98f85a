"""The cache that is bounded by bytes."""

from __future__ import annotations

from xmppservice.hub.cache import ByteBoundedCache


def cache(limit: int = 10) -> ByteBoundedCache[str, bytearray]:
    """A cache of byte arrays."""
    return ByteBoundedCache(limit, len)


def test_leastRecentlyUsedGoes() -> None:
    """Over the bound, what was used longest ago goes first, and the sizes add up."""
    made = cache()
    for key in "abc":
        made.put(key, bytearray(3))
    assert made.get("a") is not None
    made.put("d", bytearray(3))
    assert (list(made), made.size) == (["c", "a", "d"], 9)
    assert made.get("b") is None
    assert (made.hits, made.misses) == (1, 1)


def test_replaceAndForget() -> None:
    """A new value takes the old one's place and size."""
    made = cache()
    made.put("a", bytearray(8))
    made.put("a", bytearray(2))
    assert (len(made), made.size, "a" in made) == (1, 2, True)
    assert made.pop("a") == bytearray(2)
    assert (made.pop("a"), made.size, len(made)) == (None, 0, 0)


def test_tooLarge() -> None:
    """What is larger than the whole cache is not kept, and pushes nobody out."""
    made = cache()
    made.put("a", bytearray(3))
    made.put("b", bytearray(11))
    assert (list(made), made.size) == (["a"], 3)


def test_growth() -> None:
    """A value that grows in place is measured again when told."""
    made = cache()
    made.put("a", bytearray(2))
    value = bytearray(2)
    made.put("b", value)
    value.extend(bytes(7))
    made.resized("b")
    made.resized("nobody")
    assert (list(made), made.size) == (["b"], 9)
    made.clear()
    assert (len(made), made.size) == (0, 0)
