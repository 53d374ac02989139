"""Calls of declared functions on real partitions, and what comes back."""

from __future__ import annotations

import datetime as dt
import pickle
from collections.abc import Callable
from decimal import Decimal

import pytest

from plproxy_py import (
    ColumnMismatch,
    NoDataFound,
    NoSuchCluster,
    Notice,
    QueryTimeout,
    ResultError,
    Router,
    RoutingError,
    TooManyRows,
    UnsupportedError,
)
from tests.fix_router import Driver
from tests.fix_server import Pg

PARTITIONS = [f"part{number:02}" for number in range(4)]

REMOTE = """
CREATE OR REPLACE FUNCTION whereami(key text) RETURNS text LANGUAGE sql
    AS 'SELECT current_database()::text || '':'' || key';
CREATE OR REPLACE FUNCTION spot() RETURNS SETOF text LANGUAGE sql
    AS 'SELECT current_database()::text';
CREATE OR REPLACE FUNCTION rows_of(n int4, OUT place text, OUT number int4)
    RETURNS SETOF record LANGUAGE sql
    AS 'SELECT current_database()::text, i FROM generate_series(1, n) i';
CREATE OR REPLACE FUNCTION swapped(OUT b text, OUT a int2) LANGUAGE sql
    AS 'SELECT ''b''::text, 1::int2';
CREATE OR REPLACE FUNCTION nothing(n int4) RETURNS void LANGUAGE sql AS '';
CREATE OR REPLACE FUNCTION get_balance(key text, OUT since date,
    OUT balance numeric) LANGUAGE sql AS 'SELECT date ''2026-11-21'', 12.5';
CREATE OR REPLACE FUNCTION forever() RETURNS date LANGUAGE sql
    AS 'SELECT date ''infinity''';
CREATE OR REPLACE FUNCTION noisy(key text) RETURNS text LANGUAGE plpgsql AS
    $$ BEGIN RAISE NOTICE 'hello %', key; RETURN key; END $$;
"""


@pytest.fixture(scope="module", autouse=True)
def _remote(pg: Pg, databases4: list[str]) -> None:
    for name in PARTITIONS:
        pg.execute(name, REMOTE)


def plproxy(head: str, body: str) -> str:
    return f"CREATE FUNCTION {head} LANGUAGE plproxy AS $fn$ {body} $fn$;"


def test_a_key_goes_where_the_server_hashes_it(userdb: Driver, pg: Pg) -> None:
    """The partition is the server's own hashtext, masked."""
    whereami = userdb.define(
        plproxy(
            "whereami(key text) RETURNS text",
            "CLUSTER 'userdb'; RUN ON hashtext(key);",
        )
    )
    keys = ["", "marko", "Zoë", "鍵", "x" * 300]
    rows = pg.execute(
        "part00", "SELECT k, hashtext(k) & 3 FROM unnest(%s::text[]) k", [keys]
    )
    for key, partition in rows:
        place, _, rest = whereami(key).partition(":")
        assert place.endswith(f"part{partition:02}")
        assert rest == key


def test_rows_of_all_partitions_come_in_tag_order(userdb: Driver) -> None:
    rows_of = userdb.define(
        plproxy(
            "rows_of(n int4, OUT place text, OUT number int4) RETURNS SETOF record",
            "CLUSTER 'userdb'; RUN ON ALL;",
        )
    )
    rows = rows_of(2)
    assert [(row.place[-6:], row.number) for row in rows] == [
        (name, number) for name in PARTITIONS for number in (1, 2)
    ]
    assert rows_of(0) == []


def test_columns_are_found_by_name_with_their_declared_types(userdb: Driver) -> None:
    """The partition's own order and types don't matter where a cast exists."""
    swapped = userdb.define(
        plproxy("swapped(OUT a int4, OUT b text)", "CLUSTER 'userdb'; RUN ON 1;")
    )
    row = swapped()
    assert (row.a, row["b"], row._fields) == (1, "b", ("a", "b"))
    assert pickle.loads(pickle.dumps(row)) == row


def test_out_columns_keep_their_modifiers(userdb: Driver) -> None:
    get_balance = userdb.define(
        plproxy(
            "get_balance(IN key text, OUT since date, OUT balance numeric(20,10))",
            "CLUSTER 'userdb'; RUN ON hashtext(key);",
        )
    )
    row = get_balance("a")
    assert row == (dt.date(2026, 11, 21), Decimal("12.5"))
    assert str(row.balance) == "12.5000000000"


def test_void_is_none(userdb: Driver) -> None:
    nothing = userdb.define(
        plproxy("nothing(n int4) RETURNS void", "CLUSTER 'userdb'; RUN ON ANY;")
    )
    assert nothing(1) is None


@pytest.mark.parametrize(
    ("count", "error", "sqlstate"),
    [(0, NoDataFound, "P0002"), (2, TooManyRows, "P0003")],
)
def test_one_row_rule(
    userdb: Driver, count: int, error: type[ResultError], sqlstate: str
) -> None:
    """What the statement did is committed all the same, and the error says so."""
    one = userdb.define(
        plproxy(
            "one(n int4, OUT place text, OUT number int4)",
            "CLUSTER 'userdb'; RUN ON 2; SELECT * FROM rows_of(n);",
        )
    )
    assert one(1).number == 1
    with pytest.raises(error, match=rf"public\.one\(1\): .* got {count}") as caught:
        one(count)
    assert caught.value.sqlstate == sqlstate
    assert caught.value.outcomes[2].state == "committed"
    assert caught.value.sent


def test_explicit_select_takes_columns_by_name(userdb: Driver) -> None:
    """A text '12' for a declared int4 becomes 12; a missing column is an error."""
    pair = userdb.define(
        plproxy(
            "pair(x text, OUT a int4, OUT b text)",
            "CLUSTER 'userdb'; RUN ON 0; SELECT $1 || '!' AS b, '12'::text AS a;",
        )
    )
    assert pair("x") == (12, "x!")
    wrong = userdb.define(
        plproxy(
            "wrong(OUT a int4, OUT b text)",
            "CLUSTER 'userdb'; RUN ON 0; SELECT 1 AS a, 'x' AS c;",
        )
    )
    with pytest.raises(ColumnMismatch, match=r"column 'b' is missing.*a, c") as caught:
        wrong()
    assert caught.value.sqlstate == "42804"


def test_target_names_another_function(userdb: Driver) -> None:
    renamed = userdb.define(
        plproxy(
            "renamed(key text) RETURNS text",
            "CLUSTER 'userdb'; RUN ON 3; TARGET whereami;",
        )
    )
    assert renamed("k").endswith("part03:k")


def test_connect_reaches_a_database_of_its_own(
    make_router: Callable[..., Driver], databases4: list[str]
) -> None:
    driver = make_router({})
    spot = driver.define(plproxy("spot() RETURNS text", f"CONNECT '{databases4[2]}';"))
    assert spot().endswith("part02")


def test_run_on_argument_is_a_hash(userdb: Driver) -> None:
    spot = userdb.define(
        plproxy(
            "spot2(h int4) RETURNS text",
            "CLUSTER 'userdb'; RUN ON h; SELECT current_database()::text;",
        )
    )
    assert [spot(h)[-2:] for h in (0, 1, 5, -1)] == ["00", "01", "01", "03"]
    with pytest.raises(RoutingError, match="NULL") as caught:
        spot(None)
    assert not caught.value.sent


def test_run_on_any_reaches_every_partition(userdb: Driver) -> None:
    anywhere = userdb.define(
        plproxy("spot() RETURNS text", "CLUSTER 'userdb'; RUN ON ANY;")
    )
    # 4 * (3/4)**100 < 1e-11
    assert len({anywhere() for _ in range(100)}) == 4


def test_a_number_out_of_range_is_refused_before_sending(userdb: Driver) -> None:
    far = userdb.define(plproxy("spot() RETURNS text", "CLUSTER 'userdb'; RUN ON 4;"))
    with pytest.raises(RoutingError, match=r"public\.spot\(0\): partition 4") as caught:
        far()
    assert (caught.value.sqlstate, caught.value.sent) == ("22023", False)


def test_equal_targets_get_one_call(
    make_router: Callable[..., Driver], databases4: list[str], pg: Pg
) -> None:
    """Word order does not make another target."""
    a, b = databases4[:2]
    shuffled = " ".join(reversed(a.split()))
    driver = make_router({"userdb": [a, b, shuffled, b]})
    spot = driver.define(
        plproxy("spot() RETURNS SETOF text", "CLUSTER 'userdb'; RUN ON ALL;")
    )
    assert [place[-6:] for place in spot()] == ["part00", "part01"]


def test_cluster_and_hash_may_be_python(
    make_router: Callable[..., Driver], databases4: list[str]
) -> None:
    """Registered functions stand for SQL ones; several hashes tag partitions once."""
    driver = make_router(
        {"left": databases4[:2], "right": databases4[2:]},
        hashes={
            "pick_cluster": lambda key: "left" if key < "m" else "right",
            "both": lambda key: [0, 1, 1],
        },
    )
    spot = driver.define(
        plproxy(
            "spots(key text) RETURNS SETOF text",
            "CLUSTER pick_cluster(key); RUN ON both(key); SELECT * FROM spot();",
        )
    )
    assert [place[-2:] for place in spot("a")] == ["00", "01"]
    assert [place[-2:] for place in spot("z")] == ["02", "03"]


def test_modular_mapping_takes_any_count(
    make_router: Callable[..., Driver], databases4: list[str]
) -> None:
    driver = make_router(
        {"three": {"partitions": databases4[:3], "modular_mapping": True}}
    )
    spot = driver.define(
        plproxy(
            "spot3(h int8) RETURNS text",
            "CLUSTER 'three'; RUN ON h; SELECT current_database()::text;",
        )
    )
    reached = [int(spot(h)[-2:]) for h in (0, 1, 2, 3, 4, -1, -2, -3, -4)]
    assert reached == [0, 1, 2, 0, 1, 1, 2, 0, 1]


def test_strict_functions_are_not_called_with_null(userdb: Driver) -> None:
    strict = userdb.define(
        "CREATE FUNCTION spot4(a int4) RETURNS SETOF text STRICT LANGUAGE plproxy AS "
        "$$ CLUSTER 'nowhere'; $$"
    )
    assert strict(None) == []
    with pytest.raises(NoSuchCluster):
        strict(1)


def test_missing_cluster_names_the_nearest(userdb: Driver) -> None:
    lost = userdb.define(plproxy("spot() RETURNS text", "CLUSTER 'userbd';"))
    with pytest.raises(NoSuchCluster, match=r"spot\(0\): .*userbd.*'userdb'") as caught:
        lost()
    assert caught.value.sqlstate == "F0000"


def test_what_python_cannot_hold_was_committed_all_the_same(userdb: Driver) -> None:
    forever = userdb.define(
        plproxy("forever() RETURNS date", "CLUSTER 'userdb'; RUN ON 0;")
    )
    with pytest.raises(ResultError, match="can't hold") as caught:
        forever()
    assert caught.value.outcomes[0].state == "committed"


def test_notices_name_function_and_partition(
    make_router: Callable[..., Driver], databases4: list[str]
) -> None:
    heard: list[Notice] = []
    driver = make_router({"userdb": databases4}, on_notice=heard.append)
    noisy = driver.define(
        plproxy("noisy(key text) RETURNS text", "CLUSTER 'userdb'; RUN ON 2;")
    )
    assert noisy("x") == "x"
    (notice,) = heard
    assert (notice.function, notice.partition) == ("public.noisy(1)", 2)
    assert notice.diag.message_primary == "hello x"
    assert "REMOTE NOTICE: hello x" in str(notice)


def test_execute_runs_any_statement(userdb: Driver) -> None:
    answers = userdb.execute(
        "userdb", "SELECT current_database() AS db, $1::int + 1 AS n", 41
    )
    assert {
        part: [(row.db[-6:], row.n) for row in rows] for part, rows in answers.items()
    } == {n: [(f"part{n:02}", 42)] for n in range(4)}
    assert list(userdb.execute("userdb", "SELECT 1 AS x", run_on=3)) == [3]
    with pytest.raises(RoutingError):
        userdb.execute("userdb", "SELECT 1", run_on="hashtext(x)")


def test_what_only_a_server_can_compute_is_refused_without_a_home(
    userdb: Driver,
) -> None:
    """A clear error at declaration, never a statement that is passed over."""
    for body in [
        "CLUSTER 'userdb'; RUN ON lower(a);",
        "CLUSTER lower(a); RUN ON 0;",
        "CONNECT lower(a);",
    ]:
        with pytest.raises(UnsupportedError, match=r"public\.f\(1\)"):
            userdb.define(plproxy("f(a text) RETURNS SETOF text", body))


def test_calls_by_name(databases4: list[str]) -> None:
    with Router({"userdb": databases4}) as router:
        for kind in ("int4", "text"):
            router.define(
                plproxy(
                    f"over(a {kind}) RETURNS text",
                    f"CLUSTER 'userdb'; RUN ON 0; SELECT '{kind}';",
                )
            )
        assert router.call("over(integer)", 1) == "int4"
        assert router.call("public.over(text)", "x") == "text"
        assert set(router.functions) == {"public.over(int4)", "public.over(text)"}
        assert router.functions["public.over(int4)"](1) == "int4"


def test_no_time_at_all_is_refused(userdb: Driver) -> None:
    for call in (
        lambda: userdb.router.execute("userdb", "SELECT 1", timeout=0),
        lambda: userdb.router.ping("userdb", timeout=-1),
    ):
        with pytest.raises(ValueError, match="timeout is above 0"):
            userdb.run(call())


def test_options_that_are_left_out_stay(
    make_router: Callable[..., Driver], databases4: list[str]
) -> None:
    driver = make_router({"userdb": databases4})
    keywords = {"cluster": "userdb", "run_on": 0, "timeout": 0.1}
    keywords["select"] = "pg_sleep(0.3)::text"

    if driver.is_async:

        @driver.router.proxy(**keywords)
        async def slow() -> str: ...

    else:

        @driver.router.proxy(**keywords)
        def slow() -> str: ...

    with pytest.raises(QueryTimeout):
        driver.run(slow.with_options(settle=1.0)())
    assert driver.run(slow.with_options(timeout=None)()) == ""
