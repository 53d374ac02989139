"""Both sides, for one test.

Each runs twice: functions come to our side as text, or from the proxy's catalog.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fix_plproxy import Plproxy
from tests.parity.compare import Both


@pytest.fixture(params=["define", "reflect"])
def both(request: pytest.FixtureRequest, plproxy: Plproxy) -> Iterator[Both]:
    """The real extension and a router, each as the role ``app``."""
    both = Both(plproxy, reflected=request.param == "reflect", allow_connect=True)
    yield both
    both.close()
