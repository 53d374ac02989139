"""Loading a cluster: which question follows which answer, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plproxy_py.errors import ConfigError, NoSuchCluster, PartitionCountError
from plproxy_py.sources.database import MOST_ATTEMPTS, Loaded, cluster_question
from plproxy_py.sources.question import Question

FUNCTIONS = {
    "get_cluster_version": ["integer"],
    "get_cluster_config": ["text", "text"],
    "get_cluster_partitions": ["text"],
}


def row(value: Any) -> list[tuple[str]]:
    return [(json.dumps(value),)]


def look(server: Any = None, functions: Any = None, view: bool = False) -> Any:
    users = {"current_user": "app", "session_user": "boss"}
    return row({"users": users, "server": server, "functions": functions, "view": view})


def server(**changes: Any) -> dict[str, Any]:
    mapping = {"visible": True, "options": ["user=mapped", "password=s3cret"]}
    return {
        "options": ["query_timeout=3", "p1=dbname=b", "p0=dbname=a", "query_timeout=4"],
        "wrapper_options": 1,
        "user": "app",
        "usage": True,
        "mapping": mapping,
    } | changes


def load(*answers: Any) -> Any:
    """Answer question after question; return what the last one led to."""
    step: Any = cluster_question("c")
    for answer in answers:
        assert isinstance(step, Question)
        assert step.params == (b"c",)
        step = step.read(answer)
    return step


def functions(
    versions: Any = ("1",),
    config: Any = None,
    partitions: Any = ("dbname=a",),
    after: Any = None,
) -> Any:
    return row([versions, config, partitions, after or versions])


def refused(*answers: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(*answers)
    assert caught.value.cluster == "c"
    assert "s3cret" not in str(caught.value)
    return caught.value


# A foreign server


def test_a_foreign_server() -> None:
    loaded = load(look(server(), FUNCTIONS))
    assert isinstance(loaded, Loaded)
    assert loaded.is_server
    assert loaded.config.name == "c"
    # The server's options go before those of its wrapper.
    assert loaded.config.query_timeout == 4.0
    assert [loaded.config.target(n).redacted for n in range(2)] == [
        "dbname=a user=mapped password=****",
        "dbname=b user=mapped password=****",
    ]
    assert "s3cret" not in repr(loaded)


def test_its_check_compares_all_of_it() -> None:
    check = load(look(server())).check
    assert check.params == (b"c",)
    assert check.read(look(server(), FUNCTIONS, view=True)) is True
    assert check.read(look(server(usage=False))) is False
    other = {"visible": True, "options": ["user=mapped", "password=other"]}
    assert check.read(look(server(mapping=other))) is False
    assert check.read(look(None, FUNCTIONS)) is False


def test_its_version_is_a_digest_without_passwords() -> None:
    version = load(look(server())).version
    other = {"visible": True, "options": ["user=mapped", "password=other"]}
    assert len(version) == 8
    assert load(look(server(mapping=other))).version == version
    assert load(look(server(options=["p0=dbname=z"], wrapper_options=0))).version != (
        version
    )


def test_usage_is_looked_at_before_the_mapping() -> None:
    error = refused(look(server(usage=False, mapping=None)))
    assert error.sqlstate == "42501"
    assert "permission denied" in str(error)
    assert refused(look(server(mapping=None))).sqlstate == "42704"


def test_a_mapping_without_options_is_the_role_itself() -> None:
    mapping = {"visible": True, "options": None}
    loaded = load(look(server(mapping=mapping)))
    assert loaded.config.target(0).redacted == "dbname=a user=app"


HIDDEN = {"visible": False, "options": None}


def test_a_hidden_mapping_without_the_view() -> None:
    error = refused(look(server(mapping=HIDDEN)))
    assert error.sqlstate == "42501"
    assert "sql/user_mapping.sql" in str(error)


def test_a_hidden_mapping_is_read_through_the_view() -> None:
    step = load(look(server(mapping=HIDDEN), view=True))
    assert b"plproxy.user_mapping" in step.sql
    loaded = step.read(look(server(), view=True))
    assert loaded.config.target(0).label == "a"
    assert loaded.check.sql == step.sql
    # The view does not show it either, or the server has gone meanwhile.
    with pytest.raises(ConfigError, match=r"user_mapping\.sql"):
        step.read(look(server(mapping=HIDDEN), view=True))
    assert step.read(look(None, FUNCTIONS)).sql == cluster_question("c").sql


def test_a_hidden_mapping_that_nobody_needs() -> None:
    given = server(mapping=HIDDEN, options=["p0=user=u"], wrapper_options=0)
    assert load(look(given)).config.target(0).redacted == "user=u"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["p0=dbname=a", "p00=dbname=b"], "given twice"),
        (["host=a"], "unknown config option 'host'"),
        (["p0=oops s3cret"], "partition 0"),
    ],
)
def test_a_definition_that_is_wrong(options: list[str], reason: str) -> None:
    error = refused(look(server(options=options, wrapper_options=0)))
    assert reason in str(error)
    assert str(error).startswith("cluster 'c': ")


def test_partitions_of_the_wrapper_are_none() -> None:
    error = refused(look(server(options=["p0=dbname=a"], wrapper_options=1)))
    assert "unknown config option 'p0'" in str(error)


def test_a_server_without_partitions() -> None:
    with pytest.raises(PartitionCountError):
        load(look(server(options=[], wrapper_options=0)))


# The three functions


def test_the_functions() -> None:
    config = [["query_timeout", "5"], ["keepalive_idle", "9"]]
    loaded = load(look(None, FUNCTIONS), functions(["7"], config))
    assert not loaded.is_server
    assert loaded.version == "7"
    assert loaded.config.query_timeout == 5.0
    assert loaded.config.target(0).redacted == "dbname=a user=app"
    assert loaded.ignored == ("keepalive_idle",)


def test_the_user_may_be_that_of_the_session() -> None:
    config = [["default_user", "session_user"]]
    loaded = load(look(None, FUNCTIONS), functions(config=config))
    assert loaded.config.target(0).redacted == "dbname=a user=boss"


def test_their_check_asks_for_the_version() -> None:
    check = load(look(None, FUNCTIONS), functions(["7"])).check
    assert check.params == (b"c",)
    assert check.read([('["7"]',)]) is True
    assert check.read([('["6"]',)]) is False
    assert check.read([('["7", "7"]',)]) is False
    # A foreign server has come up.
    assert check.read([(None,)]) is False


@pytest.mark.parametrize("name", FUNCTIONS)
def test_all_three_are_needed(name: str) -> None:
    given = {key: FUNCTIONS[key] for key in FUNCTIONS if key != name}
    with pytest.raises(NoSuchCluster, match="cluster not found: c"):
        load(look(None, given))


def test_without_any_there_is_no_cluster() -> None:
    with pytest.raises(NoSuchCluster):
        load(look())


@pytest.mark.parametrize(
    ("name", "types", "reason"),
    [
        ("get_cluster_config", ["text"], "two columns of type text, not text"),
        ("get_cluster_config", ["text", "name"], "not text, name"),
        ("get_cluster_config", ["text", "text", "text"], "not text, text, text"),
        ("get_cluster_partitions", ["character varying"], "not character varying"),
    ],
)
def test_columns_are_of_type_text(name: str, types: list[str], reason: str) -> None:
    assert reason in str(refused(look(None, FUNCTIONS | {name: types})))


def test_columns_behind_the_first_are_none_of_our_business() -> None:
    given = FUNCTIONS | {"get_cluster_partitions": ["text", "integer"]}
    assert load(look(None, given), functions()).config.part_count == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (functions(None), "returned 0 rows"),
        (functions(["1", "2"]), "returned 2 rows"),
        (functions([None]), "returned NULL"),
        (functions(config=[["query_timeout", None]]), "returned a NULL"),
        (functions(config=[[None, "1"]]), "returned a NULL"),
        (functions(config=[["timeout", "1"]]), "unknown config option"),
        (functions(partitions=["dbname=a", None]), "partition 1 is NULL"),
        (functions(partitions=["s3cret oops"]), "partition 0: "),
        (functions(partitions=None), "has no partitions"),
    ],
)
def test_what_they_return_is_checked(answer: Any, reason: str) -> None:
    assert reason in str(refused(look(None, FUNCTIONS), answer))


def test_a_version_that_moves_is_asked_again() -> None:
    torn = functions(["1"], after=["2"])
    step = load(look(None, FUNCTIONS), torn)
    assert isinstance(step, Question)
    loaded = step.read(functions(["2"]))
    assert isinstance(loaded, Loaded)
    assert loaded.version == "2"


def test_a_version_that_never_rests_is_the_first() -> None:
    torn = [functions([str(n)], after=[str(n + 1)]) for n in range(MOST_ATTEMPTS)]
    loaded = load(look(None, FUNCTIONS), *torn)
    assert loaded.version == str(MOST_ATTEMPTS - 1)
    assert loaded.check.read([(f'["{MOST_ATTEMPTS}"]',)]) is False
