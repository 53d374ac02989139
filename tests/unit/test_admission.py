"""Connect strings from data: to which hosts, and with which keywords."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from psycopg import pq

from plproxy_py import ConfigError
from plproxy_py.config import parse_connstr
from plproxy_py.sources.admission import FROM_DATA, refuse_stranger


def is_admitted(connstr: str, allowed: Sequence[str] | bool) -> bool:
    try:
        refuse_stranger(parse_connstr(connstr), allowed)
    except ConfigError as error:
        return error.sqlstate != "42501"
    return True


@pytest.mark.parametrize(
    ("connstr", "allowed", "admitted"),
    [
        ("host=h", ["h"], True),
        ("host=h", [], False),
        ("host=h", False, False),
        ("host=h service=s sslkey=k", True, True),
        ("postgresql://a:5,b:6/x", ["a", "b"], True),
        ("postgresql://a:5,b:6/x", ["a"], False),
        ("postgresql:///x?host=b", ["a"], False),
        ("postgresql:///x?host=b", ["b"], True),
        ("postgresql://a/x?host=b", ["a"], False),
        ("postgresql://%2Frun%2Fx/y", ["a"], False),
        ("host=a hostaddr=10.0.0.1", ["a"], False),
        ("host=a hostaddr=10.0.0.1", ["10.0.0.1"], True),
        # an address that is left out leaves the name to count
        ("host=a,b hostaddr=10.0.0.1,", ["10.0.0.1", ""], False),
        ("host=a,b hostaddr=10.0.0.1,", ["10.0.0.1", "b"], True),
        # the default, be it PGHOST or a socket, has no name
        ("dbname=x", ["a"], False),
        ("host=a,", ["a"], False),
        ("host='' dbname=x", ["a"], False),
        ("dbname=x", [""], True),
        ("host=/run/postgresql", ["db*"], False),
        ("host=@abstract", ["db*"], False),
        ("host=A", ["a"], False),
        ("host='a '", ["a"], False),
    ],
)
def test_hosts(connstr: str, allowed: Sequence[str] | bool, admitted: bool) -> None:
    assert is_admitted(connstr, allowed) is admitted


@pytest.mark.parametrize(
    "keyword",
    [
        *("service", "passfile", "sslcert", "sslkey", "sslrootcert", "sslcrl"),
        *("sslcrldir", "krbsrvname", "gsslib", "requirepeer", "replication"),
        *("sslkeylogfile", "oauth_issuer", "servicefile", "gssdelegation"),
    ],
)
def test_what_reaches_beyond_the_connection(keyword: str) -> None:
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    if keyword not in known:
        # An older libpq does not know it, and refuses it by itself.
        return
    assert not is_admitted(f"host=h {keyword}=x", ["*"])


def test_the_rest_is_admitted() -> None:
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    words = " ".join(f"{keyword}=1" for keyword in sorted(FROM_DATA & known))
    assert is_admitted(words, ["*"])
