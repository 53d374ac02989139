"""Options against the function that they are for: streams, names, what is shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from plproxy_py import Plan, Router, SignatureError

GIVEN: dict[str, Any] = {"cluster": "c", "run_on": 0}


@pytest.fixture
def router() -> Router:
    return Router({"c": ["dbname=x"]})


def people(ssn: str, born: int) -> list[str]: ...


def stream(ssn: str) -> Iterator[str]: ...


def test_streams_refuse_retry(router: Router) -> None:
    with pytest.raises(SignatureError, match="retry= does not go with streams"):
        router.proxy(**GIVEN, retry=1)(stream)
    router.proxy(**GIVEN, retry=0, sensitive=["ssn"])(stream)


def test_sensitive_names(router: Router) -> None:
    both = router.proxy(**GIVEN, sensitive=("ssn", "born"))(people)
    assert both.definition.options.sensitive == ("ssn", "born")
    with pytest.raises(SignatureError, match="'bron'; did you mean 'born'"):
        router.proxy(**GIVEN, sensitive=("ssn", "bron"))(people)


def test_misfits_do_not_show_values(router: Router) -> None:
    function = router.proxy(**GIVEN, sensitive=("born",))(people).definition
    with pytest.raises(ValueError, match="argument born") as caught:
        function.arguments(("x", "18-07-1970"), {})
    assert "1970" not in str(caught.value)
    with pytest.raises(ValueError, match=r"argument ssn .*lone surrogate"):
        function.arguments(("\ud800", 1), {})


def test_plans_show_what_may_be_seen(router: Router) -> None:
    plan = router.proxy(**GIVEN, sensitive=("ssn",))(people).plan("123-45", 1970)
    assert plan.params == ("123-45", 1970)
    assert "params=(***, 1970), partitions=(0,), hashes=()" in repr(plan)
    plain = Plan("f", "c", "SELECT", (1, "a"), (0,), (5,), ("dbname=x",))
    assert repr(plain) == (
        "Plan(function='f', cluster='c', sql='SELECT', params=(1, 'a'), "
        "partitions=(0,), hashes=(5,), connstrs=('dbname=x',))"
    )
