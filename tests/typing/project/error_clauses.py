"""What an except clause knows about an error."""

from collections.abc import Mapping
from typing import assert_type

import psycopg
from faces import get_user_email, router

import plproxy_py
from plproxy_py import Outcome

try:
    get_user_email("marko")
except plproxy_py.DeclarationError as error:
    assert_type(error.line, int | None)
    assert_type(error.token, str | None)
except plproxy_py.PoolTimeout as error:
    assert_type(error.phase, str)
except plproxy_py.QueryTimeout as error:
    a_timeout: TimeoutError = error
    operational: psycopg.OperationalError = error
except plproxy_py.Error as error:
    of_psycopg: psycopg.Error = error
    assert_type(error.sqlstate, str | None)
    assert_type(error.function, str | None)
    assert_type(error.cluster, str | None)
    assert_type(error.partition, int | None)
    assert_type(error.sent, bool)
    assert_type(error.diag.message_detail, str | None)
    assert_type(error.outcomes, Mapping[int, Outcome[object]])
    for outcome in error.outcomes.values():
        assert_type(outcome.error, plproxy_py.Error | None)
        assert_type(outcome.seconds, float)
        if outcome.state == "unknown":
            print(outcome.sent)
        elif outcome.state == "comitted":  # expect-error
            print(outcome.rows)

try:
    router.call("create_user", "marko")
except psycopg.errors.UniqueViolation as error:
    assert_type(error.sqlstate, str | None)
