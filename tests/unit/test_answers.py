"""What calls return beside rows: partial answers, many results, bound calls."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import traceback

import pytest

from plproxy_py.answers import Bound, Partial, Results
from plproxy_py.errors import ConnectionLost, Error, RoutingError


def test_a_partial_answer_is_a_list_that_says_what_is_missing() -> None:
    lost = ConnectionLost("gone", partition=3)
    rows = Partial([1, 2], [3, 1], {3: lost})
    assert rows == [1, 2]
    assert isinstance(rows, list)
    assert (rows.missing, rows.errors) == ((3, 1), {3: lost})
    assert repr(rows) == (
        "Partial([1, 2], missing=(3, 1), errors={3: ConnectionLost('gone')})"
    )


def test_a_partial_answer_pickles() -> None:
    rows = Partial(["a"], (1,), {1: ConnectionLost("gone", partition=1)})
    for again in (pickle.loads(pickle.dumps(rows)), copy.deepcopy(rows)):
        assert type(again) is Partial
        assert again == ["a"]
        assert again.missing == (1,)
        assert type(again.errors[1]) is ConnectionLost
        assert again.errors[1].partition == 1


def test_results_without_an_error() -> None:
    results: Results[int] = Results([1, 2])
    assert results.errors == {}
    values = results.raise_first()
    assert values == [1, 2]
    assert type(values) is list


def test_the_first_error_of_the_input_is_raised() -> None:
    first, second = RoutingError("no hash"), ConnectionLost("gone")
    results: Results[str] = Results(["a", first, "b", second])
    assert results.errors == {1: first, 3: second}
    for _ in range(2):
        with pytest.raises(RoutingError) as caught:
            results.raise_first()
        assert caught.value is first
    # The note stands there once, however often the results are looked at.
    shown = "".join(traceback.format_exception_only(first))
    assert shown.count("call 1 of 4, counted from 0") == 1


def test_results_pickle_with_their_notes() -> None:
    results: Results[int] = Results([RoutingError("no hash")])
    with pytest.raises(Error):
        results.raise_first()
    again = pickle.loads(pickle.dumps(results))
    assert type(again) is Results
    assert again.errors[0].__notes__ == ["call 0 of 1, counted from 0"]


def test_bound_arguments_are_not_shown() -> None:
    bound: Bound[str] = Bound("public.login(2)", ("ann",), {"password": "hush"})
    assert repr(bound) == "<2 arguments of public.login(2)>"
    assert (bound.args, bound.kwargs) == (("ann",), {"password": "hush"})
    assert bound == Bound("public.login(2)", ("ann",), {"password": "hush"})
    with pytest.raises(dataclasses.FrozenInstanceError):
        bound.label = "x"  # type: ignore[misc]
