"""Partition numbers, as people read them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby


def spans(numbers: Iterable[int]) -> str:
    """Return numbers as ``0-5, 8``, ascending, each once."""
    texts = []
    ordered = enumerate(sorted(set(numbers)))
    for _, run in groupby(ordered, key=lambda item: item[1] - item[0]):
        found = [number for _, number in run]
        last = "" if len(found) == 1 else f"-{found[-1]}"
        texts.append(f"{found[0]}{last}")
    return ", ".join(texts)
