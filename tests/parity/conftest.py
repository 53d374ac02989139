"""Both sides, for one test; each test twice where a catalog can be read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from plproxy_py import Router
from tests.fix_plproxy import Plproxy
from tests.parity.compare import Both

# Functions come to our side as text, or are read from the proxy's catalog.
WAYS = ["define", "reflect"] if hasattr(Router, "reflect") else ["define"]


@pytest.fixture(params=WAYS)
def both(request: pytest.FixtureRequest, plproxy: Plproxy) -> Iterator[Both]:
    """The real extension and a router, each as the role ``app``."""
    both = Both(plproxy, reflected=request.param == "reflect", allow_connect=True)
    yield both
    both.close()
