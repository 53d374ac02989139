"""What we hash and what we send are one value: the server hashes it alike.

Every value goes the way of a call: through a compiled function, its normal forms and
its parameters, to the server by ``exec_params``. Each is tried on two sessions, since
the text that is sent must not depend on how a session reads dates or intervals.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import pq
from psycopg.adapt import Loader, Transformer
from psycopg.types.datetime import DateLoader, TimestampLoader, TimestamptzLoader

from plproxy_py._scalars import SCALARS as CODECS
from plproxy_py.compiler import compile_function
from plproxy_py.config import cluster_config
from plproxy_py.errors import RoutingError
from plproxy_py.function import ProxyFunction
from plproxy_py.hashing import KNOWN
from plproxy_py.language.parser import parse_body
from plproxy_py.pgtypes import PgType, parse_type
from plproxy_py.signature import parse_signature
from tests.strategies import FITTING, Index, Number, Shouting, Word, fitting

MMH3_SQL = Path(__file__).parents[2] / "sql" / "mmh3.sql"
CLUSTER = cluster_config("c", ["dbname=x"] * 1024)
ZONE = "Europe/Berlin"
SCALARS = [PgType(name) for name in FITTING]
ARRAYS = [PgType(name, is_array=True) for name in FITTING]
IST = timezone(timedelta(hours=5, minutes=30))
MOMENTS = ("date", "timestamp", "timestamptz", "interval")

many = settings(max_examples=300, derandomize=True)
some = settings(max_examples=100, derandomize=True)

# Every hash that PostgreSQL resolves for a declared type, and what may stand around it.
_INTEGER = (
    "hashint8(x); hash_numeric(x); hashtext(x::text); hashint8(5 % x); "
    "hashint8(x & 15); hashint8(x % 7 - -x % 5); hashint8((x + 1) & x % 64 - 3)"
)
HASHES = {
    "text": "hashtext(x); hashbpchar(x); plproxy.mmh3(x); hashtext(x::text) & 1023; "
    "hashtextextended(x, -42)",
    "varchar": "hashtext(x); hashtext(x::text)",
    "bpchar": "hashtext(x); hashbpchar(x); hashtext(x::text); hashtext(text(x))",
    "name": "hashname(x); hashtext(x)",
    '"char"': "hashchar(x); hashtext(x)",
    "int2": "hashint2(x); hashint4(x); " + _INTEGER,
    "int4": "hashint4(x); " + _INTEGER,
    "int8": _INTEGER,
    "oid": "hashoid(x)",
    "float4": "hashfloat4(x)",
    "float8": "hashfloat8(x)",
    "numeric": "hash_numeric(x); hash_numeric_extended(x, 7)",
    "bool": "hashbool(x)",
    "bytea": "hashbytea(x); plproxy.mmh3(x)",
    "date": "timestamp_hash(x); hashdate(x)",
    "time": "time_hash(x)",
    "timetz": "timetz_hash(x)",
    "timestamp": "timestamp_hash(x)",
    "timestamptz": "timestamptz_hash(x)",
    "interval": "interval_hash(x)",
    "uuid": "uuid_hash(x); hashtext(x::text)",
    "jsonb": "jsonb_hash(x); jsonb_hash_extended(x, 7)",
}


class _Endless:
    """Loads infinity as a text, which psycopg refuses."""

    def load(self, data: Any) -> Any:
        text = bytes(data).decode()
        return text if "infinity" in text else super().load(data)


class JsonText(Loader):
    """Leaves JSON as its text, since a float would not keep what jsonb keeps."""

    def load(self, data: Any) -> str:
        return bytes(data).decode()


MOMENT_LOADERS = {
    "date": DateLoader,
    "timestamp": TimestampLoader,
    "timestamptz": TimestamptzLoader,
}


@dataclass
class Sessions:
    """Two sessions: one as our connections are, one that reads and writes otherwise."""

    plain: psycopg.Connection[Any]
    odd: psycopg.Connection[Any]

    def value(self, result: pq.PGresult) -> Any:
        """Return what psycopg makes of the one value, read on the plain session."""
        transformer = Transformer(self.plain)
        transformer.set_pgresult(result)
        ((value,),) = transformer.load_rows(0, 1, tuple)
        return value

    def hash(self, sql: bytes, params: Sequence[bytes | None]) -> int | str:
        """Return the server's hash, or the SQLSTATE with which a call must fail."""
        result = self.plain.pgconn.exec_params(sql, params)
        if result.status != pq.ExecStatus.TUPLES_OK:
            return (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        text = result.get_value(0, 0)
        return "22023" if text is None else int(text)


@pytest.fixture(scope="module")
def server(pg: Any) -> Iterator[Sessions]:
    with (
        psycopg.connect(
            pg.connstr("values"),
            autocommit=True,
            options="-c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres",
        ) as plain,
        psycopg.connect(
            pg.connstr("values"),
            autocommit=True,
            options="-c timezone=Asia/Kolkata -c datestyle=SQL,DMY"
            " -c intervalstyle=sql_standard",
        ) as odd,
    ):
        plain.execute(MMH3_SQL.read_bytes())
        for name, loader in MOMENT_LOADERS.items():
            endless = type("Endless", (_Endless, loader), {})
            plain.adapters.register_loader(name, endless)
        plain.adapters.register_loader("json", JsonText)
        plain.adapters.register_loader("jsonb", JsonText)
        yield Sessions(plain, odd)


def define(declared: str, select: str, run_on: str = "0") -> ProxyFunction:
    """Return a function over ``x`` that sends SELECT ``select``."""
    signature = parse_signature(f"f(x {declared}) returns void")
    body = parse_body(
        f"CLUSTER 'c'; RUN ON {run_on}; SELECT {select};", ["x"], [declared[-1] == "]"]
    )
    return compile_function(signature, body, registered={})


def call(function: ProxyFunction, value: Any) -> tuple[Any, list[bytes | None]]:
    """Return the normal form that is hashed, and the parameters that are sent."""
    normals = function.arguments([value], {})
    function.place(normals, ZONE)
    params = function.params(normals)
    assert all(param is None or isinstance(param, bytes) for param in params)
    return normals[0], params


def here(function: ProxyFunction, normal: Any) -> int | str:
    """Return our hash, or the SQLSTATE with which we refuse."""
    try:
        (hash,) = function.tag([normal], CLUSTER, len).hashes
    except RoutingError as error:
        return str(error.sqlstate)
    return hash


@pytest.mark.parametrize("declared", HASHES)
@many
@given(data=st.data())
def test_the_server_hashes_what_we_hash(
    server: Sessions, declared: str, data: st.DataObject
) -> None:
    """The partition that we choose is the one that the server would choose."""
    value = data.draw(FITTING[declared])
    for function in hashing(declared, server.plain.info.server_version):
        normal, params = call(function, value)
        if isinstance(normal, str) and declared in MOMENTS:
            # 'infinity' is refused here: only a server knows it.
            assert here(function, normal) == "22023"
        else:
            assert here(function, normal) == server.hash(function.query.sql, params)


@cache
def hashing(declared: str, version: int) -> list[ProxyFunction]:
    """Return the functions over a type that hash it, as far as the server can."""
    functions = []
    for expression in HASHES[declared].split("; "):
        name = expression.partition("(")[0].removeprefix("plproxy.")
        if version >= max(known.since for known in KNOWN[name]) * 10_000:
            functions.append(define(declared, expression, expression))
    return functions


def comparable(type: PgType, value: Any) -> Any:
    """Return a value in a form in which all that is equal on the server compares."""
    if isinstance(value, list) and type.is_array:
        items = [comparable(type, item) for item in value]
        # An array without items has no dimensions.
        return [] if all(item == [] for item in items) else items
    if value is None:
        return None
    if type.name in ("json", "jsonb"):
        return json.loads(value, parse_float=Decimal, parse_int=Decimal)
    if type.name == "float4":
        value = struct.unpack("f", struct.pack("f", value))[0]
    if isinstance(value, (float, Decimal)):
        # NaN is what it is, and 0 has no sign.
        return str(value) if value != value else value + 0
    return value


@pytest.mark.parametrize("type", [*SCALARS, *ARRAYS], ids=str)
@some
@given(data=st.data())
def test_a_value_arrives_as_it_was(
    server: Sessions, type: PgType, data: st.DataObject
) -> None:
    """`select $1::type` reads back equal, by psycopg's own reading."""
    function = define(type.cast, "x")
    normal, params = call(function, data.draw(fitting(type)))
    assert function.query.sql.decode() == f"SELECT $1::{type.cast}"
    result = server.plain.pgconn.exec_params(function.query.sql, params)
    assert result.status == pq.ExecStatus.TUPLES_OK, result.error_message
    found = server.value(result)
    assert comparable(type, found) == comparable(type, normal)


@pytest.mark.parametrize("declared", MOMENTS)
@some
@given(data=st.data())
def test_moments_are_the_same_on_every_session(
    server: Sessions, declared: str, data: st.DataObject
) -> None:
    """Neither DateStyle, IntervalStyle nor TimeZone changes what is understood."""
    function = define(declared, "extract(epoch from x)::text")
    _, params = call(function, data.draw(FITTING[declared]))
    plain, odd = (
        conn.pgconn.exec_params(function.query.sql, params).get_value(0, 0)
        for conn in (server.plain, server.odd)
    )
    assert plain == odd
    assert plain is not None


@pytest.mark.parametrize(
    ("declared", "value", "text"),
    [
        ("int4", "7", "7"),
        ("int4", " +7 ", "7"),
        ("int4", Number.SEVEN, "7"),
        ("int8", Index(-7), "-7"),
        ("text", 7, "7"),
        ("text", Number.SEVEN, "7"),
        ("text", Word.NAME, "marko"),
        ("text", Shouting("ä"), "ä"),
        ("text", UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ("varchar(3)", "long-key", "long-key"),
        ("char(3)", "a  ", "a  "),
        ("name", "é" * 40, "é" * 31),
        ("numeric(5,1)", Decimal("1.25"), "1.25"),
        ("numeric", Decimal("1.0"), "1.0"),
        ("numeric", Decimal("-0.0"), "0.0"),
        ("numeric", Decimal("1E+40"), "1" + "0" * 40),
        ("numeric", 0.1, "0.1"),
        ("numeric", float("nan"), "NaN"),
        ("numeric", Decimal("-Infinity"), "-Infinity"),
        ("float8", -0.0, "-0"),
        ("float8", 5e-324, "5e-324"),
        ("float4", 0.1, "0.1"),
        ("float4", float("-inf"), "-Infinity"),
        ("bool", "off", "f"),
        ("bytea", bytearray(b"\0\xff"), "\\x00ff"),
        (
            "timestamp(0)",
            datetime(2007, 3, 12, 0, 0, 1, 500),
            "2007-03-12 00:00:01.0005",
        ),
        ("timestamptz", datetime(2007, 7, 1, 2), "2007-07-01 00:00:00+00"),
        ("timestamptz", datetime(2007, 7, 1, 2, tzinfo=IST), "2007-06-30 20:30:00+00"),
        ("timestamptz[]", [datetime(2007, 7, 1, 2)], '{"2007-07-01 00:00:00+00"}'),
        (
            "timestamptz",
            datetime.max.replace(tzinfo=UTC),
            "9999-12-31 23:59:59.999999+00",
        ),
        ("date", date.min, "0001-01-01"),
        ("date", "infinity", "infinity"),
        ("time", time.max, "23:59:59.999999"),
        (
            "timetz",
            time(1, tzinfo=timezone(timedelta(hours=-15, minutes=-59))),
            "01:00:00-15:59",
        ),
        ("interval", timedelta(days=-1, seconds=1), "-1 days +00:00:01"),
        ("interval", timedelta(microseconds=-1), "-1 days +23:59:59.999999"),
        ("interval", "1 mon 2 days", "1 mon 2 days"),
        ("jsonb", [], "[]"),
        ("jsonb", "7", '"7"'),
        ("jsonb", {"b": None, "a": [1.50, True]}, '{"a": [1.5, true], "b": null}'),
        ("json", {"b": 1, "a": "é"}, '{"b": 1, "a": "é"}'),
        (
            "text[]",
            ["a,b", 'c"d', "e\\f", "{}", "", "null", None, " "],
            '{"a,b","c\\"d","e\\\\f","{}","","null",NULL," "}',
        ),
        ("int4[]", [[1, None], [2, "3"]], "{{1,NULL},{2,3}}"),
        ("int4[]", [[], []], "{}"),
        ("bytea[]", [b"\\"], '{"\\\\x5c"}'),
        ("jsonb[]", [[], {"a": '"'}, None], '{[],"{\\"a\\": \\"\\\\\\"\\"}",NULL}'),
        ("text", None, None),
        ("int4[]", None, None),
    ],
)
def test_odd_values(
    server: Sessions, declared: str, value: Any, text: str | None
) -> None:
    function = define(declared, "x")
    _, params = call(function, value)
    result = server.plain.pgconn.exec_params(function.query.sql, params)
    assert result.status == pq.ExecStatus.TUPLES_OK, result.error_message
    found = result.get_value(0, 0)
    assert (None if found is None else found.decode()) == text


@pytest.mark.parametrize(
    ("declared", "value", "kind"),
    [
        ("int4", True, TypeError),
        ("text", True, TypeError),
        ("numeric", False, TypeError),
        ("bool", 1, TypeError),
        ("int4", 7.0, TypeError),
        ("int4", "7.0", ValueError),
        ("int4", 2**31, ValueError),
        ("text", "a\0", ValueError),
        ("jsonb", ["\0"], ValueError),
        ("text", "\ud800", ValueError),
        ("jsonb", "\ud83d\ude00", ValueError),
        ("date", datetime(2007, 3, 12), TypeError),
        ("timestamp", datetime(2007, 3, 12, tzinfo=UTC), ValueError),
        ("timetz", time(1), ValueError),
        ("jsonb", float("nan"), ValueError),
        ("int4[]", [[1], [2, 3]], ValueError),
    ],
)
def test_refused_before_anything_is_sent(
    declared: str, value: Any, kind: type[Exception]
) -> None:
    with pytest.raises(kind, match=r"public\.f\(1\): argument x"):
        call(define(declared, "x"), value)


@pytest.mark.parametrize(
    ("declared", "value", "sqlstate"),
    [
        ("float8", "1e400", "22003"),
        ("float8", "1e-400", "22003"),
        ("float4", "1e39", "22003"),
        ("float4", "1e-50", "22003"),
        ("numeric", "1e131072", "22003"),
        ("numeric", "1.5e-16383", "22003"),
        ("int8", "9223372036854775808", "22003"),
        ("oid", "4294967296", "22003"),
        ("timetz", "01:00:00+16:00", "22009"),
        ("uuid", "12-3e4567e89b12d3a456426614174000", "22P02"),
        ("bool", "maybe", "22P02"),
        ("jsonb", '"\\u0000"', "22P05"),
    ],
)
def test_what_the_server_refuses_we_refuse(
    server: Sessions, declared: str, value: str, sqlstate: str
) -> None:
    """Our limits are the server's own, so that nothing is sent in vain."""
    result = server.plain.pgconn.exec_params(
        f"SELECT $1::{declared}".encode(), [value.encode()]
    )
    assert result.error_field(pq.DiagnosticField.SQLSTATE) == sqlstate.encode()
    given = json.loads(value) if declared == "jsonb" else value
    with pytest.raises(ValueError, match=r"public\.f\(1\): argument x"):
        call(define(declared, "x"), given)


def test_every_type_with_a_codec_is_tried() -> None:
    assert set(FITTING) == set(CODECS)
    hashed = {known.parameters[0] for entries in KNOWN.values() for known in entries}
    tried = {parse_type(declared).name.strip('"') for declared in HASHES}
    assert hashed <= tried
