"""Partitions with other DateStyle, IntervalStyle and TimeZone, each with its own.

PL/Proxy passes texts on, and reads them by the settings of the proxy's session: right
where these are the partition's, and else sometimes wrong. Ours are right everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fix_plproxy import Plproxy
from tests.parity.compare import Both

# Zones without a letter in their abbreviations: IST, say, is read as Israel's time.
STYLES = (
    ("German, DMY", "sql_standard", "Asia/Kathmandu"),
    ("SQL, DMY", "iso_8601", "America/Sao_Paulo"),
    ("Postgres, MDY", "postgres_verbose", "Pacific/Chatham"),
    ("ISO, YMD", "postgres", "Etc/GMT+12"),
)
DATABASES = tuple(f"style_part{number}" for number in range(4))
NAMES = ("d", "ts", "tz", "t", "i")
COLUMNS = (
    "inout d date, inout ts timestamp, inout tz timestamptz, inout t time,"
    " inout i interval"
)
REMOTE = f"""
create function echo(part int, {COLUMNS}) language sql as 'select d, ts, tz, t, i';
create function placed(part int, ts timestamp) returns numeric language sql as
'select extract(epoch from ts::timestamptz)';
create function written(part int, ts timestamp) returns text language sql as
'select ts::text';
"""
FUNCTIONS = (
    f"create or replace function echo(part int, {COLUMNS})"
    " as $$ cluster 'styles'; run on part; $$ language plproxy",
    "create or replace function placed(part int, ts timestamp) returns numeric"
    " as $$ cluster 'styles'; run on part; $$ language plproxy",
    "create or replace function written(part int, ts timestamp) returns text"
    " as $$ cluster 'styles'; run on part; $$ language plproxy",
)


@pytest.fixture(scope="module")
def styles(plproxy: Plproxy) -> Iterator[Both]:
    for dbname, (datestyle, intervalstyle, zone) in zip(DATABASES, STYLES, strict=True):
        plproxy.create_database(dbname)
        plproxy.admin(dbname, REMOTE)
        for name, value in (
            ("datestyle", datestyle),
            ("intervalstyle", intervalstyle),
            ("timezone", zone),
        ):
            setting = f"alter database {dbname} set {name} to '{value}'"
            plproxy.admin("postgres", setting)
    plproxy.cluster("styles", DATABASES)
    both = Both(plproxy)
    both.create(*FUNCTIONS)
    yield both
    both.close()
    for dbname in DATABASES:
        plproxy.drop_database(dbname)


rows = st.tuples(
    st.dates(date(1000, 1, 1)),
    st.datetimes(datetime(1000, 1, 1)),
    st.datetimes(datetime(1000, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC)),
    st.times(),
    st.timedeltas(timedelta(-10_000), timedelta(10_000)),
)


# The real one passes zones by abbreviation, and LMT, used long ago, is none to read.
modern = st.tuples(
    st.dates(date(1990, 1, 1), date(2030, 1, 1)),
    st.datetimes(datetime(1990, 1, 1), datetime(2030, 1, 1)),
    st.datetimes(datetime(1990, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),
    st.times(),
    st.timedeltas(timedelta(0), timedelta(10_000)),
)
limited = settings(max_examples=50)


@limited
@given(row=rows, partition=st.integers(0, 3))
def test_our_values(styles: Both, row: tuple[Any, ...], partition: int) -> None:
    answer = styles.ours.call("echo", (partition, *row), None)
    assert answer.columns == NAMES
    assert answer.rows == [row]


@limited
@given(row=modern, partition=st.integers(0, 3))
def test_values(styles: Both, row: tuple[Any, ...], partition: int) -> None:
    assert styles.ours.call("echo", (partition, *row), None).rows == [row]
    # The real one, in a session with this partition's settings.
    datestyle, intervalstyle, zone = STYLES[partition]
    conn = styles.real.conn
    for name, value in (
        ("datestyle", datestyle),
        ("intervalstyle", intervalstyle),
        ("timezone", zone),
    ):
        conn.execute("select set_config(%s, %s, false)", (name, value))
    columns = ", ".join(f"extract(epoch from {name})" for name in NAMES)
    casts = "%t::int, %t::date, %t::timestamp, %t::timestamptz, %t::time, %t::interval"
    found = conn.execute(
        f"select {columns} from echo({casts})".encode(), (partition, *row)
    ).fetchall()
    assert found == [epochs(row)]
    conn.execute("reset all")


def epochs(row: tuple[Any, ...]) -> tuple[Decimal, ...]:
    day, stamp, zoned, moment, delta = row
    microsecond = timedelta(microseconds=1)
    since = [
        datetime.combine(day, time()) - datetime(1970, 1, 1),
        stamp - datetime(1970, 1, 1),
        zoned - datetime(1970, 1, 1, tzinfo=UTC),
        datetime.combine(date(1970, 1, 1), moment) - datetime(1970, 1, 1),
        delta,
    ]
    return tuple(Decimal(each // microsecond) / 1_000_000 for each in since)


NOON = datetime(2009, 4, 11, 12, 0)


@pytest.mark.parametrize("partition", range(4))
def test_time_zone_is_the_partition_s(styles: Both, partition: int) -> None:
    # A client that sets no time zone leaves the partition's alone, as PL/Proxy does.
    if partition in (0, 1, 2):
        # Only the result is compared: an argument in ISO is read everywhere.
        styles.real.conn.execute("set datestyle to iso")
    assert len(styles.call("placed", partition, NOON)) == 1


def test_text_of_a_date(styles: Both) -> None:
    # A difference: see "Session settings".
    for partition, expected in enumerate(
        ("11.04.2009 12:00:00", "11/04/2009 12:00:00", "Sat Apr 11 12:00:00 2009")
    ):
        args = (partition, NOON)
        assert styles.real.call("written", args, None).rows == [(expected,)]
        ours = styles.ours.call("written", args, None).rows
        assert ours == [("2009-04-11 12:00:00",)]
