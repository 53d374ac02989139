"""Who may try a target that failed, and when: by a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from plproxy_py import ConnectError, _knocking
from plproxy_py._knocking import MOST_SHARED_WAIT, Door, Knocking
from plproxy_py._links import Session
from plproxy_py.config import parse_connstr

SESSION = Session(parse_connstr("dbname=x"), None, False)


class House:
    """Doors at ``now``; a pause is always as long as it may be."""

    def __init__(self) -> None:
        self.now = 100.0
        self.knocking = Knocking(lambda: self.now, lambda low, high: high)
        self.door = self.knocking.door(SESSION)

    async def fail(self, sqlstate: str | None = None) -> None:
        knock = await self.knocking.enter(self.door)
        error = ConnectError("refused", sqlstate=sqlstate)
        self.knocking.failed(self.door, knock, error)

    async def is_let_in(self) -> bool:
        """Whether one more may knock now; nothing comes of it."""
        try:
            knock = await self.knocking.enter(self.door)
        except ConnectError:
            return False
        self.knocking.left(self.door, knock)
        return True

    async def pause(self) -> float:
        """Return how long nobody may knock."""
        pause = max(self.door.until - self.now, 0.0)
        assert await self.is_let_in() is (pause == 0)
        self.now += pause
        assert await self.is_let_in()
        return round(pause, 2)


def at_home(test: Callable[[House], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        async def main() -> None:
            await test(House())

        asyncio.run(main())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@at_home
async def test_pauses_double(house: House) -> None:
    """None after the first failures; at the longest, one knock in a second."""
    pauses = []
    for _ in range(10):
        await house.fail()
        pauses.append(await house.pause())
    assert pauses == [0.0, 0.0, 0.0, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]


@at_home
async def test_pauses_for_a_wrong_password_are_long(house: House) -> None:
    pauses = []
    for sqlstate in ("28P01", "28000") * 4:
        await house.fail(sqlstate)
        pauses.append(await house.pause())
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


@at_home
async def test_a_pause_may_be_any_part_of_its_length(house: House) -> None:
    asked: list[tuple[float, float]] = []

    def spread(low: float, high: float) -> float:
        asked.append((low, high))
        return low

    house.knocking = Knocking(lambda: house.now, spread)
    for _ in range(5):
        await house.fail()
    assert asked == [(0.0, 0.0)] * 3 + [(0.0, 0.1), (0.0, 0.2)]


@at_home
async def test_an_answer_ends_it(house: House) -> None:
    for _ in range(4):
        house.now += 60
        await house.fail("57P03")
    assert house.knocking.has_failed(SESSION)
    house.knocking.answered(house.door)
    assert not house.knocking.has_failed(SESSION)
    assert await house.is_let_in()
    await house.fail()
    assert await house.pause() == 0.0


@at_home
async def test_the_same_error_says_since_when(house: House) -> None:
    for _ in range(4):
        await house.fail("57P03")
    house.now += 0.04
    with pytest.raises(ConnectError) as caught:
        await house.knocking.enter(house.door)
    text = "refused (it failed 0.0 s ago, the next try is in 0.1 s)"
    assert str(caught.value) == text
    assert caught.value.sqlstate == "57P03"
    # What a caller writes into it is no other caller's.
    caught.value.partition = 3
    with pytest.raises(ConnectError) as another:
        await house.knocking.enter(house.door)
    assert another.value.partition is None


@at_home
async def test_one_probes_for_all_who_pass_by(house: House) -> None:
    assert not house.knocking.has_failed(SESSION)
    for _ in range(4):
        await house.fail()
    assert house.knocking.has_failed(SESSION)
    assert not house.knocking.is_probe_due(SESSION)  # in the pause
    house.now += 0.1
    assert house.knocking.is_probe_due(SESSION)
    assert not house.knocking.is_probe_due(SESSION)
    house.now += MOST_SHARED_WAIT
    await house.knocking.enter(house.door)
    assert not house.knocking.is_probe_due(SESSION)  # one tries already


@at_home
async def test_what_fails_together_counts_once(house: House) -> None:
    house.knocking.answered(house.door)
    knocks = [await house.knocking.enter(house.door) for _ in range(5)]
    house.now += 1
    for knock in knocks:
        house.knocking.failed(house.door, knock, ConnectError("refused"))
    assert house.door.failures == 1


@pytest.mark.parametrize("failures", [0, 4])
def test_one_knocks_and_all_share_what_becomes_of_it(failures: int) -> None:
    async def main(fails: bool) -> list[object]:
        house = House()
        for _ in range(failures):
            await house.fail()
        house.now += 60
        first = await house.knocking.enter(house.door)
        others = [
            asyncio.create_task(house.knocking.enter(house.door)) for _ in range(9)
        ]
        await asyncio.sleep(0)
        assert not any(other.done() for other in others)
        if fails:
            house.knocking.failed(house.door, first, ConnectError("still down"))
        else:
            house.knocking.answered(house.door)
        return await asyncio.gather(*others, return_exceptions=True)

    errors = asyncio.run(main(fails=True))
    assert all(isinstance(error, ConnectError) for error in errors)
    assert all(str(error).startswith("still down") for error in errors)
    knocks = asyncio.run(main(fails=False))
    assert {knock.leads for knock in knocks} == {False}  # type: ignore[attr-defined]


@at_home
async def test_another_knocks_where_the_first_left(house: House) -> None:
    first = await house.knocking.enter(house.door)
    other = asyncio.create_task(house.knocking.enter(house.door))
    await asyncio.sleep(0)
    house.knocking.left(house.door, first)
    assert (await other).leads


def test_a_silent_server_is_waited_for_by_one_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The others fail as before; where nothing failed before, they may try."""
    monkeypatch.setattr(_knocking, "MOST_SHARED_WAIT", 0.01)

    async def main() -> None:
        house = House()
        first = await house.knocking.enter(house.door)
        assert first.leads
        assert not (await house.knocking.enter(house.door)).leads
        house.knocking.failed(house.door, first, ConnectError("silent"))
        house.now += 60
        assert (await house.knocking.enter(house.door)).leads
        with pytest.raises(ConnectError, match=r"silent .*it is being tried again"):
            await house.knocking.enter(house.door)

    asyncio.run(main())


def test_doors_are_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_knocking, "MOST_DOORS", 10)
    knocking = Knocking()
    sessions = [Session(parse_connstr(f"dbname=x{n}"), None, False) for n in range(30)]
    doors: list[Door] = [knocking.door(session) for session in sessions]
    assert knocking.door(sessions[-1]) is doors[-1]
    assert knocking.door(sessions[0]) is not doors[0]
