"""A new set of definitions in place of the last: who follows, and all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from plproxy_py._catalog import Catalog, Entry
from plproxy_py.errors import DeclarationError, SignatureError, UnsupportedError
from plproxy_py.function import ProxyFunction
from plproxy_py.hints import read_hints
from plproxy_py.signature import parse_signature


@pytest.fixture
def catalog() -> Catalog:
    return Catalog({})


def sql(name: str, cluster: str = "c", result: str = "text", more: str = "") -> str:
    return (
        f"CREATE FUNCTION {name} RETURNS {result} LANGUAGE plproxy AS "
        f"$$ CLUSTER '{cluster}'; {more} $$;"
    )


def replaced(catalog: Catalog, *texts: str) -> list[Entry]:
    return catalog.replace("file", catalog.read("\n".join(texts)))


def face(catalog: Catalog, python: Callable[..., Any]) -> Entry:
    """Declare a typed face, as a bare decorator does."""
    hints = read_hints(python, {}, typed=False)
    found = catalog.find(python.__name__).current()
    return catalog.add(catalog.face(found, hints), hints, wraps=python)


def f(key: str) -> str: ...


def test_entries_are_in_the_order_of_their_definitions(catalog: Catalog) -> None:
    names = [f"f{number}()" for number in range(20)]
    entries = replaced(catalog, *map(sql, names))
    assert list(catalog.entries.values()) == entries
    assert list(catalog.entries) == [f"public.{name}" for name in names]


def test_handles_follow_their_definition(catalog: Catalog) -> None:
    (entry,) = replaced(catalog, sql("f()", "a"))
    assert replaced(catalog, sql("f()", "b")) == [entry]
    assert entry.current().cluster == "b"
    assert catalog.find("f") is entry


def test_of_two_definitions_of_one_name_the_later_stands(catalog: Catalog) -> None:
    for _ in range(2):
        (entry,) = replaced(catalog, sql("f()", "a"), sql("f()", "b"))
        assert catalog.find("f") is entry
        assert entry.current().cluster == "b"


def test_a_face_follows(catalog: Catalog) -> None:
    """It keeps its parameters' names and its hint; the rest is the definition's."""
    (entry,) = replaced(catalog, sql("f(i text)", "a"))
    typed = face(catalog, f)
    assert catalog.find("f") is typed
    replaced(catalog, sql("f(i text)", "b", more="TARGET g;"))
    for follower in (entry, typed):
        assert follower.current().cluster == "b"
        assert b"FROM g($1::text)" in follower.current().query.sql
    assert typed.current().names == ("key",)
    assert entry.current().names == ("i",)
    assert typed.wraps is f


def test_a_definition_that_went(catalog: Catalog) -> None:
    entry, other = replaced(catalog, sql("f(i text)"), sql("g()"))
    typed = face(catalog, f)
    assert replaced(catalog, sql("g()")) == [other]
    for gone in (entry, typed):
        with pytest.raises(SignatureError, match="is not defined any longer") as caught:
            gone.current()
        assert caught.value.sqlstate == "42883"
        assert "public.f(1)" in str(caught.value)
    with pytest.raises(SignatureError, match="no function f is declared"):
        catalog.find("f")


def test_a_definition_that_comes_back(catalog: Catalog) -> None:
    """Between a DROP and a CREATE somebody looked; handles live on all the same."""
    (entry,) = replaced(catalog, sql("f(i text)", "a"))
    typed = face(catalog, f)
    assert replaced(catalog) == []
    assert replaced(catalog) == []
    assert replaced(catalog, sql("f(i text)", "b")) == [entry]
    assert catalog.find("f") is typed
    for follower in (entry, typed):
        assert follower.current().cluster == "b"
    assert typed.current().names == ("key",)


def test_declarations_of_the_applications_own_stay(catalog: Catalog) -> None:
    (own,) = catalog.define(sql("own()"))
    replaced(catalog, sql("f()"))
    replaced(catalog)
    assert list(catalog.entries) == ["public.own()"]
    assert catalog.find("own") is own


def test_a_declaration_takes_a_definitions_place(catalog: Catalog) -> None:
    """As long as that definition stands; its old handle stays as it was."""
    (entry,) = replaced(catalog, sql("f()", "a"))
    (own,) = catalog.define(sql("f()", "own"))
    assert catalog.find("f") is own
    replaced(catalog)
    assert catalog.find("f") is own
    assert own.current().cluster == "own"
    assert entry.current().cluster == "a"


@pytest.mark.parametrize(
    "bad",
    [
        sql("f(i text)", "b", "setof text"),  # no longer what the face says
        sql("f(i text)", "b", "void"),
        sql("f(i text)", "b", more="RUN ON lower(i);"),  # needs a home
        sql("f(i text)", "b", more="RUN ON i;"),  # does not compile
    ],
)
def test_all_or_nothing(catalog: Catalog, bad: str) -> None:
    catalog.refuse_home()
    entries = replaced(catalog, sql("g()", "a"), sql("f(i text)", "a"), sql("h()"))
    typed = face(catalog, f)
    before = dict(catalog.entries)
    functions = {entry: entry.function for entry in [*entries, typed]}
    with pytest.raises(DeclarationError, match=r"public\.f"):
        replaced(catalog, sql("g()", "b"), sql("new()"), bad)
    assert catalog.entries == before
    assert {entry: entry.current() for entry in functions} == functions
    replaced(catalog, sql("g()", "b"), sql("f(i text)", "b"))
    assert typed.current().cluster == "b"


def test_an_error_while_definitions_are_read(catalog: Catalog) -> None:
    (entry,) = replaced(catalog, sql("f()", "a"))

    def reading() -> Iterator[ProxyFunction]:
        yield from catalog.read(sql("f()", "b") + sql("g()", "b"))
        raise OSError("away")

    with pytest.raises(OSError, match="away"):
        catalog.replace("file", reading())
    assert list(catalog.entries) == ["public.f()"]
    assert entry.current().cluster == "a"


def test_without_a_home(catalog: Catalog) -> None:
    """The first that needs one is named; what comes later is refused at once."""
    needy = sql("f(i text)", more="RUN ON lower(i);")
    catalog.define(needy)
    with pytest.raises(UnsupportedError, match=r"public.f\(1\).*home="):
        catalog.refuse_home()
    catalog = Catalog({})
    catalog.refuse_home()
    for declare in (catalog.define, lambda text: replaced(catalog, text)):
        with pytest.raises(UnsupportedError, match=r"public.f\(1\).*home="):
            declare(sql("g()") + needy)
    assert catalog.entries == {}


def test_functions_are_found_while_others_are_declared(catalog: Catalog) -> None:
    """A search may be under way in one thread when a map changes in another."""
    catalog.define(sql("f()") + sql("s.f()"))
    search = catalog._matching(parse_signature("f()", schema=""), False)
    found = [next(search)]
    catalog.define(sql("t.f()"))
    found += search
    assert [entry.function.label for entry in found] == ["public.f(0)", "s.f(0)"]


def test_each_origin_replaces_its_own(catalog: Catalog) -> None:
    """A file's new set leaves alone what the database defined, and the other way."""
    (filed,) = catalog.replace("file", catalog.read(sql("f()", "a")))
    (reflected,) = catalog.replace("home", catalog.read(sql("g()", "a")))
    assert catalog.replace("file", []) == []
    assert filed.gone
    assert not reflected.gone
    assert list(catalog.entries) == ["public.g()"]
    assert catalog.replace("file", catalog.read(sql("f()", "b"))) == [filed]
    assert list(catalog.entries) == ["public.g()", "public.f()"]
