"""Functions by name, as SQL names them; files of them, all or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from plproxy_py._catalog import Catalog
from plproxy_py.config import cluster_config
from plproxy_py.errors import ConfigError, ParseError, SignatureError

FUNCTIONS = """
CREATE FUNCTION get(id int) RETURNS text AS $$ CLUSTER 'c'; $$ LANGUAGE plproxy;
CREATE FUNCTION get(n varchar(9)) RETURNS text AS $$ CLUSTER 'c'; $$ LANGUAGE plproxy;
CREATE FUNCTION s.get(id int) RETURNS text AS $$ CLUSTER 'c'; $$ LANGUAGE plproxy;
CREATE FUNCTION s.alone() RETURNS text AS $$ CLUSTER 'c'; $$ LANGUAGE plproxy;
CREATE FUNCTION "Get It"(a text[], INOUT b "char", OUT c int) AS $$ CLUSTER 'c'; $$
    LANGUAGE plproxy;
CREATE FUNCTION one(x int) RETURNS text AS $$ CLUSTER 'c'; $$ LANGUAGE plproxy;
CREATE FUNCTION other() RETURNS text AS $$ SELECT 1 $$ LANGUAGE sql;
"""
KEYS = [
    "public.get(int4)",
    "public.get(varchar)",
    "s.get(int4)",
    "s.alone()",
    'public."Get It"(text[],"char")',
    "public.one(int4)",
]


@pytest.fixture
def catalog() -> Catalog:
    catalog = Catalog({})
    catalog.define(FUNCTIONS)
    return catalog


def test_keys(catalog: Catalog) -> None:
    assert list(catalog.entries) == KEYS
    for key, entry in catalog.entries.items():
        assert catalog.find(key) is entry
        assert entry.current().signature.key == key


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("one", "public.one(int4)"),
        ("ONE", "public.one(int4)"),
        (" public . one ", "public.one(int4)"),
        ("one(integer)", "public.one(int4)"),
        ("one(x int)", "public.one(int4)"),
        ("get(int)", None),
        ("public.get(int)", "public.get(int4)"),
        ("s.get", "s.get(int4)"),
        ("get(character varying)", "public.get(varchar)"),
        ("get(varchar(3)) ", "public.get(varchar)"),
        ("alone", "s.alone()"),
        ("alone()", "s.alone()"),
        ('"Get It"', 'public."Get It"(text[],"char")'),
        ('public."Get It"(text[], "char")', 'public."Get It"(text[],"char")'),
        ('"Get It"(_text, INOUT "char", OUT int)', 'public."Get It"(text[],"char")'),
    ],
)
def test_found(catalog: Catalog, name: str, key: str | None) -> None:
    if key is None:
        with pytest.raises(SignatureError, match="say which"):
            catalog.find(name)
    else:
        assert catalog.find(name).current().signature.key == key


@pytest.mark.parametrize(
    ("name", "sqlstate", "reason"),
    [
        ("nobody", "42883", "no function nobody is declared$"),
        ("onn", "42883", "no function onn is declared; did you mean 'one'?"),
        ("public.onn(int)", "42883", r"declared; did you mean 'one'\?$"),
        ("one()", "42883", r"no function one\(\) is declared; did you mean 'one'"),
        ("t.one", "42883", "no function t.one is declared"),
        ("get it", "42P13", "get it"),
        ('"get it"', "42883", 'no function "get it" is declared'),
        ('"ONE"', "42883", 'no function "ONE" is declared'),
        (
            "get",
            "42725",
            r"function get is overloaded, say which: public.get\(int4\), "
            r"public.get\(varchar\), s.get\(int4\)",
        ),
        (
            "public.get",
            "42725",
            r"say which: public.get\(int4\), public.get\(varchar\)$",
        ),
        ("", "42P13", "syntax error"),
        ("one; two", "42P13", "syntax error"),
        ("one(nonsense", "42P13", "syntax error"),
        ("a.b.c", "42P13", "syntax error"),
    ],
)
def test_not_found(catalog: Catalog, name: str, sqlstate: str, reason: str) -> None:
    with pytest.raises(SignatureError, match=reason) as caught:
        catalog.find(name)
    assert caught.value.sqlstate == sqlstate


def test_the_later_declaration_stands(catalog: Catalog) -> None:
    (later,) = catalog.define(FUNCTIONS.split(";\n")[0].replace("'c'", "'d'") + ";")
    assert catalog.find("public.get(int)") is later
    assert later.current().cluster == "d"
    assert len(catalog.entries) == len(KEYS)


def test_all_or_none(catalog: Catalog) -> None:
    before = dict(catalog.entries)
    with pytest.raises(ParseError, match=r"public.bad\(0\): Compile error at line 2"):
        catalog.define(
            FUNCTIONS.replace("get", "new")
            + "CREATE FUNCTION bad() RETURNS int AS $$\nCLUSTER; $$ LANGUAGE plproxy;"
        )
    assert catalog.entries == before


def test_hash_names_fold_as_in_sql() -> None:
    catalog = Catalog({"nameHash": len})
    (entry,) = catalog.define(
        "CREATE FUNCTION f(a text) RETURNS int LANGUAGE plproxy"
        " AS $$ CLUSTER 'c'; RUN ON nameHASH(a); $$;"
    )
    assert catalog.hashes == {"namehash": len}
    four = cluster_config("c", ["dbname=x"] * 4)
    assert entry.current().tag(["abc"], four, len).hashes == (3,)


def test_strict_functions(catalog: Catalog) -> None:
    (entry,) = catalog.define(
        "CREATE FUNCTION f() RETURNS int STRICT AS $$ CLUSTER 'c'; $$ LANGUAGE plproxy;"
    )
    assert entry.current().strict
    assert not catalog.find("one").current().strict


def test_a_file(tmp_path: Path, catalog: Catalog) -> None:
    file = tmp_path / "functions.sql"
    file.write_text(FUNCTIONS + "-- é", encoding="utf-8")
    loaded = Catalog({}).load(file)
    assert [entry.current().signature.key for entry in loaded] == KEYS
    file.write_text("SELECT 1;")
    assert catalog.load(file) == []


def test_a_file_that_can_not_be_read(tmp_path: Path, catalog: Catalog) -> None:
    file = tmp_path / "functions.sql"
    with pytest.raises(
        ConfigError, match=r"functions.sql: can't be read: No such file"
    ):
        catalog.load(file)
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"functions.sql: can't be read: 'utf-8'"):
        catalog.load(file)


def test_a_files_errors_name_it(tmp_path: Path, catalog: Catalog) -> None:
    file = tmp_path / "functions.sql"
    file.write_text(
        "CREATE FUNCTION f() RETURNS int AS $$\nCLUSTER x; $$ LANGUAGE plproxy;"
    )
    with pytest.raises(ParseError, match=r"functions.sql: PL/Proxy function public.f"):
        catalog.load(file)
    file.write_text("CREATE FUNCTION f( RETURNS int AS '' LANGUAGE plproxy;")
    with pytest.raises((ParseError, SignatureError), match=r"^/.*functions.sql: "):
        catalog.load(file)
