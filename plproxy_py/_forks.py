"""What a forked child must have anew: locks that a thread of its parent may hold."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Renewed(Protocol):
    """Something that a forked child can't use as its parent left it."""

    def after_fork(self) -> None:
        """Begin anew. Only this thread is left, and no lock may be waited for."""


def renew_in_children(one: Renewed) -> None:
    """Let it begin anew in each forked child, as long as it lives."""
    _all.add(one)


def _renew() -> None:
    for one in list(_all):
        one.after_fork()


_all: weakref.WeakSet[Renewed] = weakref.WeakSet()

os.register_at_fork(after_in_child=_renew)
