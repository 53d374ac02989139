"""Functions out of rows of the catalog."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plproxy_py.pgtypes import PgType, parse_type
from plproxy_py.signature import Dynamic, Record, Scalar, Void, parse_signature
from plproxy_py.sources.functions import Reflected, Reflection, functions_question

OIDS = {
    "int4": 23,
    "text": 25,
    "_text": 1009,
    "char": 18,
    "record": 2249,
    "void": 2278,
    "cstring": 2275,
    "mood": 100,
    "_mood": 101,
    "pair": 102,
    "pairs": 103,
    "empty": 104,
    "moods": 105,
    "ranges": 106,
}


def type_row(name: str, schema: str = "pg_catalog", **changes: Any) -> dict[str, Any]:
    array = name.startswith("_")
    return {
        "schema": schema,
        "name": name.removeprefix("_"),
        "array": array,
        "kind": "b",
        "composite": False,
        "columns": None,
    } | changes


PAIR = [["id", OIDS["int4"]], ["the mood", OIDS["_mood"]]]
TYPES = {
    str(OIDS[row["name"] if not row["array"] else f"_{row['name']}"]): row
    for row in [
        type_row("int4"),
        type_row("text"),
        type_row("_text"),
        type_row("char"),
        type_row("record", kind="p"),
        type_row("void", kind="p"),
        type_row("cstring", kind="p"),
        type_row("mood", "public", kind="e"),
        type_row("_mood", "public"),
        type_row("pair", 'My "S', kind="c", composite=True, columns=PAIR),
        type_row("pairs", "public", kind="d", composite=True),
        type_row("empty", "public", kind="c", composite=True),
        type_row("moods", "public", kind="d"),
        type_row("ranges", "public", kind="m"),
    ]
}


def function(name: str = "f", **changes: Any) -> dict[str, Any]:
    types = changes.pop("types", ())
    returns = changes.pop("returns", "text")
    return {
        "schema": "public",
        "name": name,
        "kind": "f",
        "names": None,
        "modes": None,
        "types": [OIDS[type] for type in types],
        "defaults": [],
        "setof": False,
        "returns": OIDS[returns],
        "volatile": True,
        "strict": False,
        "definer": False,
        "body": "CLUSTER 'c';",
    } | changes


def reflect(*rows: dict[str, Any], fingerprint: str | None = "f00") -> Reflection:
    document = {"fingerprint": fingerprint, "functions": rows, "types": TYPES}
    found = functions_question().read([(json.dumps(document),)])
    assert isinstance(found, Reflection)
    return found


def one(**changes: Any) -> Reflected:
    (found,) = reflect(function(**changes)).functions
    return found


def test_a_function() -> None:
    found = one(
        types=["int4", "_text", "char", "_mood"],
        names=["id", "", "the char", "moods"],
        defaults=[None, None, "'x'::\"char\"", "'{}'::mood[]"],
        setof=True,
        strict=True,
        definer=True,
        body="\n CLUSTER 'c';",
    )
    assert found.signature == parse_signature(
        'f(id int, text[], "the char" "char" DEFAULT \'x\'::"char", '
        "moods public.mood[] DEFAULT '{}'::mood[]) RETURNS SETOF text"
    )
    assert found.body == "\n CLUSTER 'c';"
    assert found.strict
    assert found.security_definer
    assert not found.procedure
    assert found.signature.shape(found.columns) == Scalar(PgType("text"))


def test_output_arguments() -> None:
    types = ["int4", "text", "mood"]
    found = one(
        types=types, names=["a", "b", "c"], modes=["i", "b", "o"], returns="record"
    )
    assert found.signature == parse_signature(
        "f(a int, INOUT b text, OUT c public.mood)"
    )
    shape = found.signature.shape(found.columns)
    assert shape == Record((("b", PgType("text")), ("c", PgType("public.mood"))))


def test_an_only_output_argument() -> None:
    found = one(types=["int4"], names=["a"], modes=["o"], returns="int4")
    assert found.signature.shape(found.columns) == Scalar(PgType("int4"), "a")


def test_output_arguments_without_names_are_a_dynamic_record() -> None:
    found = one(types=["int4", "text"], modes=["o", "o"], returns="record")
    columns = (("column1", PgType("int4")), ("column2", PgType("text")))
    assert found.signature.shape(found.columns) == Dynamic(columns)


def test_a_table() -> None:
    found = one(
        types=["int4", "text", "int4"],
        names=["a", "b", "c"],
        modes=["i", "t", "t"],
        returns="record",
        setof=True,
    )
    assert str(found.signature) == "public.f(a int4) RETURNS TABLE(b text, c int4)"


COLUMNS = (("id", PgType("int4")), ("the mood", parse_type("public.mood[]")))


def test_a_composite_result_has_its_live_columns() -> None:
    found = one(returns="pair", setof=True)
    assert found.columns == COLUMNS
    assert found.signature.returns == PgType('"My ""S".pair')
    assert found.signature.shape(found.columns) == Record(COLUMNS)


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        ("o", 'f(a int4) RETURNS "My ""S".pair'),
        ("b", 'f(a int4, p "My ""S".pair) RETURNS "My ""S".pair'),
    ],
)
def test_an_only_output_argument_of_a_composite_type_is_that_type(
    mode: str, text: str
) -> None:
    found = one(
        types=["int4", "pair"], names=["a", "p"], modes=["i", mode], returns="pair"
    )
    assert found.signature == parse_signature(text)
    assert found.signature.shape(found.columns) == Record(COLUMNS)


def test_void_and_dynamic_records() -> None:
    assert one(returns="void").signature.shape() == Void()
    assert one(returns="record").signature.shape() == Dynamic()


def test_a_procedure() -> None:
    found = one(kind="p", returns="void", types=["int4"])
    assert found.procedure
    assert found.signature.shape() == Void()


def test_a_domain_is_a_scalar() -> None:
    found = one(returns="moods", types=["pairs"])
    assert found.signature.shape() == Scalar(PgType("public.moods"))
    assert not found.signature.inputs[0].type.is_array


def test_overloads_stay_apart() -> None:
    found = reflect(function(types=["int4"]), function(types=["text"]))
    assert [each.signature.key for each in found.functions] == [
        "public.f(int4)",
        "public.f(text)",
    ]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"types": ["_text"], "modes": ["v"]}, "VARIADIC"),
        ({"types": ["int4"], "volatile": False}, "volatile"),
        ({"types": ["cstring"]}, "unsupported pseudo type: cstring"),
        ({"types": ["record"]}, "unsupported pseudo type: record"),
        ({"types": ["ranges"]}, "unsupported type code: public.ranges"),
        ({"types": ["int4"], "returns": "ranges"}, "unsupported type code"),
        ({"types": ["int4"], "returns": "cstring"}, "unsupported pseudo type"),
        ({"types": ["int4"], "returns": "pairs"}, "unsupported type: public.pairs"),
        ({"types": ["int4"], "returns": "empty"}, "unsupported type: public.empty"),
    ],
)
def test_what_is_refused_stands_beside_the_others(
    changes: dict[str, Any], reason: str
) -> None:
    found = reflect(function("a"), function(schema="S", **changes), function("z"))
    assert [each.signature.name for each in found.functions] == ["a", "z"]
    (error,) = found.errors
    assert error.sqlstate == "42P13"
    assert error.function == '"S".f(1)'
    assert reason in str(error)


def test_the_inputs_of_a_refused_function_are_counted() -> None:
    found = reflect(
        function(types=["int4", "int4", "int4"], modes=["i", "b", "o"], volatile=False)
    )
    assert found.errors[0].function == "public.f(2)"


def test_the_check_compares_fingerprints() -> None:
    check = reflect(function()).check
    assert check.params == ()
    assert check.read([("f00",)]) is True
    assert check.read([("f01",)]) is False


def test_a_database_without_any() -> None:
    document = {"fingerprint": "0", "functions": None, "types": None}
    found = functions_question().read([(json.dumps(document),)])
    assert isinstance(found, Reflection)
    assert (found.functions, found.errors) == ((), ())
