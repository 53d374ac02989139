"""What may be done with a link after a conversation."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest

from plproxy_py._conversations import Conversations
from plproxy_py._waiting import INFINITE


class Resting:
    """A link whose last conversation has ended."""

    at_rest = True


def talk() -> Conversations:
    talk = Conversations([0], ["part00"], "public.f(0)", INFINITE, None)
    link: Any = Resting()
    talk.links[0], talk.ended[0] = link, True
    return talk


@pytest.mark.parametrize("how", ["under way", "failed", "broken off", "done"])
def test_a_link_serves_again_once_its_cancel_was_seen_to_end(how: str) -> None:
    cancelled = talk()
    request: Future[None] = Future()
    cancelled.cancels[0] = request
    if how == "failed":
        request.set_exception(OSError("nobody there"))
    elif how == "broken off":
        request.cancel()
    elif how == "done":
        request.set_result(None)
    assert cancelled.reusable(0) is (how == "done")


def test_a_link_serves_again_where_nothing_was_cancelled() -> None:
    assert talk().reusable(0)
