"""A router against a model of its cluster, by rules in any order.

What was told of each write is held against what the databases hold in the end, when all
servers are up again: *committed* is there once, *failed* is not, *unknown* is there
once at most; and nowhere else. Where a server is up, its calls must succeed.
``PLPROXY_TEST_TIMES`` multiplies the examples, and above 1 all four servers take part.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from plproxy_py import AsyncRouter, Error, Int4, Router
from tests.both import close, face, next_row, wait_until
from tests.fault.model import DATABASES, Cluster, SlowCall
from tests.fix_router import Driver
from tests.fix_servers import Servers

PATIENCE = 20.0
# Of a call that may come upon a frozen server: long enough for the others to answer on
# a busy machine, which may stand still for a while.
TIMEOUT = 0.8
EXAMPLES, STEPS = 6, 12

_numbers = itertools.count()

# A place for each partition; one database may serve several.
maps = st.sampled_from([2, 4]).flatmap(
    lambda count: st.lists(
        st.integers(0, len(DATABASES) - 1), min_size=count, max_size=count
    )
)
keys = st.integers(0, 2**31 - 1)
hows = st.sampled_from(["", "", "", "fail"])


def caught(call: Callable[[], Any]) -> Error | None:
    """Return the error that a call raised, None where it succeeded."""
    try:
        call()
    except Error as error:
        return error
    return None


class Machine(RuleBasedStateMachine):
    """``told``: of each token, what was told of each database that it was sent to."""

    def __init__(self, cluster: Cluster, *, is_async: bool) -> None:
        super().__init__()
        self.cluster = cluster
        self.kind: Any = AsyncRouter if is_async else Router
        self.runner = asyncio.Runner()
        self.runner.__enter__()
        self.name = f"state machine {next(_numbers)}"
        self.state = ["up"] * len(cluster.servers)
        self.told: dict[str, dict[int, str]] = {}
        self.slow: list[tuple[SlowCall, str, int, list[int]]] = []
        self.map: list[int] = []

    def teardown(self) -> None:
        try:
            self.cluster.heal()
            self.state = ["up"] * len(self.cluster.servers)
            if self.map:
                self.works_again()
                self.join_slow()
                self.driver.run(self.driver.router.close(timeout=PATIENCE))
                self.cluster.check(self.name, self.told)
        finally:
            self.runner.close()

    # The router and its map.

    @initialize(map=maps)
    def open(self, map: list[int]) -> None:
        self.map = map
        router = self.kind(self.config(), pool_size=2, application_name=self.name)
        self.driver = Driver(router, self.runner)
        parameters = {"k": Int4, "token": str, "how": str}

        def declare(returns: Any, name: str, **keywords: Any) -> dict[float, Any]:
            hints = keywords.pop("hints", parameters)
            return {
                timeout: face(
                    self.driver, returns, hints, name=name, timeout=timeout, **keywords
                )
                for timeout in (TIMEOUT, PATIENCE)
            }

        self.faces = {
            "tell": declare(str, "tell", run_on="k"),
            "tell_all": declare(list[str], "tell_all"),
            "tokens": declare(Iterator[str], "tokens", hints={"token": str, "n": Int4}),
        }

    def declared(self, name: str) -> Any:
        """Return a function that waits no longer than it must for frozen servers."""
        return self.faces[name][TIMEOUT if self.those("frozen") else PATIENCE]

    def config(self) -> Any:
        return {"userdb": [self.cluster.connstr(number) for number in self.map]}

    @rule(map=maps)
    def reload(self, map: list[int]) -> None:
        """Swap, move or split partitions."""
        self.map = map
        self.driver.router.configure(self.config())
        self.look()

    @rule()
    def close_and_open(self) -> None:
        self.driver.run(self.driver.router.close(timeout=0.5))
        with pytest.raises(Error):
            self.driver.run(self.declared("tell")(1, "never", ""))
        self.open(self.map)
        self.look()

    def look(self) -> None:
        """Make a call or two on whatever there is now.

        A rule does so by itself, since Hypothesis leaves whole rules out at times.
        """
        self.outcomes(next(_numbers), "")
        self.call(next(_numbers), "")

    # What becomes of servers.

    def those(self, state: str) -> list[int]:
        return [n for n, known in enumerate(self.state) if known == state]

    @precondition(lambda self: self.those("up"))
    @rule(data=st.data())
    def freeze(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.those("up")))
        self.cluster.servers[number].freeze()
        self.state[number] = "frozen"
        self.look()

    @precondition(lambda self: self.is_up(0))
    @rule(how=hows)
    def freeze_for_a_while(self, how: str) -> None:
        """What was sent to partition 0 meanwhile may be found there, or not."""
        self.write(0, "")
        server = self.cluster.server(self.map[0])
        number = self.cluster.servers.index(server)
        server.freeze()
        self.state[number] = "frozen"
        self.call(0, how)
        self.outcomes(0, how)
        server.thaw()
        self.state[number] = "up"
        self.works_again()

    @precondition(lambda self: self.those("frozen"))
    @rule(data=st.data())
    def thaw(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.those("frozen")))
        self.cluster.servers[number].thaw()
        self.state[number] = "up"
        self.works_again()

    @rule(data=st.data())
    def cut_power(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(range(len(self.state))))
        self.cluster.servers[number].kill()
        self.state[number] = "down"
        self.look()

    @precondition(lambda self: self.those("down"))
    @rule(data=st.data())
    def restart(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.those("down")))
        self.cluster.servers[number].start()
        self.state[number] = "up"
        self.works_again()

    @precondition(lambda self: self.those("up"))
    @rule(data=st.data())
    def terminate(self, data: st.DataObject) -> None:
        """End the sessions that are idle; the next call must not notice."""
        number = data.draw(st.sampled_from(self.those("up")))
        self.cluster.end_sessions(number, self.name, "idle")
        self.look()

    def works_again(self) -> None:
        """Wait until each partition whose server is up answers."""
        for partition in range(len(self.map)):
            if not self.is_up(partition):
                continue

            def answers(partition: int = partition) -> bool:
                with suppress(Error):
                    self.write(partition, "")
                    return True
                return False

            wait_until(answers, PATIENCE)

    # Calls.

    def is_up(self, partition: int) -> bool:
        return self.state[self.map[partition] % len(self.state)] == "up"

    def all_up(self) -> bool:
        return all(self.is_up(partition) for partition in range(len(self.map)))

    def note(self, token: str, places: list[int], outcomes: Any) -> None:
        """Note what was told. ``places``: the map that was in force."""
        told = self.told.setdefault(token, {})
        for partition, outcome in outcomes.items():
            told[places[partition]] = outcome.state

    def new_token(self) -> str:
        return f"{self.name}.{next(_numbers)}"

    def answer(self, token: str, partition: int) -> str:
        return f"{token} {DATABASES[self.map[partition]]}"

    def write(self, k: int, how: str) -> None:
        token, partition = self.new_token(), k & (len(self.map) - 1)
        try:
            answer = self.driver.run(self.declared("tell")(k, token, how))
        except Error as error:
            self.note(token, self.map, error.outcomes)
            raise
        assert answer == self.answer(token, partition)
        assert how != "fail"
        self.told[token] = {self.map[partition]: "committed"}

    @rule(k=keys, how=hows)
    def call(self, k: int, how: str) -> None:
        partition = k & (len(self.map) - 1)
        error = caught(lambda: self.write(k, how))
        if error is None:
            assert self.is_up(partition)
            return
        assert set(error.outcomes) <= {partition}
        assert error.sent == any(out.sent for out in error.outcomes.values())
        if self.is_up(partition):
            assert (how, error.sqlstate) == ("fail", "22012"), repr(error)
            assert error.outcomes[partition].state == "failed"

    @rule(k=keys, how=hows)
    def call_all(self, k: int, how: str) -> None:
        token = self.new_token()
        distinct = {
            place: number for number, place in reversed(list(enumerate(self.map)))
        }
        answers: list[str] = []
        error = caught(
            lambda: answers.extend(
                self.driver.run(self.declared("tell_all")(k, token, how))
            )
        )
        if error is not None:
            assert how == "fail" or not self.all_up(), repr(error)
            self.note(token, self.map, error.outcomes)
            return
        assert self.all_up()
        assert how != "fail"
        right = [self.answer(token, number) for number in distinct.values()]
        assert sorted(answers) == sorted(right)
        self.told[token] = dict.fromkeys(distinct, "committed")

    @rule(k=keys, how=hows)
    def outcomes(self, k: int, how: str) -> None:
        """Each partition by itself: those that are up are not hit by the others."""
        token = self.new_token()
        tell_all = self.declared("tell_all")
        outcomes = self.driver.run(tell_all.call_outcomes(k, token, how))
        self.note(token, self.map, outcomes)
        assert {self.map[partition] for partition in outcomes} == set(self.map)
        for partition, outcome in outcomes.items():
            if outcome.state == "committed":
                assert outcome.rows == [self.answer(token, partition)]
            if self.is_up(partition):
                right = "failed" if how == "fail" else "committed"
                assert outcome.state == right, outcome

    @rule(first=keys, hows=st.lists(hows, min_size=1, max_size=12))
    def call_many(self, first: int, hows: list[str]) -> None:
        calls = [
            ((first + number) % 2**31, self.new_token(), how)
            for number, how in enumerate(hows)
        ]
        results = self.driver.run(self.declared("tell").call_many(calls))
        for (k, token, how), result in zip(calls, results, strict=True):
            partition = k & (len(self.map) - 1)
            if isinstance(result, Error):
                self.note(token, self.map, result.outcomes)
                assert not self.is_up(partition) or how == "fail", repr(result)
            else:
                assert result == self.answer(token, partition)
                assert how != "fail"
                self.told[token] = {self.map[partition]: "committed"}

    @rule(count=st.integers(0, 40), n=st.sampled_from([0, 3, 5000]))
    def stream(self, count: int, n: int) -> None:
        """Read some rows, and leave."""
        token = self.new_token()
        right = {self.answer(token, number) for number in range(len(self.map))}
        got = 0

        def read() -> None:
            nonlocal got
            stream = self.declared("tokens")(token, n)
            try:
                for _ in range(count):
                    assert next_row(self.driver, stream) in right
                    got += 1
            except StopIteration:
                assert got == n * len(set(self.map))
            finally:
                close(self.driver, stream)

        error = caught(read)
        assert error is None or not self.all_up(), repr(error)

    @precondition(lambda self: len(self.slow) < 4)
    @rule(k=keys, data=st.data())
    def hit(self, k: int, data: st.DataObject) -> None:
        """Begin a call, and do something to it in its middle."""
        self.begin_slow(k)
        number = self.map[k & (len(self.map) - 1)] % len(self.state)
        blow = data.draw(st.sampled_from(["freeze", "kill", "end", "reload", "close"]))
        if blow == "freeze" and self.state[number] == "up":
            self.cluster.servers[number].freeze()
            self.state[number] = "frozen"
        elif blow == "kill":
            self.cluster.servers[number].kill()
            self.state[number] = "down"
        elif blow == "end" and self.state[number] == "up":
            self.cluster.end_sessions(number, self.name, "%")
        elif blow == "reload":
            self.reload(data.draw(maps))
        elif blow == "close":
            self.close_and_open()

    def begin_slow(self, k: int) -> None:
        """Begin a call that naps in its middle, if its server is up."""
        partition, token = k & (len(self.map) - 1), self.new_token()
        if self.is_up(partition):
            slow = SlowCall(self.driver, self.runner)
            slow.begin(self.faces["tell"][PATIENCE], k, token, "slow")
            database = self.map[partition]
            wait_until(lambda: slow.is_over() or self.cluster.naps(database))
            self.slow.append((slow, token, partition, self.map))

    @rule()
    def join_slow(self) -> None:
        for slow, token, partition, places in self.slow:
            answer = slow.join()
            if isinstance(answer, Error):
                self.note(token, places, answer.outcomes)
            else:
                database = places[partition]
                assert answer == f"{token} {DATABASES[database]}", repr(answer)
                self.told[token] = {database: "committed"}
        self.slow.clear()


@pytest.fixture
def make_machine(servers: Servers, times: int) -> Callable[..., Machine]:
    """Return what makes a machine; all share the servers."""
    cluster = Cluster([servers[n] for n in range(2 if times == 1 else 4)])

    def make(*, is_async: bool) -> Machine:
        cluster.heal()
        return Machine(cluster, is_async=is_async)

    return make


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_the_router_keeps_to_the_model(
    make_machine: Callable[..., Machine], times: int, is_async: bool
) -> None:
    run_state_machine_as_test(
        cast("Any", lambda: make_machine(is_async=is_async)),
        settings=settings(
            max_examples=EXAMPLES * times,
            stateful_step_count=STEPS,
            derandomize=times == 1,
            print_blob=True,
            # To shrink what fails takes minutes: not where somebody waits.
            phases=[Phase.generate] if times == 1 else list(Phase),
            suppress_health_check=list(HealthCheck),
        ),
    )
