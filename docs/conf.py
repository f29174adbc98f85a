"""Sphinx configuration; the reference pages are made from the code each time."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import generate  # noqa: E402

from xmppservice import __version__  # noqa: E402

generate.writeAll(HERE / "reference")

project = "xmppservice"
author = copyright = "The xmppservice contributors"
version = release = __version__
extensions: list[str] = []
exclude_patterns = ["_build", "listings"]
html_theme = "alabaster"
highlight_language = "python"
nitpicky = True
