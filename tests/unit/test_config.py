"""Clusters as values: connect strings, ranges, options, and what an error shows."""

from __future__ import annotations

import math
from typing import Any

import pytest
from psycopg import pq

from plproxy_py.config import (
    CONNECTION_DEFAULTS,
    DEFAULT_LIFETIME,
    SECRETS,
    Target,
    cluster_config,
    parse_connstr,
)
from plproxy_py.errors import ConfigError, PartitionCountError, nearest

A, B = "dbname=a", "dbname=b"


def test_equal_targets() -> None:
    texts = [
        "host=h port=5432 dbname=db user=u password=one",
        "dbname=db  user='u' password=two host=h port=5432",
        "postgresql://u:three@h:5432/db",
        "postgres://h/db?user=u&port=5432",
    ]
    targets = {parse_connstr(text) for text in texts}
    assert len(targets) == 1
    assert len({parse_connstr(A), parse_connstr(B), parse_connstr(A + " port=1")}) == 3


def test_a_targets_texts() -> None:
    target = parse_connstr("host='a b' user=u password='it\\'s' sslpassword=x dbname=d")
    assert target.label == "d"
    assert target.redacted == (
        "dbname=d host='a b' user=u password=**** sslpassword=****"
    )
    assert repr(target) == (
        "Target(parameters=(('dbname', 'd'), ('host', 'a b'), ('user', 'u')))"
    )
    assert parse_connstr("user=u").label == "u"
    assert parse_connstr("").label == "?"
    assert parse_connstr("").redacted == ""


def test_conninfo_is_whole() -> None:
    target = parse_connstr("dbname=d password='a b' keepalives_idle=99")
    whole = parse_connstr(target.conninfo(application_name="me", keepalives="0"))
    assert whole.secrets == (("password", "a b"),)
    assert dict(whole.parameters) == CONNECTION_DEFAULTS | {
        "dbname": "d",
        "keepalives_idle": "99",
        "keepalives": "0",
        "application_name": "me",
    }


def test_what_libpq_hides_is_secret() -> None:
    hidden = {
        option.keyword.decode()
        for option in pq.Conninfo.get_defaults()
        if option.dispchar == b"*"
    }
    assert hidden <= set(SECRETS)


@pytest.mark.parametrize(
    ("connstr", "text", "scrubbed"),
    [
        ("password=hush", "no hush: 'hush'", "no ****: '****'"),
        ("password=", "nothing to hide", "nothing to hide"),
        ("dbname=d", "nothing to hide", "nothing to hide"),
        # the longer one first, lest its end remain
        ("password=ab sslpassword=abcd", "abcd ab", "**** ****"),
        ("password=abcd sslpassword=ab", "abcd ab", "**** ****"),
    ],
)
def test_scrubbed(connstr: str, text: str, scrubbed: str) -> None:
    assert parse_connstr(connstr).scrub(text) == scrubbed


@pytest.mark.parametrize(
    "connstr",
    [
        "SECRET",
        "password=my SECRET",
        "password='SECRET",
        "hots=SECRET",
        "postgresql://u:%zzSECRET@h/db",
        "postgresql://u:%aaSECRET@h/db",
        "password=SECRET\ud800",
        "postgresql://u:p@h/db?nonsense=SECRET",
        # libpq would take these, and show pieces of the password as something else
        "postgresql://u:a/SECRET@h/db",
        "postgresql://u:12/SECRET@h/db",
        "postgresql://u:p@SECRET@h/db",
        "postgres://u:p@SECRET@h/db",
        "postgresql://h?password=p@SECRET",
        "postgresql://h:5432?password=p@SECRET",
        "postgresql://h/SECRET@x",
        "postgresql://u:p@?host=SECRET@h/db",
        "postgresql://h/db?password=p@SECRET",
        "dbname=postgresql://u:SECRET@h/db",
        "dbname='host=h password=SECRET'",
        "host=h port=SECRET",
        "host=a,b port=1,SECRET",
        "host=h\0SECRET",
    ],
)
def test_a_connect_string_is_never_shown(connstr: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_connstr(connstr)
    assert "SECRET" not in repr(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert caught.value.sqlstate == "F0000"


@pytest.mark.parametrize(
    ("connstr", "parameters", "password"),
    [
        ("postgresql://u:p%40%2F%3F%25@h/db", "dbname=db host=h user=u", "p@/?%"),
        ("postgresql://h/a%40b?user=x%40y", "dbname=a@b host=h user=x@y", None),
        ("postgresql://h/db?password=p%40s?s", "dbname=db host=h", "p@s?s"),
        ("postgresql:///db?host=/tmp&port=", "dbname=db host=/tmp port=", None),
        ("postgres://u@h1:1,h2:2/db", "dbname=db host=h1,h2 port=1,2 user=u", None),
        ("host=h1,h2 port=1, password=a@b/c", "host=h1,h2 port=1,", "a@b/c"),
    ],
)
def test_connect_strings(connstr: str, parameters: str, password: str | None) -> None:
    target = parse_connstr(connstr)
    shown = " ".join(f"{keyword}={value}" for keyword, value in target.parameters)
    assert shown == parameters
    assert dict(target.secrets).get("password") == password


def test_defaults_under_a_connect_string() -> None:
    target = parse_connstr(
        "dbname=$d port=1", under={"user": "$u", "port": "2"}, substitute=str.upper
    )
    assert target.parameters == (("dbname", "$D"), ("port", "1"), ("user", "$U"))


@pytest.mark.parametrize("value", ["SECRET\udcaa", "SECRET\0"])
def test_a_value_that_libpq_can_not_take(value: str) -> None:
    """The environment may hold bytes that are no UTF-8; Python shows them so."""
    for definition in (
        ["password=x"],
        {"partitions": [A], "connection": {"user": value}},
    ):
        with pytest.raises(ConfigError, match=r"cluster 'c': .*") as caught:
            cluster_config("c", definition, substitute=lambda text: value)
        assert "SECRET" not in repr(caught.value)


def test_a_substituted_value_adds_no_keywords() -> None:
    target = parse_connstr("dbname=x", substitute=lambda value: "y host'evil \\")
    assert target.parameters == (("dbname", "y host'evil \\"),)
    assert parse_connstr(target.conninfo()).parameters[1][1] == "y host'evil \\"


def test_a_cluster() -> None:
    cluster = cluster_config("c", [A, B])
    assert [partition.number for partition in cluster.partitions] == [0, 1]
    assert cluster.partitions[1].target == cluster.target(1) == parse_connstr(B)
    assert cluster.part_count == 2
    assert (cluster.partition_of(-1), cluster.partition_of(4)) == (1, 0)
    assert cluster == cluster_config("c", {"partitions": (A, B)})
    modular = cluster_config("m", {"partitions": [A] * 3, "modular_mapping": True})
    assert (modular.partition_of(-4), modular.partition_of(2)) == (1, 2)


def test_options() -> None:
    plain = cluster_config("c", [A])
    assert (plain.connection_lifetime, plain.query_timeout) == (DEFAULT_LIFETIME, None)
    assert (plain.modular_mapping, plain.pooler, plain.timezone) == (False, False, None)
    full = cluster_config(
        "c",
        {
            "partitions": [A],
            "connection": {"user": "u", "connect_timeout": 3, "keepalives": False},
            "connection_lifetime": 0,
            "query_timeout": 2.5,
            "modular_mapping": True,
            "pooler": True,
            "timezone": "Europe/Berlin",
        },
    )
    assert full.target(0) == parse_connstr(
        "dbname=a user=u connect_timeout=3 keepalives=0"
    )
    assert (full.connection_lifetime, full.query_timeout) == (None, 2.5)
    assert (full.modular_mapping, full.pooler) == (True, True)
    assert full.timezone == "Europe/Berlin"


@pytest.mark.parametrize("count", [1, 2, 4, 16])
def test_powers_of_two(count: int) -> None:
    assert cluster_config("c", [A] * count).part_count == count


@pytest.mark.parametrize("count", [0, 3, 6, 15])
def test_counts_that_are_none(count: int) -> None:
    with pytest.raises(
        PartitionCountError, match=r"no partitions|power of two"
    ) as caught:
        cluster_config("c", [A] * count)
    assert caught.value.cluster == "c"
    with pytest.raises(PartitionCountError, match="no partitions"):
        cluster_config("c", {"partitions": [], "modular_mapping": True})


@pytest.mark.parametrize(
    ("ranges", "dbnames"),
    [
        ({"0": "dbname=p{partition}"}, ["p0"]),
        ({0: A, "1": B}, ["a", "b"]),
        ({"2-3": B, "0-1": A}, ["a", "a", "b", "b"]),
        ({"0-1": "dbname=p{partition:02}_{partition:03}"}, ["p00_000", "p01_001"]),
        ({"00-01": "dbname=p{partition:01}{other}"}, ["p0{other}", "p1{other}"]),
    ],
)
def test_ranges(ranges: dict[Any, str], dbnames: list[str]) -> None:
    cluster = cluster_config("c", {"partitions": ranges})
    assert [partition.target.label for partition in cluster.partitions] == dbnames


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "the key 'partitions' is missing"),
        ({"partition": [A]}, "unknown key 'partition'; did you mean 'partitions'?"),
        ({"partitions": [A], "zzz": 1}, "unknown key 'zzz'$"),
        ({"partitions": A}, "a list of connect strings, or ranges"),
        ({"partitions": 5}, "a list of connect strings, or ranges"),
        ({"partitions": [A, 5]}, "partition 1: a connect string is a text"),
        ({"partitions": [A, "SECRET"]}, "partition 1: a connect string that libpq"),
        ({"partitions": {"x": A}}, "'x' is no range; write '0-5' or '3'"),
        ({"partitions": {"0-": A}}, "'0-' is no range"),
        ({"partitions": {"-1": A}}, "'-1' is no range"),
        ({"partitions": {"0-1-2": A}}, "'0-1-2' is no range"),
        ({"partitions": {"\u0660": A}}, "is no range"),
        ({"partitions": {"9" * 5000: A}}, "is no range"),
        ({"partitions": {"1-0": A}}, "'1-0' runs backwards"),
        ({"partitions": {"0-65536": A}}, "beyond 65536"),
        ({"partitions": {"0-999999999": A}}, "beyond 65536"),
        ({"partitions": {"0": 5}}, "range '0': a connect string is a text"),
        ({"partitions": {"0-1": A, "1-2": B}}, "partition 1 stands in two ranges"),
        ({"partitions": {"0": A, "2-3": B}}, "partition 1 stands in no range"),
        ({"partitions": {"1": A}}, "partition 0 stands in no range"),
        *(
            ({"partitions": {"0": f"dbname={place}"}}, "write {partition}, or")
            for place in (
                "{partition",
                "{partition:}",
                "{partition:2}",
                "{partition02}",
                "{partition:002}",
                "{partition:0999999999}",
                "{partition.__class__}",
                "{partitions}",
            )
        ),
        ({"partitions": [A], "connection": A}, "'connection' is a table"),
        (
            {"partitions": [A], "connection": {"usr": "SECRET"}},
            "keyword that libpq does not know: 'usr'; did you mean 'user'?",
        ),
        (
            {"partitions": [A], "connection": {"conninfo": "SECRET"}},
            "keyword that libpq",
        ),
        ({"partitions": [A], "connection": {"user": None}}, "'user' is a text or an"),
        ({"partitions": [A], "connection": {"user": 1.5}}, "'user' is a text or an"),
        ({"partitions": [A], "connection": {"user": "\0"}}, "a NUL character"),
        ({"partitions": [A], "connection": {"\ud800": "x"}}, "keyword that libpq"),
        *(
            ({"partitions": [A], "query_timeout": value}, "is a number of seconds")
            for value in (-1, True, "5", None, math.nan, math.inf, 10**400)
        ),
        ({"partitions": [A], "connection_lifetime": -1}, "'connection_lifetime' is a"),
        ({"partitions": [A], "pooler": 1}, "'pooler' is true or false"),
        ({"partitions": [A], "modular_mapping": "yes"}, "'modular_mapping' is true"),
        *(
            ({"partitions": [A], "timezone": value}, "'timezone' names no time zone")
            for value in ("Nowhere", "", "../etc/passwd", "/", "a\0b", 5, None)
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=rf"^cluster 'c': .*{reason}") as caught:
        cluster_config("c", options)
    assert caught.value.cluster == "c"
    assert "SECRET" not in repr(caught.value)


def test_an_error_names_the_partition() -> None:
    with pytest.raises(ConfigError) as caught:
        cluster_config("c", [A, "port=x"])
    assert (caught.value.cluster, caught.value.partition) == ("c", 1)


def test_nothing_shows_a_password() -> None:
    cluster = cluster_config(
        "c", {"partitions": [A], "connection": {"password": "SECRET"}}
    )
    assert cluster.target(0).secrets == (("password", "SECRET"),)
    for value in (cluster, cluster.partitions, cluster.target(0)):
        assert "SECRET" not in repr(value)
        assert "SECRET" not in str(value)


def test_values() -> None:
    target = Target((("dbname", "a"),), (("password", "x"),))
    assert {target: 1}[Target((("dbname", "a"),), ())] == 1
    with pytest.raises(AttributeError):
        target.parameters = ()
    assert cluster_config("c", [A]) != cluster_config("d", [A])
    assert isinstance(hash(cluster_config("c", [A])), int)


def test_nearest() -> None:
    assert nearest("userdb", ["usrdb", "other"]) == "; did you mean 'usrdb'?"
    assert nearest("userdb", {"zzz": 1}) == ""
    assert nearest("userdb", iter(())) == ""
