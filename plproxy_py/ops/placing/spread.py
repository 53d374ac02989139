"""How even a spread is: shares, and what chance alone would do.

A key's hash puts it on partition i with the chance that is its share, so a partition's
count is binomial. A count is uneven where both are true: it is further from its share
than `TOLERANCE`, and chance would put any of the partitions that far less than once in
`LOOKS` times. The probability is bounded by Chernoff's exp(-n KL), which holds for
small counts as well, where the normal curve is too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

TOLERANCE = 0.1
LOOKS = 1000

# Databases hold indexes, dead rows, and what all of them have in common.
BYTES_TOLERANCE = 0.25


@dataclass(frozen=True, slots=True)
class Spread:
    """Amounts beside the shares of the whole that they should be; shares sum to 1.

    ``independent``: how many keys were thrown, None where it was no throwing of keys.
    ``total``: all amounts together.
    """

    amounts: tuple[int, ...]
    shares: tuple[float, ...]
    independent: int | None
    tolerance: float = TOLERANCE
    total: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", sum(self.amounts))

    def times(self, index: int) -> float | None:
        """Return how many times its share an amount is, None of nothing."""
        expected = self.total * self.shares[index]
        return self.amounts[index] / expected if expected else None

    def is_uneven(self, index: int) -> bool:
        """Tell whether an amount is further from its share than chance explains."""
        times = self.times(index)
        if times is None or abs(times - 1) <= self.tolerance:
            return False
        if self.independent is None:
            return True
        share = self.shares[index]
        divergence = _divergence(self.amounts[index] / self.total, share)
        return self.independent * divergence > self._bound

    @property
    def uneven(self) -> list[int]:
        """The uneven ones by position, the furthest from its share first."""
        found = [index for index in range(len(self.amounts)) if self.is_uneven(index)]
        return sorted(found, key=self._distance, reverse=True)

    @property
    def furthest(self) -> int:
        """The position of the amount that is furthest from its share."""
        return max(range(len(self.amounts)), key=self._distance)

    def _distance(self, index: int) -> float:
        return abs((self.times(index) or 1) - 1)

    @property
    def chance(self) -> float | None:
        """How far from its share, 0.1 for 10 %, chance alone puts an amount at most."""
        if not self.independent:
            return None
        rarest = min(self.shares)
        variance = (1 - rarest) / (rarest * self.independent)
        return math.sqrt(2 * self._bound * variance)

    @property
    def _bound(self) -> float:
        # Each amount may lie on either side.
        return math.log(2 * len(self.amounts) * LOOKS)


def _divergence(found: float, share: float) -> float:
    """Return the Kullback-Leibler divergence of two coins, in nats."""
    return _term(found, share) + _term(1 - found, 1 - share)


def _term(found: float, share: float) -> float:
    if not found:
        return 0.0
    return found * math.log(found / share) if share else math.inf


def even_shares(weights: Sequence[int]) -> tuple[float, ...]:
    """Return the share of each weight, say of its number of partitions."""
    total = sum(weights)
    return tuple(weight / total for weight in weights)
