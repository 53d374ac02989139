"""PL/Proxy's options, partition numbers and users, as a cluster."""

from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict

from plproxy_py.config import DEFAULT_LIFETIME, ClusterConfig
from plproxy_py.errors import ConfigError, PartitionCountError
from plproxy_py.sources.options import (
    Login,
    effective_connstr,
    ignored_options,
    make_cluster,
    read_options,
    split_option,
    split_partitions,
    to_integer,
)

APP = Login("app")


def cluster(**options: str) -> ClusterConfig:
    return make_cluster("c", ["dbname=p"], read_options(options.items()), APP)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("5", 5),
        (" \t5 s", 5),
        ("+5", 5),
        ("-5", -5),
        ("007", 7),
        ("", 0),
        ("junk", 0),
        ("--5", 0),
        ("1e3", 1),
        ("2147483648", -(2**31)),
        ("4294967301", 5),
    ],
)
def test_integers_are_those_of_atoi(text: str, number: int) -> None:
    assert to_integer(text) == number


def test_an_option_ends_at_the_first_equals_sign() -> None:
    assert split_option("p0=host=a dbname=b") == ("p0", "host=a dbname=b")
    assert split_option("password=") == ("password", "")


@pytest.mark.parametrize(
    "names",
    [
        ["p0", "p1", "p2"],
        ["partition_0", "partition_1", "partition_2"],
        ["p", "p+1", "p 02"],
        ["p00", "partition_001", "p2"],
    ],
)
def test_partition_numbers(names: list[str]) -> None:
    given = [(name, f"dbname={place}") for place, name in enumerate(names)]
    expected = ["dbname=0", "dbname=1", "dbname=2"]
    assert split_partitions(given) == (expected, [])
    assert split_partitions(given[::-1]) == (expected, [])


@pytest.mark.parametrize("name", ["P0", "p0x", "p-1", "Partition_0", "password", "p_0"])
def test_other_names_are_options(name: str) -> None:
    assert split_partitions([(name, "x")]) == ([], [(name, "x")])


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (
            ["p1", "partition_01"],
            "partition 1 is given twice, at last by 'partition_01'",
        ),
        (["p1", "p2"], "partition 0 is missing"),
        (["p0", "p2"], "partition 1 is missing"),
        (["p0", "p" + "9" * 5000], "partition 1 is missing"),
    ],
)
def test_partition_numbers_that_are_refused(names: list[str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        split_partitions([(name, "dbname=x") for name in names])


def test_options_by_default() -> None:
    found = cluster()
    assert found.connection_lifetime == DEFAULT_LIFETIME
    assert found.query_timeout is None
    assert not found.modular_mapping
    assert not found.pooler
    assert found.timezone is None


def test_options_as_given() -> None:
    found = cluster(
        Connection_Lifetime="0",
        QUERY_TIMEOUT="5 seconds",
        modular_mapping="2",
        disable_binary="1",
        pooler="1",
        timezone="Europe/Tallinn",
        default_user="session_user",
    )
    assert found.connection_lifetime is None
    assert found.query_timeout == 5.0
    assert found.modular_mapping
    assert found.pooler
    assert found.timezone == "Europe/Tallinn"


def test_less_than_nothing_is_nothing() -> None:
    found = cluster(connection_lifetime="-1", query_timeout="-1", connect_timeout="-1")
    assert found.connection_lifetime is None
    assert found.query_timeout is None
    assert "connect_timeout=0" in found.target(0).redacted


def test_the_connect_timeout_is_honoured_and_the_connstr_wins() -> None:
    options = read_options([("connect_timeout", "7")])
    found = make_cluster("c", ["dbname=a", "dbname=b connect_timeout=1"], options, APP)
    assert "connect_timeout=7" in found.target(0).redacted
    assert "connect_timeout=1" in found.target(1).redacted


def test_the_last_of_a_key_counts() -> None:
    given = [("query_timeout", "1"), ("Query_Timeout", "2")]
    assert read_options(given) == {"query_timeout": "2"}


def test_an_unknown_option_names_its_neighbour() -> None:
    with pytest.raises(ConfigError, match=r"'query_timout'; did you mean 'query_tim"):
        read_options([("query_timout", "1")])


def test_default_user_is_one_of_two() -> None:
    with pytest.raises(ConfigError, match="current_user and session_user"):
        read_options([("default_user", "postgres")])


def test_ignored_options_are_those_that_ask_for_something() -> None:
    options = {"keepalive_idle": "5", "statement_timeout": "1", "keepalive_count": "0"}
    assert ignored_options(options) == ("keepalive_idle", "statement_timeout")


@pytest.mark.parametrize(
    ("connstr", "options", "expected"),
    [
        ("dbname=p", (), "dbname=p user=app"),
        ("", (), "user=app"),
        ("postgresql://h:1/p", (), "host=h port=1 dbname=p user=app"),
        (
            "dbname=p",
            (("user", "u"), ("sslkey", "x y")),
            "dbname=p user=u sslkey='x y'",
        ),
        ("dbname=p password=a", (("password", "b"),), "dbname=p password=b user=app"),
        ("dbname=p password=a", (), "dbname=p password=a user=app"),
        # What PL/Proxy's search for "user=" takes for a user, and what it misses.
        ("application_name='user=x'", (), "application_name='user=x' user=app"),
        ("user = u", (("password", "b"),), "user = u"),
        ("dbname=p user=u", (("user", "x"), ("password", "b")), "dbname=p user=u"),
        ("postgresql://u@h/p", (("password", "b"),), "postgresql://u@h/p"),
        ("dbname=p user=u", None, "dbname=p user=u"),
    ],
)
def test_the_user_is_put_in_where_there_is_none(
    connstr: str, options: tuple[tuple[str, str], ...] | None, expected: str
) -> None:
    found = conninfo_to_dict(effective_connstr(connstr, Login("app", options)))
    assert found == conninfo_to_dict(expected)


def test_a_role_of_any_name_stays_one_value() -> None:
    found = make_cluster("c", ["dbname=p"], {}, Login("we'ird \\x host=evil"))
    assert dict(found.target(0).parameters) == {
        "dbname": "p",
        "user": "we'ird \\x host=evil",
    }


def test_hidden_options_are_an_error_only_where_they_are_needed() -> None:
    hidden = Login("app", None)
    assert make_cluster("c", ["dbname=p user=u"], {}, hidden).part_count == 1
    with pytest.raises(ConfigError, match=r"sql/user_mapping\.sql") as caught:
        make_cluster("c", ["dbname=p user=u", "dbname=q"], {}, hidden)
    assert caught.value.sqlstate == "42501"
    assert (caught.value.cluster, caught.value.partition) == ("c", 1)


def test_a_mapping_option_that_is_no_keyword() -> None:
    login = Login("app", (("password_required", "s3cret"),))
    with pytest.raises(ConfigError, match="password_required") as caught:
        make_cluster("c", ["dbname=p"], {}, login)
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(login)


def test_a_connect_string_that_is_none() -> None:
    with pytest.raises(ConfigError, match="cluster 'c': partition 1: ") as caught:
        make_cluster("c", ["dbname=p", "password=s3cret oops"], {}, APP)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("count", [0, 3])
def test_the_count_of_partitions(count: int) -> None:
    with pytest.raises(PartitionCountError):
        make_cluster("c", ["dbname=p"] * count, {}, APP)


def test_any_count_with_modular_mapping() -> None:
    options = read_options([("modular_mapping", "1")])
    assert make_cluster("c", ["dbname=p"] * 3, options, APP).part_count == 3
