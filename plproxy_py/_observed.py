"""Single calls at which somebody looks on, by the short way where that can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from plproxy_py._calls import Calls
from plproxy_py._direct import Aim, Direct
from plproxy_py._flights import Flight
from plproxy_py._observing import WATCH, Watch
from plproxy_py._preparing import Callee


class Observed(Direct):
    """Does what `Direct` does for one callable, and tells of it."""

    def __init__(self, calls: Calls, callee: Callee) -> None:
        super().__init__(calls, callee)
        self._observers = calls.observers

    def call(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Make the call on this thread."""
        watch = self._watch()
        try:
            with watch:
                answer = super().call(args, kwargs)
        except BaseException as error:
            self._observers.end(watch, None, error)
            raise
        self._observers.end(watch, answer)
        return answer

    async def call_async(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Make the call on this event loop."""
        watch = self._watch()
        try:
            with watch:
                answer = await super().call_async(args, kwargs)
        except BaseException as error:
            self._observers.end(watch, None, error)
            raise
        self._observers.end(watch, answer)
        return answer

    def _watch(self) -> Watch:
        function = self._callee.find()
        is_set = function.answer is not None and function.answer.setof
        return Watch(function.label, is_set=is_set)

    # What is sent without the way of `Calls`, which tells by itself.

    def _aimed(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Aim | None:
        aim, watch = super()._aimed(args, kwargs), WATCH.get()
        if aim is not None and watch is not None:
            _, wired, _, partitions, *_ = aim
            watch.reach(wired, partitions)
        return aim

    def _begun(self, aim: Aim) -> Flight | None:
        # Of several partitions the short way notes no times.
        return None if self._observers.in_detail else super()._begun(aim)
