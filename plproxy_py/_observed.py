"""Single calls at which somebody looks on, by the short way where that can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from plproxy_py._calls import Calls
from plproxy_py._direct import Direct
from plproxy_py._flights import Flight
from plproxy_py._observing import WATCH, Watch
from plproxy_py._preparing import Callee
from plproxy_py.tagging import RunHash


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

    # What was sent without the way of `Calls`, which tells by itself.

    def _ready(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        ready = super()._ready(args, kwargs)
        watch = WATCH.get()
        if ready is not None and watch is not None:
            watch.reach(ready[1], (ready[2],))
        return ready

    def begin(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Flight | None:
        """Send the call, see `Direct.begin`."""
        # Of several partitions the short way notes no times.
        run_on = self._callee.find().run_on
        if self._observers.in_detail and not isinstance(run_on, RunHash):
            return None
        flight, watch = super().begin(args, kwargs), WATCH.get()
        if flight is not None and watch is not None:
            watch.reach(flight._wired, flight._partitions)
        return flight
