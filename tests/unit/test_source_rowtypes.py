"""What home is asked of a row type, and what its answer means. Servers: integration."""

from __future__ import annotations

import json

import pytest

from plproxy_py.signature import parse_columns
from plproxy_py.sources.rowtypes import row_type_question


@pytest.mark.parametrize(
    ("document", "columns"),
    [
        ([], ()),
        (
            [["id", "integer"], ["Z z", "public.mood[]"], ["n", "character varying"]],
            parse_columns('id int, "Z z" public.mood[], n varchar'),
        ),
    ],
)
def test_columns(document: list[list[str]], columns: object) -> None:
    """No columns: it is no row type."""
    question = row_type_question('s."T t"')
    assert question.params == (b's."T t"',)
    assert question.read([[json.dumps(document)]]) == columns
