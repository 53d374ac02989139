"""Which targets are not worth knocking at now, and who tries next.

After a failed connect nobody knocks for a while; then one caller does, and the others
share what becomes of it. The same holds for the very first connection, so that a wrong
password is tried once, not by everybody who waits for it. No I/O: `Connector` knocks.
All but `has_failed` and `is_probe_due` belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from plproxy_py._links import Session
from plproxy_py.errors import ConnectError

# Seconds: the first pause, and the longest. A server that is back serves again within
# the longest; that one process knocks once a second is nothing to it. The first
# failures in a row have no pause behind them: a server that is only being restarted
# serves at once when it is back. Where it was the password that was refused, accounts
# are locked after a few tries, so pauses are long from the start.
FREE_FAILURES = 3
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
FIRST_LOCKOUT_PAUSE, LONGEST_LOCKOUT_PAUSE = 1.0, 60.0
LOCKOUTS = ("28P01", "28000")

# A silent server, other than one that is down, takes a knocker the whole
# connect_timeout: the others wait this long at most, then fail as they did before.
MOST_SHARED_WAIT = 1.0

MOST_DOORS = 4096


@dataclass(slots=True)
class Manners:
    """What an earlier connection taught about a target.

    ``known``: the server version that was asked, 0 before. ``is_pooled``: a pooler
    stands between. ``checks``: its sessions can be given a
    client_connection_check_interval. ``settings``: what they must be set to, other
    than the server would.
    """

    known: int = 0
    is_pooled: bool = False
    checks: bool = True
    settings: dict[str, str] = field(default_factory=dict)


_FAILED = " (it failed"


class Door:
    """One session profile's state. Times are monotonic seconds."""

    __slots__ = (
        "began",
        "error",
        "failed",
        "failures",
        "knocker",
        "manners",
        "opens",
        "probed",
        "until",
    )

    def __init__(self) -> None:
        self.opens = False  # the last knock was answered
        self.error: ConnectError | None = None
        self.failures = 0
        self.failed = 0.0
        self.until = 0.0
        self.probed = 0.0
        self.knocker: asyncio.Future[None] | None = None
        self.began = 0.0
        self.manners = Manners()


class Knock(NamedTuple):
    """When it began, and whether others wait for what becomes of it."""

    since: float
    leads: bool


class Knocking:
    """The doors of a connector.

    ``spread`` chooses between two numbers: a pause is anything from nothing to its
    full length, so that a thousand processes don't come at once.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        spread: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._clock = clock
        self._spread = spread
        self._doors: dict[Session, Door] = {}

    def has_failed(self, session: Session) -> bool:
        """Whether the last knock failed. May be asked on any thread."""
        door = self._doors.get(session)
        return door is not None and door.error is not None

    def is_probe_due(self, session: Session) -> bool:
        """Whether somebody should knock for those who pass by; true for one of them."""
        door, now = self._doors[session], self._clock()
        if door.knocker is not None or now < max(door.until, door.probed):
            return False
        door.probed = now + MOST_SHARED_WAIT
        return True

    def door(self, session: Session) -> Door:
        door = self._doors.get(session)
        if door is None:
            if len(self._doors) >= MOST_DOORS:
                # CONNECT strings that come from data may be any number.
                self._doors.pop(next(iter(self._doors)))
            door = self._doors[session] = Door()
        return door

    async def enter(self, door: Door) -> Knock:
        """Wait for leave to knock. `left` is to be called in the end.

        Raise the earlier `ConnectError`, anew, while it is not to be tried again.
        """
        while not door.opens:
            now = self._clock()
            if door.knocker is None:
                if door.error is not None and now < door.until:
                    raise self._again(door, door.error, now)
                door.knocker = asyncio.get_running_loop().create_future()
                door.began = now
                return Knock(now, True)
            patience = max(door.began + MOST_SHARED_WAIT - now, 0.0)
            done, _ = await asyncio.wait([door.knocker], timeout=patience)
            if door.error is not None:
                raise self._again(door, door.error, self._clock())
            if not done:
                break
        return Knock(self._clock(), False)

    def answered(self, door: Door) -> None:
        """Note that the server let somebody in, or would if it had room."""
        door.opens, door.error, door.failures = True, None, 0
        _release(door)

    def failed(self, door: Door, knock: Knock, error: ConnectError) -> None:
        """Note that a knock failed."""
        now = self._clock()
        # What failed together counts once.
        if knock.since >= door.failed or door.error is None:
            door.failures += 1
            door.until = now + self._spread(0.0, _longest(door.failures, error))
            door.failed = now
        # Callers write into the one that is raised.
        door.error = ConnectError(str(error), sqlstate=error.sqlstate)
        door.opens = False
        # The server that comes back may be another one.
        door.manners = Manners()
        _release(door)

    def left(self, door: Door, knock: Knock) -> None:
        """Let the others go on, if nothing became of the knock."""
        if knock.leads:
            _release(door)

    def _again(self, door: Door, error: ConnectError, now: float) -> ConnectError:
        """Return a fresh copy: an error object belongs to one raise."""
        how = (
            "it is being tried again"
            if door.knocker is not None
            else f"the next try is in {max(door.until - now, 0.0):.1f} s"
        )
        return ConnectError(
            f"{error}{_FAILED} {now - door.failed:.1f} s ago, {how})",
            sqlstate=error.sqlstate,
        )


def reason(error: Exception) -> str:
    """Return an error's text without what changes as time goes by."""
    return str(error).partition(_FAILED)[0]


def _longest(failures: int, error: ConnectError) -> float:
    """Return the most seconds to pause after so many failures in a row."""
    first, longest = FIRST_PAUSE, LONGEST_PAUSE
    doublings = failures - FREE_FAILURES - 1
    if error.sqlstate in LOCKOUTS:
        first, longest = FIRST_LOCKOUT_PAUSE, LONGEST_LOCKOUT_PAUSE
        doublings = failures - 1
    if doublings < 0:
        return 0.0
    # Beyond 2**20 nothing grows any longer.
    return min(longest, first * 2.0 ** min(doublings, 20))


def _release(door: Door) -> None:
    if door.knocker is not None:
        if not door.knocker.done():
            door.knocker.set_result(None)
        door.knocker = None
