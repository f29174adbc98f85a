"""What every test run sets up: Hypothesis profiles, and no leftovers between tests."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("default", deadline=None)
settings.register_profile("thorough", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("XMPPSERVICE_HYPOTHESIS", "default"))
