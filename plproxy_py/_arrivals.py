"""Waiting for futures in a way that Ctrl-C leaves nothing locked behind."""

from __future__ import annotations

import time
from dataclasses import dataclass

from plproxy_py._promises import wait_for
from plproxy_py._steps import Arrival


@dataclass(frozen=True, slots=True)
class Coming(Arrival):
    """An `Arrival` of promises, whose locks are nobody's to leave taken."""

    def block(self) -> None:
        wait_for(self.awaited, self.until, lambda: self.is_over(time.monotonic()))
