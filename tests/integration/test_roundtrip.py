"""A call's round trip and a pipeline's sends: the compiled part and psycopg's own way.

Each test runs on both, with the same answers, errors and states of the connection.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from plproxy_py import ConnectionLost, Error, QueryTimeout, RemoteError, Router, _libpq
from tests.both import wait_until
from tests.fix_server import Pg
from tests.fix_twins import compiled

REMOTE = """
CREATE OR REPLACE FUNCTION rt_echo(v text) RETURNS text LANGUAGE sql AS 'SELECT v';
CREATE OR REPLACE FUNCTION rt_nap(v text, n float8) RETURNS text LANGUAGE plpgsql
    AS $$ BEGIN PERFORM pg_sleep(n); RETURN v; END $$;
CREATE OR REPLACE FUNCTION rt_try(v text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
    RAISE NOTICE 'about to try %', v;
    IF v = 'bad' THEN RAISE EXCEPTION 'not %', v USING ERRCODE = '22012'; END IF;
    IF v = 'end' THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
    RETURN v;
END $$;
"""


@pytest.fixture(params=["compiled", "python"])
def _twin(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "python":
        monkeypatch.setattr(_libpq, "_converse", None)
        monkeypatch.setattr(_libpq, "_queue", None)
    else:
        compiled("_roundtrip")
        assert _libpq._converse is not None
        assert _libpq._queue is not None


pytestmark = pytest.mark.usefixtures("_twin")


@pytest.fixture
def router(pg: Pg) -> Iterator[Router]:
    targets = pg.connstrs(["rt0", "rt1"])
    for name in ("rt0", "rt1"):
        pg.execute(name, REMOTE)
    with Router({"userdb": targets}, pool_size=4) as router:
        yield router


def declared(router: Router, signature: str) -> Any:
    name = signature.partition("(")[0]
    call = router.define(
        f"CREATE FUNCTION {signature} RETURNS text LANGUAGE plproxy AS "
        "$$ CLUSTER 'userdb'; RUN ON hashtext(v); $$"
    )
    assert name in repr(call)
    return call


def test_answers_and_parameters(router: Router) -> None:
    echo = declared(router, "rt_echo(v text)")
    for _ in range(4):
        for value in ("", "ä", "x" * 3_000_000, "'; --", "many"):
            assert echo(value) == value


def test_more_parameters_than_stand_ready(router: Router, pg: Pg) -> None:
    types = ", ".join(f"p{n} int4" for n in range(40))
    total = " + ".join(f"coalesce(p{n}, 0)" for n in range(40))
    for name in ("rt0", "rt1"):
        pg.execute(
            name,
            f"CREATE OR REPLACE FUNCTION rt_sum(v text, {types}) RETURNS text "
            f"LANGUAGE sql AS $$ SELECT (v || ({total})) $$",
        )
    add = declared(router, f"rt_sum(v text, {types})")
    for _ in range(4):
        assert add("sum ", *range(40)) == "sum 780"
        assert add("sum ", *[None] * 40) == "sum 0"


def test_errors_and_notices(pg: Pg) -> None:
    heard: list[str] = []
    targets = pg.connstrs(["rt0"])
    pg.execute("rt0", REMOTE)
    with Router(
        {"userdb": targets},
        on_notice=lambda notice: heard.append(str(notice.diag.message_primary)),
    ) as router:
        attempt = declared(router, "rt_try(v text)")
        for _ in range(4):
            assert attempt("good") == "good"
            with pytest.raises(RemoteError, match="not bad") as caught:
                attempt("bad")
            assert caught.value.sqlstate == "22012"
            assert caught.value.outcomes[0].state == "failed"
        assert heard == ["about to try good", "about to try bad"] * 4


def test_a_server_that_leaves_in_the_middle(router: Router) -> None:
    attempt = declared(router, "rt_try(v text)")
    for _ in range(4):
        assert attempt("end2") == "end2"
    for _ in range(3):
        with pytest.raises(ConnectionLost) as caught:
            attempt("end")
        (outcome,) = caught.value.outcomes.values()
        assert (outcome.state, caught.value.sqlstate) == ("failed", "57P01")
        assert attempt("end2") == "end2"


def test_a_deadline(router: Router) -> None:
    nap = declared(router, "rt_nap(v text, n float8)")
    short = nap.with_options(timeout=0.3)
    for _ in range(4):
        assert nap("x", 0.0) == "x"
    began = time.monotonic()
    with pytest.raises(QueryTimeout):
        short("x", 60.0)
    assert 0.25 < time.monotonic() - began < 20.0
    assert nap("y", 0.0) == "y"


def test_ctrl_c(router: Router) -> None:
    nap = declared(router, "rt_nap(v text, n float8)")
    for _ in range(4):
        assert nap("x", 0.0) == "x"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    began = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            nap("x", 60.0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - began < 20.0
    assert nap("y", 0.0) == "y"


def test_a_signal_that_is_only_noted(router: Router) -> None:
    """A handler runs while the call waits, which then goes on."""
    nap = declared(router, "rt_nap(v text, n float8)")
    for _ in range(4):
        assert nap("x", 0.0) == "x"
    noted: list[float] = []
    before = signal.signal(signal.SIGALRM, lambda *_: noted.append(time.monotonic()))
    began = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        assert nap("x", 1.0) == "x"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(noted) == 1
    assert noted[0] - began < 0.9


def test_a_signal_while_an_answer_comes(router: Router) -> None:
    """The socket is readable at each look, and the signal hits another thread."""
    drip = router.define(
        "CREATE FUNCTION rt_drip(v text) RETURNS SETOF text LANGUAGE plproxy AS "
        "$$ CLUSTER 'userdb'; RUN ON hashtext(v); "
        "SELECT repeat('x', 20000) || pg_sleep(0.03)::text "
        "FROM generate_series(1, length(v)); $$"
    )
    for _ in range(3):
        assert len(drip("x")) == 1
    noted: list[float] = []
    over = threading.Event()
    other = threading.Thread(target=over.wait)
    other.start()
    before = signal.signal(signal.SIGALRM, lambda *_: noted.append(time.monotonic()))
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        assert len(drip("x" * 60)) == 60
        ended = time.monotonic()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
        over.set()
        other.join()
        signal.signal(signal.SIGALRM, before)
    assert len(noted) == 1
    assert ended - noted[0] > 0.5


def test_others_run_while_one_waits(router: Router) -> None:
    """The GIL is let go of while a call waits for its answer."""
    nap = declared(router, "rt_nap(v text, n float8)")
    for _ in range(4):
        assert nap("x", 0.0) == "x"
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(nap("x", 1.0)))
    thread.start()
    done = 0
    while not answers and done < 100_000:
        done += 1
    wait_until(lambda: bool(answers))
    thread.join()
    assert answers == ["x"]
    assert done == 100_000


def test_many_calls(router: Router) -> None:
    attempt = declared(router, "rt_try(v text)")
    values = [f"v{n}" for n in range(3000)]
    values[7] = values[1500] = "bad"
    values[40] = "x" * 100_000
    values[41] = "y" * 4_000
    values[2000] = "z" * 2_000_000
    for _ in range(2):
        results = attempt.call_many([(value,) for value in values])
        for value, result in zip(values, results, strict=True):
            if value == "bad":
                assert isinstance(result, RemoteError)
                assert result.sqlstate == "22012"
            else:
                assert result == value


def test_many_calls_on_a_connection_that_breaks(router: Router) -> None:
    """What was answered before stays answered; nothing is said twice."""
    attempt = declared(router, "rt_try(v text)")
    values = [f"v{n}" for n in range(400)]
    assert list(attempt.call_many([(value,) for value in values])) == values
    values[200] = "end"
    results = attempt.call_many([(value,) for value in values])
    for value, result in zip(values, results, strict=True):
        if value == "end":
            assert isinstance(result, ConnectionLost)
        elif isinstance(result, Error):
            (outcome,) = result.outcomes.values()
            assert outcome.state in ("failed", "unknown")
        else:
            assert result == value
    assert attempt("v1") == "v1"
