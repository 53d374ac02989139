"""A fake cluster tells the truth: its errors are those of servers.

Class, SQLSTATE, texts, what was sent, and what became of each partition must be equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from plproxy_py import Int4
from tests.both import lent
from tests.fix_fake import Twins, declared
from tests.fix_router import Driver


@pytest.mark.parametrize("settle", [1.0, None])
def test_errors(twins: Twins, settle: float | None) -> None:
    refuse = declared(twins, "refuse", list[str], run_on="ALL", settle=settle)
    for place in range(4):
        twins.fake.answer("refuse", [str(place)], partition=place)
    twins.fake.fail(
        "refuse",
        "23505",
        'no; "5" is taken',
        detail="Key (x) exists.",
        hint="Another.",
        constraint="x_key",
        partition=2,
    )
    for _ in range(3):
        twins.same(lambda driver: refuse(driver)(5))
    twins.same(lambda driver: refuse(driver).call_outcomes(5))
    twins.same(lambda driver: refuse(driver).with_options(on_error="partial")(5))
    twins.same(lambda driver: refuse(driver).call_many([(5,)] * 3))


@pytest.mark.parametrize(("name", "sqlstate"), [("odd", "XY123"), ("gone", "42883")])
def test_odd_errors(twins: Twins, name: str, sqlstate: str) -> None:
    function = declared(twins, name, list[str])
    message = "odd" if name == "odd" else "function public.gone(integer) does not exist"
    hint = (
        None
        if name == "odd"
        else "No function matches the given name and argument types. You might need to "
        "add explicit type casts."
    )
    twins.fake.fail(name, sqlstate, message, hint=hint)
    twins.same(lambda driver: function(driver)(1))


def test_the_server_ends_the_session(twins: Twins) -> None:
    leave = declared(twins, "leave", list[str], run_on="ALL")
    for place in range(4):
        twins.fake.answer("leave", [str(place)], partition=place)
    message = "terminating connection due to administrator command"
    twins.fake.fail("leave", "57P01", message, partition=1)
    for _ in range(3):
        twins.same(lambda driver: leave(driver)(1))
    twins.same(lambda driver: leave(driver).with_options(on_error="partial")(1))


def test_a_deadline_cancels(twins: Twins) -> None:
    sleepy = declared(twins, "sleepy", list[str], run_on="ALL", timeout=0.6)
    for place in range(4):
        twins.fake.answer("sleepy", [str(place)], partition=place)
    for _ in range(3):  # until it is prepared, and goes the short way
        for driver in twins.drivers:
            driver.run(sleepy(driver).with_options(timeout=30)(0))
    twins.fake.delay("sleepy", 30, partition=1)
    twins.same(lambda driver: sleepy(driver)(1), tries=6)
    # On a connection that was cancelled.
    twins.same(lambda driver: sleepy(driver)(1), tries=6)
    twins.same(
        lambda driver: sleepy(driver).with_options(on_error="partial")(1), tries=6
    )


def test_a_partition_is_down(
    make_router: Callable[..., Driver], fake_connstrs: list[str], twins: Twins
) -> None:
    refusing = [*fake_connstrs]
    refusing[1] = "host=127.0.0.1 port=1 dbname=fake_part01"
    twins.drivers[0] = make_router({"userdb": refusing})
    numbers = declared(twins, "numbers", list[Int4], run_on="ALL")
    for place in range(4):
        found = [n + 10 * place for n in range(1, 4)]
        twins.fake.answer("numbers", found, partition=place)
    twins.fake.down(1)
    twins.same(lambda driver: numbers(driver)(3))
    twins.same(lambda driver: numbers(driver).call_outcomes(3))
    twins.same(lambda driver: numbers(driver).with_options(on_error="partial")(3))
    assert {call.partition for call in twins.fake.calls} == {0, 2, 3}


def test_transactions_on_loan(twins: Twins) -> None:
    twins.fake.sql("SELECT 1 AS one", [{"one": 1}])
    twins.fake.sql("SELECT $1::text AS a, 2.5 AS b", lambda a: [{"a": a, "b": 2.5}])

    def act(driver: Driver) -> Any:
        found = []
        with lent(driver, "userdb", partition=1) as connection:
            cursor = driver.run(connection.execute("SELECT 1 AS one"))
            found.append(driver.run(cursor.fetchall()))
            found.append(connection.info.transaction_status.name)
            driver.run(connection.rollback())
            found.append(connection.info.transaction_status.name)
            with pytest.raises(psycopg.Error) as caught:
                driver.run(connection.execute("SELECT no_such()"))
            found.append(caught.value.sqlstate)
            with pytest.raises(psycopg.Error) as caught:
                driver.run(connection.execute("SELECT 1 AS one"))
            found.append(caught.value.sqlstate)
            found.append(connection.info.transaction_status.name)
        found.append(driver.execute("userdb", "SELECT 1 AS one"))
        return found

    twins.same(act)
    twins.same(act)
    twins.same(lambda driver: driver.router.ping("userdb").keys() if not driver.is_async
               else driver.run(driver.router.ping("userdb")).keys())  # fmt: skip
