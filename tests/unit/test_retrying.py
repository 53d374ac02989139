"""Pauses between attempts."""

from __future__ import annotations

from plproxy_py._retrying import MOST_PAUSE, pause


def test_pauses_grow_and_are_spread() -> None:
    assert pause(0, 0.0) == 0
    longest = [pause(number, 1.0) for number in range(12)]
    assert longest == sorted(longest)
    assert longest[0] < 0.1
    assert longest[-1] == MOST_PAUSE == pause(10**9, 1.0)
    assert pause(3, 0.5) == pause(3, 1.0) / 2
