"""sql/ids.sql: unique ids without a central sequence, that say where their rows are."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import psycopg
import pytest
from psycopg import errors

from plproxy_py.hashing import hashtext
from tests.fix_server import Pg
from tests.snippets import ROOT

IDS_SQL = (ROOT / "sql" / "ids.sql").read_text(encoding="utf-8")
MANY = "SELECT plproxy.next_id() FROM generate_series(1, %s)"
PER_RANGE = 2**53


def installed(pg: Pg, dbname: str, partition: int, part_count: int) -> str:
    """Make a new database a partition that makes ids; return its name."""
    pg.execute(dbname, IDS_SQL)
    pg.execute(
        dbname, "SELECT plproxy.set_id_partition(%s, %s)", [partition, part_count]
    )
    return dbname


@pytest.fixture(scope="module")
def part3(pg: Pg) -> str:
    """A database that is partition 3 of 4."""
    return installed(pg, "ids3", 3, 4)


@pytest.fixture(scope="module")
def stopped(pg: Pg) -> str:
    """A database whose clock shows what `set_clock` said last."""
    name = installed(pg, "ids_stopped", 1, 2)
    pg.execute(name, "CREATE TABLE clock AS SELECT 0::int8 AS milliseconds")
    pg.execute(
        name,
        "CREATE OR REPLACE FUNCTION plproxy.id_clock() RETURNS int8 LANGUAGE sql"
        " AS 'SELECT milliseconds FROM public.clock'",
    )
    return name


def set_clock(pg: Pg, name: str, milliseconds: int) -> None:
    pg.execute(name, "UPDATE clock SET milliseconds = %s", [milliseconds])


def make_ids(pg: Pg, name: str, count: int) -> list[int]:
    return [id for (id,) in pg.execute(name, MANY, [count])]


def read(pg: Pg, name: str, expression: str) -> int:
    """Return the value of an expression."""
    ((value,),) = pg.execute(name, f"SELECT {expression}")
    assert isinstance(value, int)
    return value


def milliseconds(ids: list[int]) -> list[int]:
    return [id >> 22 for id in ids]


def test_ids_of_many_sessions(pg: Pg, part3: str) -> None:
    part0 = installed(pg, "ids0", 0, 4)

    def make(name: str) -> list[int]:
        with psycopg.connect(pg.connstr(name), autocommit=True) as conn:
            batches = [conn.execute(MANY, [100]).fetchall() for _ in range(100)]
        return [id for batch in batches for (id,) in batch]

    before = read(pg, part3, "plproxy.id_clock()")
    with ThreadPoolExecutor(6) as threads:
        made = list(threads.map(make, [part3, part0] * 3))
    after = read(pg, part3, "plproxy.id_clock()")

    assert len({id for ids in made for id in ids}) == 60_000
    for ids, partition in zip(made, [3, 0] * 3, strict=True):
        assert {id & 1023 for id in ids} == {partition}
        assert all(one < next for one, next in pairwise(ids))
        assert before <= min(milliseconds(ids)) <= max(milliseconds(ids)) <= after


def test_partition_of(pg: Pg, part3: str) -> None:
    assert read(pg, part3, "plproxy.partition_of(plproxy.next_id())") == 3
    assert read(pg, part3, "plproxy.partition_of((5::int8 << 22) | 1023)") == 1023


def test_a_clock_that_steps_back(pg: Pg, stopped: str) -> None:
    set_clock(pg, stopped, 50_000)
    first = make_ids(pg, stopped, 3)
    set_clock(pg, stopped, 10_000)
    back = make_ids(pg, stopped, 3)
    set_clock(pg, stopped, 60_000)
    later = make_ids(pg, stopped, 3)

    ids = first + back + later
    assert all(one < next for one, next in pairwise(ids))
    assert milliseconds(ids) == [50_000] * 6 + [60_000] * 3


def test_more_ids_than_a_millisecond_has(pg: Pg, stopped: str) -> None:
    set_clock(pg, stopped, 70_000)
    ids = make_ids(pg, stopped, 5000)
    assert all(one < next for one, next in pairwise(ids))
    assert milliseconds(ids) == [70_000] * 4096 + [70_001] * 904
    assert {id & 1023 for id in ids} == {1}
    # The clock catches up with what was taken ahead.
    set_clock(pg, stopped, 70_001)
    assert milliseconds(make_ids(pg, stopped, 1)) == [70_001]
    set_clock(pg, stopped, 70_002)
    assert milliseconds(make_ids(pg, stopped, 1)) == [70_002]


def test_the_last_millisecond(pg: Pg) -> None:
    name = installed(pg, "ids_last", 1023, 1024)
    pg.execute(name, "SELECT setval('plproxy.id_state', (2::int8 << 52) - 2)")
    assert make_ids(pg, name, 1) == [2**63 - 1]
    with pytest.raises(errors.SequenceGeneratorLimitExceeded):
        make_ids(pg, name, 1)


def test_an_open_transaction_stops_nobody(pg: Pg, part3: str) -> None:
    with psycopg.connect(pg.connstr(part3)) as writer:
        ((mine,),) = writer.execute(MANY, [1]).fetchall()
        with psycopg.connect(pg.connstr(part3), autocommit=True) as other:
            other.execute("SET lock_timeout = '10s'")
            ((theirs,),) = other.execute(MANY, [1]).fetchall()
        writer.rollback()
        ((again,),) = writer.execute(MANY, [1]).fetchall()
    # What a rolled back transaction took is not given again.
    assert mine < theirs < again


def test_a_cancelled_call_leaves_no_lock(pg: Pg, part3: str) -> None:
    (lock,) = (line for line in IDS_SQL.splitlines() if "advisory" in line)
    _, _, keys = lock.partition("xact_lock(")
    keys, _, _ = keys.partition(")")
    with (
        psycopg.connect(pg.connstr(part3), autocommit=True) as holder,
        psycopg.connect(pg.connstr(part3), autocommit=True) as waiter,
    ):
        holder.execute(f"SELECT pg_advisory_lock({keys})")
        waiter.execute("SET statement_timeout = '50ms'")
        with pytest.raises(errors.QueryCanceled):
            waiter.execute(MANY, [1])
        holder.execute(f"SELECT pg_advisory_unlock({keys})")
        waiter.execute("SET statement_timeout = 0")
        waiter.execute(MANY, [1])
        locks = holder.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_locks.database ="
            " pg_database.oid WHERE locktype = 'advisory'"
            " AND datname = current_database()"
        )
        assert locks.fetchall() == [(0,)]


def test_next_id_needs_execute_and_nothing_else(pg: Pg, part3: str) -> None:
    with psycopg.connect(pg.connstr(part3)) as conn:
        # Rolled back at the end, the role with it.
        conn.execute("CREATE ROLE plproxy_py_test_ids")
        conn.execute("SET LOCAL ROLE plproxy_py_test_ids")
        for call in ("next_id()", "next_id(7)", "partition_of(7)"):
            conn.execute(f"SELECT plproxy.{call}")
        for call in (
            "plproxy.set_id_partition(0, 4)",
            "plproxy.next_id_state()",
            "nextval('plproxy.id_state')",
            "setval('plproxy.id_state', 1)",
        ):
            with pytest.raises(errors.InsufficientPrivilege), conn.transaction():
                conn.execute(f"SELECT {call}")
        conn.rollback()


def test_installed_twice(pg: Pg, part3: str) -> None:
    (before,) = make_ids(pg, part3, 1)
    pg.execute(part3, IDS_SQL)
    (after,) = make_ids(pg, part3, 1)
    assert before < after
    assert after & 1023 == 3


def test_a_database_without_a_number_makes_no_ids(pg: Pg) -> None:
    pg.execute("ids_none", IDS_SQL)
    for call in ("next_id()", "next_id(1)"):
        with pytest.raises(errors.ObjectNotInPrerequisiteState, match="set_id_part"):
            pg.execute("ids_none", f"SELECT plproxy.{call}")
    for wrong in ("-1, 4", "4, 4", "0, 0", "0, 1025", "NULL, 4", "0, NULL"):
        with pytest.raises(errors.InvalidParameterValue):
            pg.execute("ids_none", f"SELECT plproxy.set_id_partition({wrong})")


def test_a_hash_in_an_id_routes_as_the_hash_does(pg: Pg, part3: str) -> None:
    names = [name for n in range(400) if hashtext(name := f"user{n}") & 3 == 3]
    assert len(names) > 50
    rows = pg.execute(
        part3, "SELECT plproxy.next_id(hashtext(x)) FROM unnest(%s::text[]) x", [names]
    )
    ids = [id for (id,) in rows]
    assert all(one < next for one, next in pairwise(ids))
    for doubled in range(2, 11):
        mask = 2**doubled - 1
        assert [id & mask for id in ids] == [hashtext(name) & mask for name in names]


def test_hashes_of_other_partitions(pg: Pg, part3: str) -> None:
    for other in ("6", "-2", "NULL"):
        with pytest.raises(errors.InvalidParameterValue, match="of 4"):
            pg.execute(part3, f"SELECT plproxy.next_id({other})")
    # After doubling, the half that moved away is no longer this partition's.
    name = installed(pg, "ids_doubled", 3, 8)
    assert read(pg, name, "plproxy.next_id(11) & 1023") == 11
    with pytest.raises(errors.InvalidParameterValue):
        pg.execute(name, "SELECT plproxy.next_id(7)")
    pg.execute(name, "SELECT plproxy.set_id_partition(2, 3)")
    assert read(pg, name, "plproxy.partition_of(plproxy.next_id())") == 2
    with pytest.raises(errors.InvalidParameterValue):
        pg.execute(name, "SELECT plproxy.next_id(2)")


def test_a_new_number_counts_in_open_sessions(pg: Pg) -> None:
    name = installed(pg, "ids_renumbered", 0, 2)
    with psycopg.connect(pg.connstr(name), autocommit=True) as conn:
        for partition in (0, 3, 1):
            pg.execute(name, "SELECT plproxy.set_id_partition(%s, 4)", [partition])
            ids = conn.execute(MANY, [3]).fetchall()
            assert {id & 1023 for (id,) in ids} == {partition}


@pytest.mark.parametrize("number", [0, 1, 1023])
def test_a_range_for_each_database(pg: Pg, part3: str, number: int) -> None:
    pg.execute(
        part3,
        f"CREATE TABLE range{number} (id int8 GENERATED BY DEFAULT AS IDENTITY);"
        f"SELECT plproxy.set_id_range('range{number}_id_seq', {number})",
    )
    first = number * PER_RANGE + 1
    insert = f"INSERT INTO range{number} VALUES (DEFAULT), (DEFAULT) RETURNING id"
    assert pg.execute(part3, insert) == [(first,), (first + 1,)]
    # Said again, it goes on.
    pg.execute(part3, f"SELECT plproxy.set_id_range('range{number}_id_seq', {number})")
    assert pg.execute(part3, insert) == [(first + 2,), (first + 3,)]

    last = (number + 1) * PER_RANGE - 1
    pg.execute(part3, f"SELECT setval('range{number}_id_seq', {last})")
    with pytest.raises(errors.SequenceGeneratorLimitExceeded):
        pg.execute(part3, insert)


def test_a_database_that_was_alone_goes_on_as_number_0(pg: Pg, part3: str) -> None:
    pg.execute(part3, 'CREATE SEQUENCE "Alone"')
    pg.execute(part3, """SELECT setval('"Alone"', 41)""")
    pg.execute(part3, """SELECT plproxy.set_id_range('"Alone"', 0)""")
    assert read(pg, part3, """nextval('"Alone"')""") == 42
    # A copy of it becomes another.
    pg.execute(part3, """SELECT plproxy.set_id_range('"Alone"', 5)""")
    assert read(pg, part3, """nextval('"Alone"')""") == 5 * PER_RANGE + 1


@pytest.mark.parametrize("number", ["-1", "1024", "NULL"])
def test_numbers_that_there_are_not(pg: Pg, part3: str, number: str) -> None:
    with pytest.raises(errors.InvalidParameterValue):
        pg.execute(part3, f"SELECT plproxy.set_id_range('plproxy.id_state', {number})")
