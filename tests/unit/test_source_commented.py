"""Functions of a schema whose comments say how to route, out of rows of the catalog."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plproxy_py.sources.commented import commented_question
from plproxy_py.sources.functions import Reflection

INT4 = {
    "schema": "pg_catalog",
    "name": "int4",
    "array": False,
    "kind": "b",
    "composite": False,
    "columns": None,
}


def read(*rows: dict[str, Any]) -> Reflection:
    """Read catalog rows of functions app.f() that return an integer."""
    usual: dict[str, Any] = {
        "schema": "app",
        "name": "f",
        "kind": "f",
        "names": None,
        "modes": None,
        "types": [],
        "defaults": [],
        "setof": False,
        "returns": 23,
        "volatile": True,
        "strict": False,
        "definer": False,
        "body": "plproxy: CLUSTER 'c';",
    }
    document = {
        "fingerprint": "x",
        "functions": [usual | row for row in rows],
        "types": {"23": INT4},
    }
    found = commented_question("app").read([(json.dumps(document),)])
    assert isinstance(found, Reflection)
    return found


def test_the_question_is_about_one_schema() -> None:
    question = commented_question('My "S')
    assert question.params == (b'My "S',)
    assert question.sql.count(b"$1") == 1


@pytest.mark.parametrize(
    ("comment", "body"),
    [
        ("plproxy: CLUSTER 'c';", " CLUSTER 'c';"),
        ("Plproxy:x", "x"),
        ("Return it.\n\n \tplproxy: a\nplproxy: b", "\n\n a\nplproxy: b"),
        # a body of the language itself
        ("\n CLUSTER 'plproxy: x';", "\n CLUSTER 'plproxy: x';"),
    ],
)
def test_what_stands_behind_the_prefix(comment: str, body: str) -> None:
    (found,) = read({"body": comment}).functions
    assert found.body == body
    assert found.signature.key == "app.f()"


def test_what_cannot_be_called() -> None:
    found = read({"volatile": False}, {"kind": "p", "name": "p"}, {"name": "g"})
    assert [each.signature.name for each in found.functions] == ["g"]
    assert [(error.function, error.sqlstate) for error in found.errors] == [
        ("app.f(0)", "42P13"),
        ("app.p(0)", "42P13"),
    ]
    assert str(found.errors[1]) == (
        "PL/Proxy function app.p(0): no SELECT can call a procedure"
    )
