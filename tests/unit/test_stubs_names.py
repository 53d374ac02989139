"""Names of a typed module: Python's rules, and no two alike."""

from __future__ import annotations

from plproxy_py.stubs.hinting import is_router_name
from tests.compiled import CLUSTER, define
from tests.stubs import check, face, write

HASHED = CLUSTER + "RUN ON hashtext(k);"


def test_names_that_python_has_taken() -> None:
    heads = [
        "int(k text)",
        "list(k text)",
        '"class"(k text)',
        '"None"(k text)',
        '"NotImplementedError"(k text)',
        '"__all__"(k text)',
        '"__debug__"(k text)',
        '"DEFAULT"(k text)',
        "router(k text)",
        "plproxy_py(k text)",
        '"2fa"(k text)',
        '"ﬁnd"(k text)',
        "match(k text)",
    ]
    heads = [f'"{head[:-8]}"(k text)' if '"' not in head else head for head in heads]
    functions = [define(head, HASHED) for head in heads]
    names = check(write(*functions), functions)
    assert {
        name: value.definition.signature.name
        for name, value in names.items()
        if hasattr(value, "definition")
    } == {
        "int_": "int",
        "list_": "list",
        "class_": "class",
        "None_": "None",
        "NotImplementedError_": "NotImplementedError",
        "_all__": "__all__",
        "_debug__": "__debug__",
        "DEFAULT_": "DEFAULT",
        "router_": "router",
        "plproxy_py": "plproxy_py",
        "_2fa": "2fa",
        "find": "ﬁnd",
        "match": "match",
    }


def test_names_of_arguments() -> None:
    function = define(
        'f("self" text, "self_" text, "a b" text, "a_b" text, text, "import" text, '
        '"__k" text, "" text)'.replace('"" text', '"ä" text'),
        CLUSTER,
    )
    assert face(function).startswith(
        "f(self_: str, self__: str, a_b: str, a_b_: str, arg5: str, import_: str, "
        "_k: str, ä: str)"
    )


def test_keywords_that_only_sql_knows() -> None:
    head = 'f(k text, "class" int default 1 + 1, n int default 2)'
    function = define(head, HASHED)
    assert face(function) == ("f(k: str, class_: int=DEFAULT, /, n: int=2) -> None")
    names = check(write(function), [function])
    assert names["f"].definition.names == ("k", "class", "n")
    assert "/" not in face(define(head.replace("1 + 1", "1"), HASHED))
    assert "/" not in face(define(head.replace('"class"', "m"), HASHED))


def test_overloads_and_schemas() -> None:
    heads = [
        "a.f(k text)",
        "a.f(k text, int)",
        "b.f(k text)",
        "b.g(k text, public.mood[])",
        "b.g(k text, int)",
        '"b.g"(k text)',
        "g_text_int4(k text)",
        "g_text_int4_(k text)",
    ]
    functions = [define(head, HASHED) for head in heads]
    functions.append(define("a.h(k text)", HASHED, strict=True))
    functions.append(define("b.h(k text)", HASHED, strict=True))
    functions.append(define("i(k text)", HASHED, strict=True))
    functions.append(define("i()", CLUSTER, strict=True))
    names = check(write(*functions), functions)
    assert {
        name: value.definition.signature.key
        for name, value in names.items()
        if hasattr(value, "definition")
    } == {
        "a_f_text": "a.f(text)",
        "a_f_text_int4": "a.f(text,int4)",
        "b_f": "b.f(text)",
        "g_text_mood_array": "b.g(text,public.mood[])",
        "g_text_int4": "b.g(text,int4)",
        "b_g": 'public."b.g"(text)',
        "g_text_int4_": "public.g_text_int4(text)",
        "g_text_int4__": "public.g_text_int4_(text)",
        "a_h": "a.h(text)",
        "b_h": "b.h(text)",
        "i": "public.i()",
        "i_text": "public.i(text)",
    }


def test_names_of_routers() -> None:
    assert is_router_name("db")
    for name in ("", "class", "a b", "int", "DEFAULT", "__x", "ﬁ", "Router", "1"):
        assert not is_router_name(name)
