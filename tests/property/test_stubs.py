"""Typed modules of any catalog: whatever its names, nothing in them is code."""

from __future__ import annotations

import ast
import dataclasses
import keyword
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from plproxy_py.compiler import compile_function
from plproxy_py.function import ProxyFunction
from plproxy_py.language.body import (
    Body,
    Expression,
    Literal,
    Reference,
    RunAll,
    RunAny,
)
from plproxy_py.pgtypes import parse_type
from plproxy_py.signature import Argument, Mode, Signature
from plproxy_py.stubs.literals import block, comment, quoted
from plproxy_py.stubs.names import identifier
from tests.strategies import texts
from tests.stubs import check, write

HOSTILE = st.sampled_from(
    [
        *("class", "None", "self", "__init__", "__debug__", "_", "list", "router"),
        *('"""', "'''", "\\", "\\'", '\\"', "\n", "\r\n", "\u2028", "\u202e", "{x}"),
        *("x\n\nimport os\n", '"""\nimport os\n"""', "#", "# type: ignore", "%s", "$$"),
        *(
            "date",
            "_date",
            "date_",
            "ﬁ",
            "e\u0301",
            "\u0301",
            "2fa",
            "\u0661",
            "ß",
            "İ",
        ),
    ]
)
NAMES = HOSTILE | texts.filter(bool)
TYPES = st.sampled_from(
    [
        *("text", "int4", "numeric(9,2)", "date", "timestamp", "jsonb", "bytea[]"),
        *("public.mood", '"O""\'"."T\\"', '"char"', "uuid[]", "int4range"),
    ]
).map(parse_type)
DEFAULTS = st.sampled_from([None, "NULL", "now()", "'it''s \\'", 'lower(\'"""\')'])


@st.composite
def functions(draw: st.DrawFn) -> ProxyFunction:
    """Draw a function of any names."""
    inputs = draw(st.lists(st.tuples(NAMES, TYPES), max_size=3, unique_by=_first))
    outputs = draw(st.lists(st.tuples(NAMES, TYPES), max_size=4, unique_by=_first))
    default = draw(DEFAULTS)
    arguments = [Argument("k", parse_type("text"))] if draw(st.booleans()) else []
    arguments += [Argument(*each) for each in inputs if each[0] != "k"]
    if arguments:
        last = dataclasses.replace(arguments[-1], default=default)
        arguments = [*arguments[:-1], last]
    result = draw(TYPES) if not outputs else None
    arguments += [Argument(*each, Mode.OUT) for each in outputs]
    signature = Signature(
        draw(st.just("public") | NAMES),
        draw(NAMES),
        tuple(arguments),
        result,
        draw(st.booleans()),
    )
    is_hashed = bool(signature.inputs) and signature.inputs[0].type.cast == "text"
    call = Expression(("hashtext(", Reference(0), ")"), 1)
    run_on = call if is_hashed else RunAll() if signature.setof else RunAny()
    body = Body(cluster=Literal(draw(NAMES), 1), run_on=run_on)
    function = compile_function(
        signature, body, registered={}, strict=draw(st.booleans())
    )
    return dataclasses.replace(function, row_type=None)


def _first(pair: tuple[str, Any]) -> str:
    return pair[0]


# Each example imports a module.
@settings(max_examples=60)
@given(st.lists(functions(), max_size=4, unique_by=lambda each: each.signature.key))
def test_any_catalog(functions: list[ProxyFunction]) -> None:
    made = write(*functions)
    assert made.unwritten == ()
    tree = ast.parse(made.text)
    assert {type(node) for node in tree.body} <= {
        *(ast.Expr, ast.ImportFrom, ast.Assign, ast.If, ast.ClassDef, ast.FunctionDef)
    }
    faces = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert len({node.name for node in faces}) == len(faces) == len(functions)
    assert all(len(node.decorator_list) == 1 for node in faces)
    # Two underscores would say that it can't be a keyword.
    names = {each.arg for each in ast.walk(tree) if isinstance(each, ast.arg)}
    assert not any(name.startswith("__") for name in names)
    declared = check(made, functions)
    for node in faces:
        call = declared[node.name]
        assert (
            call.definition
            is declared["router"].functions[call.definition.signature.key].definition
        )
        assert identifier(call.definition.signature.name).strip("_") in node.name


@given(texts | HOSTILE)
def test_literals(text: str) -> None:
    for each in (text, f'"""{text}"', f'{text}"""'):
        assert ast.literal_eval(quoted(each)) == each
        assert ast.literal_eval(block(each)) == each
    assert quoted(text).isprintable()
    assert ast.unparse(ast.parse(comment(text) + "\nx")) == "x"


@given(NAMES)
def test_identifiers(name: str) -> None:
    found = identifier(name)
    assert found.isidentifier()
    assert not keyword.iskeyword(found)
    assert not found.startswith("__")
    (node,) = ast.parse(found).body
    assert isinstance(node, ast.Expr)
    assert isinstance(node.value, ast.Name)
    # Python reads the name that was written.
    assert node.value.id == found
    assert identifier(found) == found
