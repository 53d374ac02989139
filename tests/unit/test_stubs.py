"""The text of a typed module: what it declares is what it was made of."""

from __future__ import annotations

import ast
import dataclasses

import pytest

from plproxy_py.compiler import compile_function
from plproxy_py.function import ProxyFunction
from plproxy_py.language.body import Body, Literal
from plproxy_py.pgtypes import parse_type
from plproxy_py.signature import Columns, Signature, parse_columns
from tests.compiled import CLUSTER, define
from tests.stubs import check, face, run, write

HASHED = CLUSTER + "RUN ON hashtext(k);"
ALL = CLUSTER + "RUN ON ALL;"


WHOLE = '''\
"""Functions of a database, typed.

Made by this command, and made anew by it: what is changed by hand gets lost.

    plproxy --home CONNSTR stubs

Configure the router before the first call: router.configure("plproxy.toml").
"""

from dataclasses import dataclass

from plproxy_py import Router

router = Router()


@dataclass(frozen=True, slots=True)
class GetUserRow:
    id: int | None
    email: str | None


@router.proxy(
    "get_user(i_user text, OUT id int4, OUT email text)",
    cluster="userdb",
    run_on="hashtext(i_user)",
)
def get_user(i_user: str) -> GetUserRow | None:
    raise NotImplementedError


@router.proxy(
    "set_email(i_user text, email text) RETURNS void",
    cluster="userdb",
    run_on="hashtext(i_user)",
    target="app.set_email",
)
def set_email(i_user: str, email: str | None = None) -> None:
    raise NotImplementedError
'''


def test_a_whole_module() -> None:
    hashed = CLUSTER + "RUN ON hashtext(i_user);"
    made = write(
        define("get_user(i_user text, out id int, out email text)", hashed),
        define(
            "set_email(i_user text, email text default null)",
            hashed + "TARGET app.set_email;",
        ),
    )
    assert made.unwritten == ()
    assert made.text == WHOLE


def test_the_order_of_functions_does_not_matter() -> None:
    heads = ["b.f(k text)", "a.f(k text)", "f(k text)", "f(k text, int)", "g(k text)"]
    functions = [define(head, HASHED) for head in heads]
    made = write(*functions)
    assert made == write(*reversed(functions))
    assert list(run(made)["router"].functions) == [
        "a.f(text)",
        "b.f(text)",
        "public.f(text)",
        "public.f(text,int4)",
        "public.g(text)",
    ]


def test_a_module_of_nothing() -> None:
    made = write()
    assert made.text.endswith("\n\nrouter = Router()\n")
    assert made.text.count("import") == 1


def test_async_functions_and_the_routers_name() -> None:
    functions = [define("f(k text)", HASHED), define("db(k text)", HASHED, strict=True)]
    made = write(*functions, router="db", is_async=True)
    names = run(made)
    assert type(names["db"]).__name__ == "AsyncRouter"
    tree = ast.parse(made.text)
    defs = [node.name for node in tree.body if isinstance(node, ast.AsyncFunctionDef)]
    assert defs == ["f"]
    assert "async def db_(k: str) -> None:" in made.text
    assert names["db"].functions.keys() == {"public.f(text)", "public.db(text)"}


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("f(k text, int2, int4, int8, oid)", "k: str, arg2: int, arg3: int, "),
        ("f(k text, a real, b float8, c numeric)", "a: float, b: float, c: Decimal"),
        ("f(k text, a date, b time, c timetz)", "a: date, b: time, c: time"),
        ("f(k text, a timestamp)", "a: Timestamp"),
        ("f(k text, a timestamptz, b interval)", "a: datetime, b: timedelta"),
        ("f(k text, a bytea, b bool, c uuid)", "a: bytes, b: bool, c: UUID"),
        ('f(k text, a char, b "char", c name)', "a: str, b: str, c: str"),
        ("f(k text, a json, b mood, c int4range)", "a: Any, b: Any, c: Any"),
        ("f(k text, a int[], b jsonb[])", "a: list[int], b: list[Any]"),
        ("f(k text)", "-> None"),
        ("f(k text) returns int", "-> int | None"),
        ("f(k text) returns jsonb", "-> Any"),
        ("f(k text) returns text[]", "-> Annotated[list[str], 'text[]'] | None"),
        ("f(k text) returns setof text", "-> list[str | None]"),
        ("f(k text) returns setof jsonb", "-> list[Any]"),
        (
            "f(k text) returns setof public.mood[]",
            "-> list[Annotated[list[Any], 'public.mood[]'] | None]",
        ),
        ("f(k text) returns table(a int)", "-> list[int | None]"),
        ("f(k text) returns table(a int, b int)", "-> list[FRow]"),
        ("f(k text, inout a int, inout b int)", "-> FRow | None"),
        ('f(k text, out a int, out "B b" int)', "-> Row | None"),
        ('f(k text, out a int, out "class" int)', "-> Row | None"),
        ('f(k text, out a int, out "__b" int)', "-> Row | None"),
        ("f(k text) returns record", "-> Row | None"),
        ("f(k text) returns setof record", "-> list[Row]"),
        ("f(k text default 'it''s'::text)", 'k: str="it\'s")'),
        ("f(k text default null)", "k: str | None=None)"),
        ("f(k text, a jsonb default null)", "a: Any=None)"),
        ("f(k text, a jsonb default '{}')", "a: Any={})"),
        ("f(k text, a int[] default '{}')", "a: list[int]=[])"),
        ("f(k text, a int8 default '-7'::bigint)", "a: int=-7)"),
        ("f(k text, a float8 default 5e3)", "a: float=5000.0)"),
        ("f(k text, a bool default 'yes')", "a: bool=True)"),
        ("f(k text, a numeric default 1.50)", "a: Decimal=Decimal('1.50'))"),
        ("f(k text, a mood default 'sad'::mood)", "a: Any='sad')"),
        (r"f(k text, a bytea default '\x00ff')", "a: bytes=bytes.fromhex('00ff'))"),
        ("f(k text, a date default '2026-01-02')", "date.fromisoformat('2026-01-02'))"),
        (
            "f(k text, a time default '01:02')",
            "a: time=time.fromisoformat('01:02:00'))",
        ),
        (
            "f(k text, a timestamp default '2026-01-02')",
            "a: Timestamp=datetime.fromisoformat('2026-01-02T00:00:00'))",
        ),
        (
            "f(k text, a uuid default '00000000-0000-0000-0000-000000000001')",
            "a: UUID=UUID('00000000-0000-0000-0000-000000000001'))",
        ),
        ("f(k text, a timestamptz default now())", "a: datetime=DEFAULT)"),
        ("f(k text, a float8 default 'nan')", "a: float=DEFAULT)"),
        ("f(k text, a date default 'infinity')", "a: date=DEFAULT)"),
        ("f(k text, a interval default '1 day')", "a: timedelta=DEFAULT)"),
        ("f(k text, a jsonb default '[1]')", "a: Any=DEFAULT)"),
    ],
)
def test_hints(head: str, expected: str) -> None:
    function = define(head, HASHED)
    # A catalog knows row types.
    function = dataclasses.replace(function, row_type=None)
    assert expected in face(function)
    check(write(function), [function])


def test_constants_stay_what_they_are() -> None:
    function = define("f(k text default 'a', d date default '2026-01-02')", HASHED)
    names = check(write(function), [function])
    names["router"].configure({"userdb": ["dbname=part0", "dbname=part1"]})
    given = names["f"].plan("a", "2026-01-02").params
    assert names["f"].plan().params == given


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("f(k text)", "CLUSTER 'it''s \"q\"'; RUN ON ANY;"),
        ("f(k text)", "CLUSTER 'f(x)'; RUN ON 7;"),
        ("f(k text)", "CLUSTER pick(k); RUN ON hashtext(k) & 3;"),
        ("f(k text)", "CLUSTER s . pick (k);"),
        ("f(k text)", "CLUSTER é(k);"),
        ("f(k text)", "CONNECT 'dbname=it''s host=x';"),
        ("f(k text)", "CONNECT k;"),
        ("f(k text)", "CONNECT s . f(k || $1);"),
        ("f(k text)", "CONNECT s . f(k = $1);"),
        ("f(k text)", "CONNECT f(k = $1);"),
        ("f(k int)", CLUSTER + "RUN ON k;"),
        ("f(int)", CLUSTER + "RUN ON $1;"),
        ('f("K k" text)', CLUSTER + "RUN ON hashtext($1);"),
        ('f("all" text)', CLUSTER + "RUN ON hashtext($1);"),
        ("f(k text, a text[], int[])", HASHED + "SPLIT a, $3;"),
        ("f(k text, a text[], int[])", HASHED + "SPLIT ALL;"),
        ("f(k text)", HASHED + "SPLIT ALL;"),
        ("f(k text) returns setof int", ALL + "TARGET s.g;"),
        ("f(k text) returns int", HASHED + 'SELECT $$a\\$$ || k, \'"""\'\'\n\', "x";'),
        ("f(out int, out int)", CLUSTER),
        ('"f ""\'\\ \n"(k text)', HASHED),
        ('"F"(k text)', HASHED),
        ('"class"(k text)', HASHED),
        ('"user"(k text)', HASHED),
        ('"My S"."f"(k text)', HASHED),
    ],
)
@pytest.mark.parametrize("strict", [False, True])
def test_bodies(head: str, body: str, strict: bool) -> None:
    function = define(head, body, strict=strict)
    made = write(function)
    assert made.unwritten == ()
    check(made, [function])


def test_statements_use_names() -> None:
    made = write(define("f(k text, a int[])", HASHED + "SPLIT a; SELECT k, $2;"))
    assert 'run_on="hashtext(k)"' in made.text
    assert 'split="a"' in made.text
    assert 'select="SELECT k, a"' in made.text


def row_type(head: str, columns: Columns) -> ProxyFunction:
    """Compile a function whose result's columns a catalog knows."""
    return define(head, HASHED, columns=columns)


USERS = parse_columns("id int, name varchar(5), mood public.mood")


def test_row_types_share_a_class() -> None:
    functions = [
        row_type("f(k text) returns setof public.users", USERS),
        row_type("g(k text, a int default 1) returns public.users", USERS),
        row_type("h(k text) returns s.users", USERS[:2]),
    ]
    made = write(*functions)
    names = check(made, functions)
    assert made.text.count("class ") == 2
    for name, cls in (("f", "UsersRow"), ("g", "UsersRow"), ("h", "UsersRow_")):
        make_row = names[name].definition.answer.make_row
        assert (
            type(make_row([1, "x", "sad"][: len(USERS) - (name == "h")]))
            is (names[cls])
        )


def test_a_row_type_of_one_column() -> None:
    columns = parse_columns("moods public.mood[]")
    function = row_type("f(k text) returns public.one", columns)
    names = check(write(function), [function])
    assert "r::" not in function.query.sql.decode()
    assert names["f"].definition.answer.make_row([["sad"]]).moods == ["sad"]
    strict = dataclasses.replace(function, strict=True)
    check(write(strict), [strict])


@pytest.mark.parametrize(
    ("default", "column"), [("'2026-01-02'", '"a b"'), ("now()", "b")]
)
def test_a_row_type_of_one_odd_column(default: str, column: str) -> None:
    head = f"f(k text, a date default {default}) returns public.one"
    made = write(row_type(head, parse_columns(f"{column} int")))
    (why,) = made.unwritten
    assert "only column" in why
    # What nobody uses is not imported.
    assert made.text.count("import ") == 1


def test_a_result_that_may_be_a_row_type_is_asked_for() -> None:
    function = define("f(k text) returns users", HASHED)
    names = check(write(function), [function])
    assert names["f"].definition.row_type == "users"


def test_fields_that_hide_their_types() -> None:
    function = define(
        'f(k text, out date date, out _date int, out "int" int, out list int[], '
        "out count int, out at date)",
        HASHED,
    )
    made = write(function, define("_int(k text)", HASHED))
    assert "    date: _date_ | None" in made.text
    assert "    list: _list[_int_] | None" in made.text
    assert "from builtins import int as _int_\n" in made.text
    names = run(made)
    assert names["_int"].definition.signature.name == "_int"
    assert names["FRow"](1, 2, 3, [4], 5, 6).list == [4]


def test_strict_functions_keep_their_rows() -> None:
    function = define("f(k text, out a int, out b int)", HASHED, strict=True)
    names = check(write(function), [function])
    assert names["f"].definition.answer.make_row([1, 2]) == names["FRow"](1, 2)


def test_what_a_database_computes_is_told() -> None:
    made = write(define("f(k text)", CLUSTER + "RUN ON mine(k);"))
    assert "# Needs a home database.\n@router.proxy(" in made.text
    made = write(define("f(k text)", CLUSTER + "RUN ON mine(k);", strict=True))
    assert '# Needs a home database.\nrouter.define("""' in made.text


@pytest.mark.parametrize(
    "connect",
    ["'dbname=x password=sekret'", "'sekret nonsense'", "f(k, 'sekret')"],
)
def test_no_password_is_written(connect: str) -> None:
    made = write(define("f(k text)", f"CONNECT {connect};"))
    (why,) = made.unwritten
    assert why.startswith("public.f(text): CONNECT has ")
    assert f"\n\n\n# Not written: {why}\n" in made.text
    assert "sekret" not in made.text
    assert run(made)["router"].functions == {}


@pytest.mark.parametrize("strict", [False, True])
def test_what_cannot_be_read_back_is_not_written(strict: bool) -> None:
    body = Body(cluster=Literal("c", 1))
    unnameable = compile_function(
        Signature("public", "f\0", (), parse_type("int")),
        body,
        registered={},
        strict=strict,
    )
    unsayable = dataclasses.replace(
        define("f(k text)", HASHED, strict=strict),
        body=Body(cluster=Literal("c\0", 1)),
    )
    made = write(unnameable, unsayable)
    assert len(made.unwritten) == 2
    assert "\0" not in made.text
    assert run(made)["router"].functions == {}


def test_refused_functions_are_mentioned() -> None:
    with pytest.raises(Exception, match="syntax error") as caught:
        define("f(k text)", "CLUSTER\n'x' \u2028;\n;")
    made = write(refused=[caught.value])
    (why,) = made.unwritten
    assert made.text.endswith(f"\n\n\n# Not written: {why}\n")
    assert made.text.isascii()
    ast.parse(made.text)
