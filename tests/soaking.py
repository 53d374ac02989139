"""The calls of a soak: what one caller does, and what it notes of it."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
import random
import threading
from collections.abc import Iterator
from typing import IO, Any

from plproxy_py import Error, Int4
from tests.both import face
from tests.fix_router import Driver

SERVERS = 4
TIMEOUT = 2.0

REMOTE = """
CREATE TABLE soaked (token text);
CREATE FUNCTION put(k int4, token text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO soaked VALUES (token);
    RETURN token;
END $$;
CREATE FUNCTION put_all(k int4, token text) RETURNS SETOF text LANGUAGE sql
    AS $$ SELECT put(k, token) $$;
CREATE FUNCTION tokens(token text, n int4) RETURNS SETOF text LANGUAGE sql
    AS $$ SELECT token FROM generate_series(1, n) $$;
"""


class Wrong(Exception):
    """An answer that is not this call's, or not the truth."""


class Log:
    """Counts what happened; what was told of writes goes to a file, not to memory."""

    def __init__(self, file: IO[str]) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []
        self._file = file
        self._lock = threading.Lock()
        self._numbers = itertools.count()

    def token(self) -> str:
        return f"t{next(self._numbers)}"

    def count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1

    def told(self, token: str, states: dict[int, str]) -> None:
        """Note what was told of each partition that was tagged."""
        with self._lock:
            for partition, state in states.items():
                self._file.write(f"{token} {partition} {state}\n")

    def failed(self, token: str | None, error: Error) -> None:
        """Note an error, and what it tells of a write."""
        if token is not None:
            self.told(token, {n: out.state for n, out in error.outcomes.items()})
        self.count(f"error {type(error).__name__} {error.sqlstate}")

    def note_wrong(self, error: BaseException) -> None:
        self.count("wrong")
        with self._lock:
            if len(self.wrong) < 20:
                self.wrong.append(f"{type(error).__name__}: {error}"[:500])


class Functions:
    """The functions of a router of either kind."""

    def __init__(self, router: Any) -> None:
        driver = Driver(router, None)  # type: ignore[arg-type]
        keyed = {"k": Int4, "token": str}
        self.router = router
        self.put = face(driver, str, keyed, name="put", run_on="k", timeout=TIMEOUT)
        self.put_all = face(driver, list[str], keyed, name="put_all", timeout=TIMEOUT)
        self.tokens = face(
            driver,
            Iterator[str],
            {"token": str, "n": Int4},
            name="tokens",
            timeout=TIMEOUT,
        )


def check(answer: Any, right: Any) -> None:
    if answer != right:
        raise Wrong(f"{str(answer)[:200]} and not {str(right)[:200]}")


def check_many(log: Log, calls: list[tuple[int, str]], results: list[Any]) -> None:
    for (k, token), result in zip(calls, results, strict=True):
        if isinstance(result, Error):
            log.failed(token, result)
        else:
            check(result, token)
            log.told(token, {k % SERVERS: "committed"})


def new_calls(log: Log, rng: random.Random) -> list[tuple[int, str]]:
    return [(rng.randrange(1000), log.token()) for _ in range(20)]


ACTS = ("one", "one", "one", "all", "outcomes", "many", "stream", "execute")
WRITES = ("one", "all")
EVERYWHERE = dict.fromkeys(range(SERVERS), "committed")


def act(functions: Functions, log: Log, rng: random.Random) -> None:
    """Make one call of some kind, and look at what it gave."""
    kind, k, token = rng.choice(ACTS), rng.randrange(1000), log.token()
    try:
        if kind == "one":
            check(functions.put(k, token), token)
            log.told(token, {k % SERVERS: "committed"})
        elif kind == "all":
            check(functions.put_all(k, token), [token] * SERVERS)
            log.told(token, EVERYWHERE)
        elif kind == "outcomes":
            outcomes = functions.put_all.call_outcomes(k, token)
            log.told(token, {n: out.state for n, out in outcomes.items()})
        elif kind == "many":
            calls = new_calls(log, rng)
            check_many(log, calls, functions.put.call_many(calls))
        elif kind == "stream":
            with functions.tokens(token, 2000) as rows:
                check({*itertools.islice(rows, rng.choice((10, 9000)))}, {token})
        else:
            rows = functions.router.execute("userdb", "SELECT $1", token, timeout=2)
            check(rows, {n: [(token,)] for n in range(SERVERS)})
    except Error as error:
        log.failed(token if kind in WRITES else None, error)
    else:
        log.count(f"good {kind}")


async def act_async(functions: Functions, log: Log, rng: random.Random) -> None:
    """Do what `act` does; one in twenty is cancelled in its middle."""
    kind, k, token = rng.choice(ACTS), rng.randrange(1000), log.token()
    try:
        if kind == "one" and rng.random() < 0.15:
            task = asyncio.ensure_future(functions.put(k, token))
            await asyncio.sleep(rng.random() * 0.005)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            log.told(token, {k % SERVERS: "unknown"})
            kind = "cancelled"
        elif kind == "one":
            check(await functions.put(k, token), token)
            log.told(token, {k % SERVERS: "committed"})
        elif kind == "all":
            check(await functions.put_all(k, token), [token] * SERVERS)
            log.told(token, EVERYWHERE)
        elif kind == "outcomes":
            outcomes = await functions.put_all.call_outcomes(k, token)
            log.told(token, {n: out.state for n, out in outcomes.items()})
        elif kind == "many":
            calls = new_calls(log, rng)
            check_many(log, calls, await functions.put.call_many(calls))
        elif kind == "stream":
            most, got = rng.choice((10, 9000)), 0
            async with functions.tokens(token, 2000) as rows:
                async for row in rows:
                    check(row, token)
                    got += 1
                    if got == most:
                        break
        else:
            rows = await functions.router.execute(
                "userdb", "SELECT $1", token, timeout=2
            )
            check(rows, {n: [(token,)] for n in range(SERVERS)})
    except Error as error:
        log.failed(token if kind in WRITES else None, error)
    else:
        log.count(f"good {kind}")
