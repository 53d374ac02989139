"""Any text is read or refused, and soon; what a signature writes, it reads again."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plproxy_py.errors import DeclarationError, ParseError, SignatureError
from plproxy_py.language.create import read_functions
from plproxy_py.pgtypes import PgType, parse_type, quote_identifier
from plproxy_py.signature import (
    RECORD,
    VOID,
    Argument,
    Mode,
    Signature,
    parse_columns,
    parse_signature,
)

# Pieces that lead far into the readers; text of letters alone is refused at once.
WORDS = r"""
create or replace function procedure returns setof table null on input language plproxy
sql as in out inout variadic default = ( ) [ ] , ; . :: % - 1 3.5 a b "A" "" int text
numeric double precision character varying timestamp with time zone interval day to
second array char bit float national void record cstring serial _int4 pg_catalog strict
stable set search_path from current role cost rows support transform for type security
definer parallel begin atomic case end copy stdin \. \copy \g \; 'x' '' ' E'\u12' E'\n'
$$ $a$ $1 " -- /* */ é
""".split()
LINES = ["\n", "\n\\.\n", "'a'\n'b'", "\\copy t from stdin\n", "\0", "\ud800"]
texts = st.lists(st.sampled_from(WORDS + LINES) | st.text(max_size=3), max_size=25).map(
    " ".join
)
heads = st.sampled_from(["", "f(", "f() returns ", "create function f() returns int "])

names = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1
)
bodies = st.text(st.sampled_from("ab;$'\"\\-/*\n\r ")) | names
types = st.builds(
    lambda name, is_array: PgType(name, is_array=is_array),
    st.sampled_from(["int4", "text", '"char"', '"bit"', "timestamptz"])
    | st.builds(
        lambda *path: ".".join(map(quote_identifier, path)), st.just("s"), names
    ),
    st.booleans(),
) | st.sampled_from(
    [
        parse_type(text)
        for text in (
            "numeric(20,10)",
            "varchar(3)[]",
            "timestamp(3)",
            "interval day to second(3)",
            "bit(4)",
            "double",
            "geography(Point,4326)",
        )
    ]
)
defaults = st.sampled_from(["1", "f(1, 2)", "array[1, 2]", "'a, b)'", "$$,)$$"])


@st.composite
def signatures(draw: st.DrawFn) -> Signature:
    unique = draw(st.lists(names, max_size=6, unique=True))
    table = draw(st.booleans())
    result = Mode.TABLE if table else Mode.OUT
    modes = [Mode.IN, result] if table else [Mode.IN, Mode.INOUT, result]
    arguments: list[Argument] = []
    for name in unique:
        mode = draw(st.sampled_from(modes))
        unnamed = mode is not Mode.TABLE and draw(st.booleans())
        has_default = mode in (Mode.IN, Mode.INOUT) and (
            any(argument.default for argument in arguments) or draw(st.booleans())
        )
        arguments.append(
            Argument(
                None if unnamed else name,
                draw(types),
                mode,
                draw(defaults) if has_default else None,
            )
        )
    # RETURNS TABLE stands behind all others.
    arguments.sort(key=lambda argument: argument.mode is Mode.TABLE)
    outputs = [argument for argument in arguments if argument.mode is not Mode.IN]
    returns, setof = None, False
    if outputs and table:
        setof = True
    elif draw(st.booleans()):
        setof = draw(st.booleans())
        if not outputs:
            returns = draw(types | st.sampled_from([VOID, RECORD]))
        else:
            returns = outputs[0].type if len(outputs) == 1 else RECORD
    return Signature(draw(names), draw(names), tuple(arguments), returns, setof)


@settings(max_examples=100)
@given(heads, texts)
def test_any_text_is_read_or_refused(head: str, text: str) -> None:
    text = head + text
    with contextlib.suppress(ParseError, SignatureError):
        read_functions(text)
    for parse in (parse_type, parse_signature, parse_columns):
        with contextlib.suppress(SignatureError):
            parse(text)


@settings(max_examples=50)
@given(signatures())
def test_a_signature_reads_as_it_is_written(signature: Signature) -> None:
    assert parse_signature(str(signature)) == signature


@settings(max_examples=50)
@given(signatures(), bodies, st.integers(0, 3), st.sampled_from(["", "SELECT 1;\n"]))
def test_a_function_reads_as_it_is_written(
    signature: Signature, body: str, blank: int, after: str
) -> None:
    if not signature.outputs and signature.returns is None:
        signature = replace(signature, returns=VOID)
    head = "\n" * blank + f"CREATE FUNCTION {signature} LANGUAGE plproxy AS "
    tag = "$" * 2
    while tag in body or body.endswith("$"):
        body, tag = body.rstrip("$"), f"${tag[1:-1]}x$"
    for literal in (f"{tag}{body}{tag}", "'" + body.replace("'", "''") + "'"):
        (found,) = read_functions(f"{head}{literal};\n{after}")
        assert (found.signature, found.body) == (signature, body)
        assert found.line == blank + 1
        assert found.body_line == blank + 1 + head.strip("\n").count("\n")


@pytest.mark.parametrize(
    "hard",
    [
        "'" * 100_001,
        '"' * 100_001,
        "$a" * 20_000,
        "$a$ " * 20_000 + "$b$",
        "/*" * 50_000,
        "/**/" * 10_000,
        "(" * 10_000,
        "\\" * 100_000,
        "E'\\'" * 50_000,
        "'a'\n" * 50_000 + "'",
        "\\copy t from stdin\n\\.\n" * 2_000,
        "create function f() returns int begin atomic case " * 400,
        "CREATE FUNCTION f() RETURNS int LANGUAGE plproxy AS 'x';" * 200,
    ],
)
def test_no_text_takes_long(hard: str) -> None:
    started = time.process_time()
    with contextlib.suppress(DeclarationError):
        read_functions(hard)
    # Some 50 ms; a reader that looks twice at what is unterminated takes seconds.
    assert time.process_time() - started < 1
