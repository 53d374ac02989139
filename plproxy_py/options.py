"""What a declaration says beyond PL/Proxy's statements.

Held by every function, and overridden for one callable by ``with_options``.
"""

from __future__ import annotations

from collections.abc import Sequence

from plproxy_py._record import record

SETTLE = 1.0


@record
class Options:
    """How a call runs.

    ``timeout``: seconds for the whole call. ``settle``: seconds that the others get
    once a partition failed, None for as long as it takes. ``partial``: missing
    partitions are allowed, ``need`` the least number that must answer then. ``first``:
    the first partition with a row ends the call. ``idempotent``: a call may be
    repeated, or broken off, without harm. ``retry``: how many more attempts may be
    made where nothing of the call is there. ``sensitive``: names of arguments whose
    values are in no text.
    """

    timeout: float | None = None
    settle: float | None = SETTLE
    need: int = 1
    partial: bool = False
    first: bool = False
    idempotent: bool = False
    retry: int | None = None
    sensitive: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_seconds("timeout", self.timeout, zero=False)
        _check_seconds("settle", self.settle, zero=True)
        if isinstance(self.need, bool) or not isinstance(self.need, int):
            raise TypeError(f"need is a number, not {type(self.need).__name__}")
        if self.need < 1:
            raise ValueError("need is at least 1")
        if self.retry is not None:
            _check_retry(self.retry)
        if not all(isinstance(name, str) for name in self.sensitive):
            raise TypeError("sensitive is a tuple of names")
        for name in ("partial", "first", "idempotent"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} is True or False")


def names_of(sensitive: object) -> tuple[str, ...]:
    """Return the names of sensitive arguments. Raise TypeError for what is none."""
    if isinstance(sensitive, str) or not isinstance(sensitive, Sequence):
        raise TypeError(
            f"write sensitive=({sensitive!r},), a tuple of names"
            if isinstance(sensitive, str)
            else "sensitive is a tuple of names"
        )
    return tuple(sensitive)


def _check_retry(retry: object) -> None:
    if isinstance(retry, bool) or not isinstance(retry, int):
        raise TypeError(f"retry is a number, not {type(retry).__name__}")
    if retry < 0:
        raise ValueError("retry is at least 0")


def _check_seconds(name: str, seconds: object, *, zero: bool) -> None:
    if seconds is None:
        return
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{name} is a number of seconds, not {type(seconds).__name__}")
    try:
        seconds = float(seconds)
    except OverflowError:
        raise ValueError(f"{name} is out of range") from None
    if not (seconds > 0 or (zero and seconds == 0)):
        least = "at least" if zero else "above"
        raise ValueError(f"{name} is {least} 0 seconds; leave it out for the default")
