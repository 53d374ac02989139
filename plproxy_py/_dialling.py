"""One libpq connection: hosts, addresses, waits, and why it was refused.

psycopg's own connect does the same, but libpq tells no SQLSTATE of a refused connect,
only a text in whatever language the server speaks. In libpq's verbose form the code
stands in that text, and the form must be chosen between start and first answer.
Knows nothing of targets, routers or who asks.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import os
import random
import re
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from plproxy_py._libpq import set_verbosity

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

T = TypeVar("T")

_DEFAULT, _VERBOSE = 1, 2
_CODE = re.compile(r"(?m)^(.*?:  )([0-9A-Z]{5}): ")
_LOCATION = re.compile(r"(?m)^[^\n:]+:  (?:\w+, )?[^\n:]+:[0-9]+\n?\Z")

# libpq's, where connect_timeout is 0 or less, and the least that it keeps to.
LONGEST_TIMEOUT = 130.0
LEAST_TIMEOUT = 2.0


class Refused(Exception):
    """No connection. ``sqlstate``: the server's, None where no server answered."""

    def __init__(self, text: str, sqlstate: str | None = None) -> None:
        super().__init__(text)
        self.sqlstate = sqlstate


async def dial(parameters: Mapping[str, str]) -> PGconn:
    """Connect to the first host that answers. Raise `Refused`.

    ``parameters``: libpq's keywords. Names are resolved off the event loop's thread.
    """
    timeout = _timeout(parameters)
    refusals: list[Refused] = []
    for attempt in await _attempts(parameters, refusals):
        try:
            return await _attempt(attempt, timeout)
        except Refused as refused:
            refusals.append(refused)
    texts = dict.fromkeys(str(refused) for refused in refusals)
    raise Refused("\n".join(texts), refusals[-1].sqlstate)


async def apart(work: Callable[[], T], name: str) -> T:
    """Run what may block on a thread of its own, for which nobody else waits."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(set_it: Callable[..., None], value: object) -> None:
        if not future.done():
            set_it(value)

    def run() -> None:
        ended: tuple[Callable[..., None], object]
        try:
            ended = future.set_result, work()
        except BaseException as error:
            ended = future.set_exception, error
        # Nobody waits any longer where the loop was closed meanwhile.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, *ended)

    threading.Thread(target=run, name=f"plproxy_py {name}", daemon=True).start()
    return await future


def _timeout(parameters: Mapping[str, str]) -> float:
    """Return the seconds that each attempt has, by libpq's rules."""
    given = parameters.get("connect_timeout") or "0"
    try:
        seconds = int(float(given))
    except (ValueError, OverflowError):
        raise Refused(f"connect_timeout is a number, not {given!r}") from None
    return max(float(seconds), LEAST_TIMEOUT) if seconds > 0 else LONGEST_TIMEOUT


async def _attempts(
    parameters: Mapping[str, str], refusals: list[Refused]
) -> list[dict[str, str]]:
    """Split a list of hosts, and each host's addresses, into attempts.

    libpq would walk through them by itself, but without a time limit for each.
    ``refusals`` takes the names that lead nowhere.
    """
    found: list[dict[str, str]] = []
    for host in split_hosts(parameters):
        try:
            found += await _resolve(host)
        # A host name that IDNA can't encode is a UnicodeError.
        except (OSError, UnicodeError) as error:
            refusals.append(Refused(f"host {host['host']!r}: {error}"))
    if parameters.get("load_balance_hosts") == "random":
        random.shuffle(found)
    if parameters.get("target_session_attrs") == "prefer-standby":
        standbys = [{**each, "target_session_attrs": "standby"} for each in found]
        return standbys + [{**each, "target_session_attrs": "any"} for each in found]
    return found


def split_hosts(parameters: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the parameters for each host of a list; libpq refuses odd lengths."""

    def given(keyword: str) -> list[str]:
        value = parameters.get(keyword) or os.environ.get(f"PG{keyword.upper()}", "")
        return value.split(",") if value else []

    if is_elsewhere(parameters):
        return [dict(parameters)]
    lists = {keyword: given(keyword) for keyword in ("host", "hostaddr", "port")}
    count = max(len(lists["host"]), len(lists["hostaddr"]), 1)
    if len(lists["port"]) == 1:
        lists["port"] *= count
    if not all(len(values) in (0, count) for values in lists.values()):
        return [dict(parameters)]
    return [
        dict(parameters) | {key: each[i] for key, each in lists.items() if each}
        for i in range(count)
    ]


def is_elsewhere(parameters: Mapping[str, str]) -> bool:
    """Whether a service file, which only libpq reads, may say what is not said here."""
    return bool(parameters.get("service") or os.environ.get("PGSERVICE"))


async def _resolve(parameters: dict[str, str]) -> list[dict[str, str]]:
    """Return one host's parameters for each of its addresses."""
    host = parameters.get("host", "")
    is_local = not host or host[0] in "/@" or host[1:2] == ":"
    if is_local or parameters.get("hostaddr") or is_elsewhere(parameters):
        return [parameters]
    if "," in host:
        return [parameters]  # with a list of ports that does not fit
    with suppress(ValueError):
        ipaddress.ip_address(host)
        return [{**parameters, "hostaddr": host}]
    ask = functools.partial(
        socket.getaddrinfo, host, None, type=socket.SOCK_STREAM, proto=0
    )
    answers = await apart(ask, "resolver")
    addresses = dict.fromkeys(str(answer[4][0]) for answer in answers)
    return [{**parameters, "hostaddr": address} for address in addresses]


async def _attempt(parameters: Mapping[str, str], timeout: float) -> PGconn:
    try:
        conninfo = make_conninfo("", **parameters).encode()
    except (psycopg.Error, UnicodeError) as error:
        raise Refused(str(error)) from None
    pgconn: PGconn
    try:
        async with asyncio.timeout(timeout):
            if is_elsewhere(parameters):
                # The service's host is still to be resolved.
                pgconn = await apart(lambda: start(conninfo), "resolver")
            else:
                pgconn = start(conninfo)
            try:
                await _connected(pgconn)
            except BaseException:
                pgconn.finish()
                raise
    except TimeoutError:
        place = parameters.get("host") or parameters.get("hostaddr") or "the server"
        raise Refused(
            f"no answer from {place}, port {parameters.get('port') or 5432}, within "
            f"{timeout:g} s (connect_timeout)"
        ) from None
    pgconn.nonblocking = 1
    return pgconn


def start(conninfo: bytes) -> PGconn:
    """Begin to connect, in such a way that errors come with their SQLSTATE."""
    pgconn = pq.PGconn.connect_start(conninfo)
    set_verbosity(pgconn, _VERBOSE)
    return pgconn


async def _connected(pgconn: PGconn) -> None:
    wanted = pq.PollingStatus.WRITING
    while pgconn.status != pq.ConnStatus.BAD:
        await _ready(pgconn.socket, wanted)
        wanted = pq.PollingStatus(pgconn.connect_poll())
        if wanted == pq.PollingStatus.OK:
            set_verbosity(pgconn, _DEFAULT)
            return
        if wanted == pq.PollingStatus.FAILED:
            break
    raise refusal(pgconn.error_message.decode(errors="replace"))


async def _ready(fileno: int, wanted: pq.PollingStatus) -> None:
    """Wait for the socket. libpq may have another one after each step."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    if wanted == pq.PollingStatus.READING:
        loop.add_reader(fileno, wake)
        remove = loop.remove_reader
    else:
        loop.add_writer(fileno, wake)
        remove = loop.remove_writer
    try:
        await ready
    finally:
        remove(fileno)


def refusal(text: str) -> Refused:
    """Return libpq's verbose text as it reads in the default form, and its SQLSTATE.

    A connection may have been tried with and without TLS: the last word counts.
    """
    codes = _CODE.findall(text)
    plain = _LOCATION.sub("", _CODE.sub(r"\1", text.strip() + "\n")).strip()
    return Refused(plain, codes[-1][1] if codes else None)
