"""Functions of the catalog, and how their changes are noticed."""

from __future__ import annotations

import pytest

from plproxy_py.pgtypes import parse_type
from plproxy_py.signature import Dynamic, Record, Scalar, parse_signature
from tests.fix_proxydb import (
    ProxyDb,
)


@pytest.fixture
def catalog(proxydb: ProxyDb) -> ProxyDb:
    """Return the home database with types, and the language if it has none."""
    if not proxydb.is_real:
        proxydb.run("CREATE LANGUAGE plproxy HANDLER pg_catalog.plpgsql_call_handler")
    proxydb.run(
        """
        CREATE TYPE mood AS ENUM ('happy', 'sad');
        CREATE DOMAIN moods AS mood[];
        CREATE TABLE tab (gone int, id int, name varchar(5), moods mood[],
                          "The J" json);
        ALTER TABLE tab DROP gone;
        CREATE DOMAIN tabs AS tab;
        CREATE TABLE empty ();
        CREATE TYPE span AS RANGE (subtype = float8);
        CREATE SCHEMA "My ""S";
        CREATE TYPE "My ""S"."Type" AS (a int)
        """
    )
    return proxydb


def create(proxydb: ProxyDb, head: str, body: str = "CLUSTER 'c';") -> None:
    proxydb.run(f"CREATE FUNCTION {head} LANGUAGE plproxy AS $_${body}$_$")


HEADS = [
    'f_scalar(a int, b varchar, c char, d "char", e bit) RETURNS numeric',
    "f_unnamed(int, text) RETURNS SETOF text",
    "f_types(public.mood, public.mood[], public.moods, public.span, int4range) "
    "RETURNS public.mood[]",
    "f_tables(public.tab, public.tabs, public.tab[]) RETURNS void",
    'f_out(a int, OUT b text, INOUT "C c" timestamptz)',
    "f_table(a int) RETURNS TABLE (b text, c public.mood)",
    "f_record() RETURNS SETOF record",
    "f_overload(int) RETURNS int",
    "f_overload(text) RETURNS int",
    '"My ""S"."F ""f"("The arg" "My ""S"."Type"[]) RETURNS public.span',
    "f_default(a int DEFAULT '-5'::integer, b text DEFAULT 'it''s'::text) RETURNS int",
]


def test_functions_are_as_they_were_declared(catalog: ProxyDb) -> None:
    for head in HEADS:
        create(catalog, head)
    found = catalog.reflect()
    assert found.errors == ()
    assert {each.signature.key: str(each.signature) for each in found.functions} == {
        signature.key: str(signature) for signature in map(parse_signature, HEADS)
    }
    assert {each.body for each in found.functions} == {"CLUSTER 'c';"}


def test_the_catalog_keeps_no_modifiers(catalog: ProxyDb) -> None:
    create(catalog, "f(a varchar(10), OUT b numeric(20,10))")
    (found,) = catalog.reflect().functions
    assert str(found.signature) == "public.f(a varchar, OUT b numeric)"


def test_results_with_columns(catalog: ProxyDb) -> None:
    columns = (
        ("id", parse_type("int4")),
        ("name", parse_type("varchar")),
        ("moods", parse_type("public.mood[]")),
        ("The J", parse_type("json")),
    )
    create(catalog, "f1() RETURNS SETOF tab")
    create(catalog, "f2(a int, OUT x tab)")
    create(catalog, "f3(a int, INOUT x tab)")
    create(catalog, "f4() RETURNS TABLE (x tab)")
    create(catalog, 'f5() RETURNS "My ""S"."Type"')
    create(catalog, "f6() RETURNS tab[]")
    create(catalog, "f7(OUT int, OUT text)")
    found = catalog.reflect().functions
    shapes = [each.signature.shape(each.columns) for each in found]
    assert shapes[:4] == [Record(columns)] * 4
    assert shapes[4] == Record((("a", parse_type("int")),))
    assert shapes[5] == Scalar(parse_type("public.tab[]"))
    assert isinstance(shapes[6], Dynamic)
    assert [len(each.signature.inputs) for each in found] == [0, 1, 2, 0, 0, 0, 0]


def test_clauses(catalog: ProxyDb) -> None:
    catalog.run(
        "CREATE FUNCTION f() RETURNS int LANGUAGE plproxy STRICT SECURITY DEFINER "
        "AS $$\n CLUSTER 'c'; -- é\n$$;"
        "CREATE PROCEDURE p() LANGUAGE plproxy AS $$ CLUSTER 'c'; $$"
    )
    function, procedure = catalog.reflect().functions
    assert function.body == "\n CLUSTER 'c'; -- é\n"
    assert function.strict
    assert function.security_definer
    assert procedure.procedure
    assert not procedure.strict


def test_what_is_refused_stops_nothing(catalog: ProxyDb) -> None:
    create(catalog, "a_stable() RETURNS int")
    catalog.run("ALTER FUNCTION a_stable() STABLE")
    create(catalog, "b_domain() RETURNS tabs")
    create(catalog, "c_empty() RETURNS empty")
    create(catalog, "d_trigger() RETURNS trigger")
    expected = ["a_stable(0)", "b_domain(0)", "c_empty(0)", "d_trigger(0)"]
    if not catalog.is_real:
        create(catalog, "e_variadic(VARIADIC a int[]) RETURNS int")
        create(catalog, "f_pseudo(cstring) RETURNS int")
        create(catalog, "g_multirange(a datemultirange) RETURNS int")
        expected += ["e_variadic(1)", "f_pseudo(1)", "g_multirange(1)"]
    create(catalog, "z() RETURNS int")
    found = catalog.reflect()
    assert [error.function for error in found.errors] == [
        f"public.{label}" for label in expected
    ]
    assert {error.sqlstate for error in found.errors} == {"42P13"}
    assert [each.signature.name for each in found.functions] == ["z"]


def test_other_languages_are_passed_over(catalog: ProxyDb) -> None:
    catalog.run("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    found = catalog.reflect()
    assert (found.functions, found.errors) == ((), ())
    assert catalog.ask(found.check) is True
    create(catalog, "g() RETURNS int")
    assert catalog.ask(found.check) is False


CHANGES = [
    "ALTER TABLE tab ADD extra int",
    "ALTER TABLE tab DROP extra",
    "ALTER TABLE tab RENAME name TO title",
    "ALTER TABLE tab ALTER title TYPE text",
    "ALTER TABLE tab RENAME TO tab2",
    "ALTER TYPE mood RENAME TO mood2",
    'ALTER TYPE span SET SCHEMA "My ""S"',
    'ALTER SCHEMA "My ""S" RENAME TO mine',
    "CREATE OR REPLACE FUNCTION f(tab2, mood2[], mine.span) RETURNS SETOF tab2 "
    "LANGUAGE plproxy AS $$ CLUSTER 'd'; $$",
    "ALTER FUNCTION f STRICT",
    "ALTER FUNCTION f RENAME TO g",
    "ALTER FUNCTION g STABLE",
    "DROP FUNCTION g",
]


def test_changes_are_noticed(catalog: ProxyDb) -> None:
    create(catalog, "f(tab, mood[], span) RETURNS SETOF tab")
    create(catalog, 'h("My ""S"."Type") RETURNS int')
    before = catalog.reflect()
    for change in CHANGES:
        assert catalog.ask(before.check) is True
        catalog.run(change)
        assert catalog.ask(before.check) is False, change
        after = catalog.reflect()
        assert after != before, change
        before = after


def test_housekeeping_is_no_change(catalog: ProxyDb) -> None:
    create(catalog, "f(tab) RETURNS SETOF tab")
    before = catalog.reflect()
    catalog.run("CREATE TABLE unrelated ()")
    catalog.run("ANALYZE tab")
    for name in ("pg_proc", "pg_type", "pg_attribute", "pg_namespace"):
        catalog.run(f"VACUUM FREEZE pg_catalog.{name}")
    assert catalog.ask(before.check) is True


def test_a_database_without_the_language(proxydb: ProxyDb) -> None:
    assert proxydb.reflect().functions == ()
