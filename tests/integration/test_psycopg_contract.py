"""What we rely on in psycopg, some of it undocumented: names, forms, behaviour.

CI runs this file with the lowest and the newest psycopg that setup.cfg allows.
"""

from __future__ import annotations

import inspect
import select
import selectors
import socket
from collections.abc import Generator, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import generators, pq, waiting
from psycopg.adapt import AdaptersMap, PyFormat, Transformer
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import Diagnostic

TEXT = pq.Format.TEXT


@pytest.fixture
def conn(pg: Any) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(pg.connstr(), autocommit=True) as conn:
        yield conn


def drive(gen: Generator[Any, Any, Any], fileno: int) -> Any:
    """Run a PQGen as our waiters do, with a selector of our own."""
    with selectors.DefaultSelector() as selector:
        try:
            wanted = next(gen)
            while True:
                selector.register(fileno, int(wanted))
                ((_, ready),) = selector.select(timeout=10)
                selector.unregister(fileno)
                wanted = gen.send(waiting.Ready(ready))
        except StopIteration as done:
            return done.value


def ask(conn: psycopg.Connection[Any], sql: bytes, *params: bytes | None) -> list[Any]:
    conn.pgconn.send_query_params(sql, list(params))
    results: list[Any] = drive(generators.execute(conn.pgconn), conn.pgconn.socket)
    return results


def test_waits_are_the_selectors_own() -> None:
    assert int(waiting.Wait.R) == int(waiting.Ready.R) == selectors.EVENT_READ
    assert int(waiting.Wait.W) == int(waiting.Ready.W) == selectors.EVENT_WRITE
    both = selectors.EVENT_READ | selectors.EVENT_WRITE
    assert int(waiting.Wait.RW) == int(waiting.Ready.RW) == both


def test_generators_drive_a_query(conn: psycopg.Connection[Any]) -> None:
    (result,) = ask(conn, b"select $1::int + 1 as n, $2::text", b"41", None)
    assert result.status == pq.ExecStatus.TUPLES_OK
    assert (result.ntuples, result.nfields) == (1, 2)
    assert (result.fname(0), result.ftype(0)) == (b"n", 23)
    assert (result.get_value(0, 0), result.get_value(0, 1)) == (b"42", None)
    assert conn.pgconn.transaction_status == pq.TransactionStatus.IDLE


def test_a_large_query_is_sent_in_pieces(conn: psycopg.Connection[Any]) -> None:
    large = b"x" * 10_000_000
    (result,) = ask(conn, b"select length($1::text)", large)
    assert result.get_value(0, 0) == b"10000000"


def test_an_error_is_a_result(conn: psycopg.Connection[Any]) -> None:
    (result,) = ask(conn, b"select 1/0")
    assert result.status == pq.ExecStatus.FATAL_ERROR
    assert result.error_field(pq.DiagnosticField.SQLSTATE) == b"22012"
    assert psycopg.Error("text", info=result).diag.sqlstate == "22012"
    fields = {field: result.error_field(field) for field in pq.DiagnosticField}
    assert Diagnostic(fields).message_primary == "division by zero"


def test_an_error_behind_the_rows_is_a_further_result(
    conn: psycopg.Connection[Any],
) -> None:
    conn.execute(
        "create temp table t (id int primary key deferrable initially deferred)"
    )
    results = ask(conn, b"insert into t values (1), (1) returning id")
    assert [result.status for result in results] == [
        pq.ExecStatus.TUPLES_OK,
        pq.ExecStatus.FATAL_ERROR,
    ]


def test_a_transformer_loads_rows_by_types_of_ours(
    conn: psycopg.Connection[Any],
) -> None:
    (result,) = ask(
        conn, b"select '12' as a, array[1, null] as b union all select '13', null"
    )
    transformer = Transformer(conn)
    transformer.set_pgresult(result, set_loaders=False)
    transformer.set_loader_types([23, 1007], TEXT)
    assert transformer.load_rows(0, 2, tuple) == [(12, [1, None]), (13, None)]
    assert transformer.load_rows(0, 1, list) == [[12, [1, None]]]


def test_a_transformer_dumps_without_a_connection() -> None:
    class Context:
        adapters = AdaptersMap(psycopg.adapters)
        connection = None

    transformer = Transformer(Context())
    assert transformer.get_dumper([1, 2], PyFormat.TEXT).dump([1, 2]) == b"{1,2}"
    with pytest.raises(psycopg.ProgrammingError, match="cannot adapt"):
        transformer.get_dumper(object(), PyFormat.TEXT)


def test_adapters_know_the_types() -> None:
    types = AdaptersMap(psycopg.adapters).types
    info = types.get("int4")
    assert info is not None
    assert (info.oid, info.array_oid) == (23, 1007)
    assert types.get("no such type") is None


@pytest.mark.parametrize(
    ("sqlstate", "name"), [("23505", "UniqueViolation"), ("57014", "QueryCanceled")]
)
def test_errors_by_sqlstate(sqlstate: str, name: str) -> None:
    cls = psycopg.errors.lookup(sqlstate)
    assert (cls.__name__, cls.sqlstate) == (name, sqlstate)
    assert issubclass(cls, psycopg.Error)
    with pytest.raises(KeyError):
        psycopg.errors.lookup("ZZ999")


def test_a_cancel_has_a_timeout(conn: psycopg.Connection[Any]) -> None:
    for cls in (psycopg.Connection, psycopg.AsyncConnection):
        assert "timeout" in inspect.signature(cls.cancel_safe).parameters
    pgconn = conn.pgconn
    pgconn.send_query_params(b"select pg_sleep(60)", [])
    drive(generators.send(pgconn), pgconn.socket)
    # A cancel request that overtakes its statement is lost.
    for _ in range(100):
        conn.cancel_safe(timeout=10)
        if select.select([pgconn.socket], [], [], 0.1)[0]:
            break
    (result,) = drive(generators.fetch_many(pgconn), pgconn.socket)
    assert result.error_field(pq.DiagnosticField.SQLSTATE) == b"57014"


def test_notices_come_by_the_connections_handler(
    conn: psycopg.Connection[Any],
) -> None:
    seen: list[bytes | None] = []

    def handler(result: Any) -> None:
        seen.append(result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY))

    conn.pgconn.notice_handler = handler
    ask(conn, b"do $$ begin raise notice 'hello'; end $$")
    assert seen == [b"hello"]


def test_what_is_read_off_a_connection(conn: psycopg.Connection[Any]) -> None:
    pgconn = conn.pgconn
    assert isinstance(pgconn.socket, int)
    assert pgconn.status == pq.ConnStatus.OK
    assert pgconn.parameter_status(b"server_encoding")
    assert pgconn.parameter_status(b"nonsense") is None
    pgconn.finish()
    assert pgconn.status == pq.ConnStatus.BAD


def test_a_lost_connection(pg: Any, conn: psycopg.Connection[Any]) -> None:
    """A killed backend's FATAL is a result since psycopg 3.3, an exception before."""
    conn.pgconn.send_query_params(b"select pg_sleep(60)", [])
    pg.execute("postgres", f"select pg_terminate_backend({conn.info.backend_pid})")
    try:
        result = drive(generators.execute(conn.pgconn), conn.pgconn.socket)[0]
    except psycopg.OperationalError as error:
        text = str(error)
    else:
        text = result.error_message.decode()
    assert "terminating connection" in text
    assert conn.pgconn.status == pq.ConnStatus.BAD


def test_conninfo() -> None:
    texts = {"host": "a b", "password": "it's \\", "dbname": "d"}
    assert conninfo_to_dict(make_conninfo("", **texts)) == texts
    for wrong in ("nonsense", "hots=x", "password='x", "postgresql://u:%zz@h/db"):
        with pytest.raises(psycopg.ProgrammingError):
            conninfo_to_dict(wrong)
    with pytest.raises(psycopg.ProgrammingError):
        make_conninfo("", hots="x")


def test_generators_work_on_any_socket_we_wait_for() -> None:
    """A PQGen yields what it waits for and is told what came: no more is asked."""
    ours, theirs = socket.socketpair()

    def gen() -> Generator[waiting.Wait, waiting.Ready, list[waiting.Ready]]:
        return [(yield waiting.Wait.W), (yield waiting.Wait.R)]

    with ours, theirs:
        theirs.send(b"x")
        assert drive(gen(), ours.fileno()) == [waiting.Ready.W, waiting.Ready.R]
