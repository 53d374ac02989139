"""How long tests of chance go on: by default what fits into every run."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session")
def times() -> int:
    """How many times the usual number of examples and interruptions is wanted."""
    return int(os.environ.get("PLPROXY_TEST_TIMES", "1"))
