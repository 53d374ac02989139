"""Values of sensitive arguments: in no error, log, notice, repr, pickle or output."""

from __future__ import annotations

import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from plproxy_py import Error, Notice, Partial, RemoteError, SignatureError
from plproxy_py.cli import main as plproxy
from tests.both import drained, face
from tests.fix_router import Driver
from tests.fix_server import Pg

# Its end is no number, of which an error has others.
SSN = "123-45-zebra"
PARTITIONS = [f"part{number:02}" for number in range(4)]

REMOTE = """
CREATE TABLE IF NOT EXISTS people (ssn text PRIMARY KEY);
CREATE OR REPLACE FUNCTION add_person(ssn text, how text) RETURNS SETOF text
LANGUAGE plpgsql AS $$
BEGIN
    IF how = 'notice' THEN
        RAISE WARNING 'look at %', ssn USING DETAIL = ssn, HINT = ssn;
    ELSIF how = 'raise' THEN
        RAISE EXCEPTION 'bad person % of %', ssn, current_database()
            USING DETAIL = ssn, HINT = ssn;
    ELSIF how = 'cast' THEN
        RETURN NEXT ssn::int4;
    ELSIF how = 'execute' THEN
        EXECUTE format('SELECT %L::int4', ssn);
    ELSIF how = 'end' THEN
        RAISE EXCEPTION 'over' USING ERRCODE = '57P01', DETAIL = ssn;
    ELSE
        INSERT INTO people VALUES (ssn);
    END IF;
    RETURN NEXT how;
END $$;
"""
HINTS = {"ssn": str, "how": str}
BAD = ["insert", "raise", "cast", "execute", "end"]


@pytest.fixture(autouse=True)
def _remote(pg: Pg, databases4: list[str]) -> None:
    for name in PARTITIONS:
        pg.execute(name, REMOTE + "TRUNCATE people")
        pg.execute(name, "INSERT INTO people VALUES (%s)", [SSN])


def declared(driver: Driver, returns: Any = list[str], **keywords: Any) -> Any:
    return face(
        driver, returns, HINTS, name="add_person", sensitive=("ssn",), **keywords
    )


def texts(error: BaseException) -> str:
    """Return all that can be read of an error, by eyes or by code."""
    found = [repr(error), str(error), *traceback.format_exception(error)]
    found += map(str, getattr(error, "__notes__", ()))
    if isinstance(error, Error):
        diag = error.diag
        found += [
            str(getattr(diag, name)) for name in dir(type(diag)) if name[0] != "_"
        ]
        found += [repr(error.__dict__), repr(error.pgresult)]
        found.append(repr(pickle.dumps(error)))
    return "\n".join(found)


def check(error: Error | None) -> None:
    """Hold an error and those in its outcomes to silence."""
    assert error is not None
    for one in (error, *(out.error for out in error.outcomes.values())):
        if one is not None:
            assert SSN not in texts(one)
            assert "zebra" not in texts(one)
            assert "DETAIL" not in str(one)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.sqlstate) == (str(error), error.sqlstate)


@pytest.mark.parametrize("how", BAD)
@pytest.mark.parametrize("run_on", ["ALL", 1])
def test_calls(userdb: Driver, how: str, run_on: Any) -> None:
    call = declared(userdb, run_on=run_on)
    for warm in range(4):
        userdb.run(call(f"someone {warm}", "fine"))
    with pytest.raises(RemoteError) as caught:
        userdb.run(call(SSN, how))
    error = caught.value
    check(error)
    assert error.diag.severity == "ERROR"
    assert error.diag.source_line
    assert str(error).startswith("public.add_person(2): [")
    # What is said is still of use.
    said = {
        "insert": 'duplicate key value violates unique constraint "people_pkey"',
        "raise": "bad person *** of ",
        "cast": 'invalid input syntax for type integer: "***"',
        "execute": 'invalid input syntax for type integer: "***"',
        "end": "over",
    }[how]
    assert f"REMOTE ERROR: {said}" in str(error)
    assert (error.diag.message_primary or "").startswith(said)
    if how == "insert":
        assert error.diag.constraint_name == "people_pkey"


def test_other_ways_to_call(userdb: Driver) -> None:
    declared(userdb)
    with pytest.raises(RemoteError) as caught:
        userdb.run(userdb.router.call("add_person", SSN, "raise"))
    check(caught.value)
    call = declared(userdb)
    for out in userdb.run(call.call_outcomes(SSN, "raise")).values():
        check(out.error)
    with pytest.raises(RemoteError) as caught:
        userdb.run(call.call_each({0: ("another", "fine"), 1: (SSN, "raise")}))
    check(caught.value)
    items = [("x y z", "fine"), (SSN, "raise"), ("z y x", "fine"), (SSN, "raise")]
    results = userdb.run(call.call_many(items))
    assert [isinstance(one, Error) for one in results] == [False, True] * 2
    check(results[1])
    check(results[3])


def test_partial_answers_and_retries(userdb: Driver, pg: Pg) -> None:
    pg.execute("part02", "TRUNCATE people")
    call = declared(userdb, Partial[str], retry=1, idempotent=True)
    answer = userdb.run(call(SSN, "insert"))
    assert answer.missing == (0, 1, 3)
    for error in answer.errors.values():
        check(error)
    assert SSN not in repr(answer)


def test_streams(userdb: Driver) -> None:
    call = declared(userdb, Iterator[str])
    _, error = drained(userdb, call(SSN, "raise"))
    assert isinstance(error, Error)
    check(error)


def test_options_of_one_callable(userdb: Driver) -> None:
    """For functions of a file or a catalog, which have no such keyword."""
    define = userdb.router.define
    open_call = define(
        "CREATE FUNCTION add_person(ssn text, how text) RETURNS SETOF text "
        "LANGUAGE plproxy AS $$ CLUSTER 'userdb'; RUN ON ALL; $$"
    )
    with pytest.raises(RemoteError, match=SSN):
        userdb.run(open_call(SSN, "raise"))
    call = open_call.with_options(sensitive=("ssn",))
    with pytest.raises(RemoteError) as caught:
        userdb.run(call(SSN, "raise"))
    check(caught.value)
    with pytest.raises(SignatureError, match="'snn'; did you mean 'ssn'"):
        open_call.with_options(sensitive=["snn"])
    with pytest.raises(SignatureError, match="'ss'; did you mean 'ssn'"):
        face(userdb, list[str], HINTS, sensitive=("ss",))


def test_notices(
    make_router: Callable[..., Driver],
    databases4: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    call = declared(logged := make_router({"userdb": databases4}))
    assert logged.run(call(SSN, "notice")) == ["notice"] * 4
    assert "public.add_person(2): [partition 3] REMOTE WARNING: (not sh" in caplog.text
    assert SSN not in caplog.text
    seen: list[Notice] = []
    driver = make_router({"userdb": databases4}, on_notice=seen.append)
    driver.run(declared(driver, run_on=0)(SSN, "notice"))
    (notice,) = seen
    assert (notice.diag.severity, notice.diag.sqlstate) == ("WARNING", "01000")
    assert notice.diag.message_detail is notice.diag.message_hint is None
    # Other functions' are as they came.
    text = "public.add_person(s text, h text, x text = '') returns setof text"
    other = face(driver, list[str], {"s": str, "h": str, "x": str}, text, run_on=0,
                 select="SELECT * FROM add_person(s, h)")  # fmt: skip
    driver.run(other(SSN, "notice", ""))
    assert seen[-1].diag.message_primary == f"look at {SSN}"


def test_misfits(userdb: Driver) -> None:
    call = declared(userdb)
    for bad, kind in ((SSN + "\0", ValueError), ([SSN], TypeError)):
        with pytest.raises(kind, match="argument ssn") as caught:
            userdb.run(call(bad, "x"))
        assert "zebra" not in texts(caught.value)
    for args in ((SSN,), (SSN, "x", SSN)):
        with pytest.raises(TypeError) as caught:
            userdb.run(call(*args))
        assert SSN not in texts(caught.value)
    assert SSN not in repr(call.bind(SSN, "x"))


def test_routes(userdb: Driver) -> None:
    """A hash may be the value itself, and a cluster's name made of it."""
    call = face(
        userdb, list[str], {"ssn": int, "how": str}, sensitive=("ssn",), run_on="ssn"
    )
    plan = userdb.run(call.plan(123456789, "x"))
    assert (plan.params, plan.hashes) == ((123456789, "x"), (123456789,))
    assert "123456789" not in repr(plan)
    assert "params=(***, 'x')" in repr(plan)
    assert "hashes=(***,)" in repr(plan)
    by_name = face(
        userdb, list[str], HINTS, sensitive=("ssn",), cluster=lambda ssn, how: ssn
    )
    for ask in (by_name, by_name.plan):
        with pytest.raises(Error) as caught:
            userdb.run(ask(SSN, "x"))
        assert "***" in str(caught.value)
        assert SSN not in texts(caught.value)


APP = """
from plproxy_py import Router
router = Router({{"userdb": {connstrs!r}}})

@router.proxy(cluster="userdb", run_on="ssn", sensitive=("ssn",))
def find(ssn: int) -> list[str]: ...

@router.proxy(cluster="userdb", run_on=0, sensitive=("ssn",))
def add_person(ssn: str, how: str) -> list[str]: ...
"""


def test_command_line(
    databases4: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sensitive_app.py").write_text(APP.format(connstrs=databases4))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for command in (
        ["route", "find", "123456789"],
        ["--json", "route", "find", "123456789"],
        ["functions"],
        ["call", "add_person", SSN, "raise"],
        ["call", "add_person", SSN, "cast"],
        ["call", "find", "x123456789"],
    ):
        done = CliRunner().invoke(plproxy, ["--app", "sensitive_app:router", *command])
        assert "zebra" not in done.output, command
        assert "23456789" not in done.output, command
        assert done.exit_code == (command[0] == "call"), done.output
