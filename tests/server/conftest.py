"""Sites for tests: folders with servers that end with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.server.site import LOCAL, Site

MakeSite = Callable[..., Site]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeSite]:
    """Make sites; none of their servers outlives the test."""
    made: list[Site] = []

    def build(text: str | None = LOCAL, listen: bool = True) -> Site:
        made.append(Site(tmp_path / f"site{len(made)}", text, listen))
        return made[-1]

    yield build
    for site in made:
        site.end()


@pytest.fixture
def site(make: MakeSite) -> Site:
    """A site with one host, localhost, not started."""
    return make()
