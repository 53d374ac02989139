"""What of a cluster goes into a server's options, and what into a user mapping."""

from __future__ import annotations

import pytest

from plproxy_py.config import cluster_config
from plproxy_py.errors import ConfigError
from plproxy_py.ops.configuration.sql_text import (
    Login,
    check_name,
    option_texts,
    server_login,
    servers,
)


def test_one_user_goes_into_the_mapping() -> None:
    config = cluster_config("c", ["host=a user=app", "host=b user=app password=x"])
    assert server_login(config, with_passwords=False) == Login("app")
    first, second = (
        s.as_string(None) for s in servers(config, None, with_passwords=False)
    )
    assert "user=" not in first
    assert (
        second
        == """CREATE USER MAPPING FOR CURRENT_USER SERVER "c" OPTIONS ("user" 'app')"""
    )


@pytest.mark.parametrize(
    "connstrs",
    [
        ["host=a user=app", "host=b user=other"],
        ["host=a user=app", "host=b"],
        # PL/Proxy looks for these letters, wherever they stand, and then at no mapping.
        ["host=a user=app application_name=user=x", "host=b user=app"],
    ],
)
def test_users_that_stay_in_the_connect_strings(connstrs: list[str]) -> None:
    config = cluster_config("c", connstrs)
    assert server_login(config, with_passwords=False) == Login(None)
    first, second = (
        s.as_string(None) for s in servers(config, None, with_passwords=False)
    )
    assert "user=app" in first
    assert second == 'CREATE USER MAPPING FOR CURRENT_USER SERVER "c"'


@pytest.mark.parametrize(
    "connstrs",
    [
        ["host=a user=app password=x", "host=b user=app password=y"],
        ["host=a user=app password=x", "host=b user=other password=x"],
        ["host=a user=app password=x", "host=b user=app"],
        ["host=a user=app sslpassword=x", "host=b user=app sslpassword=x"],
    ],
)
def test_passwords_without_a_place(connstrs: list[str]) -> None:
    config = cluster_config("c", connstrs)
    with pytest.raises(ConfigError, match="one user and one password"):
        server_login(config, with_passwords=True)


def test_roles() -> None:
    config = cluster_config("c", ["host=a"])
    for role, name in (("public", "PUBLIC"), ("PUBLIC", "PUBLIC"), ('A"b', '"A""b"')):
        texts = [s.as_string(None) for s in servers(config, role, with_passwords=False)]
        assert texts[1:] == [
            f'CREATE USER MAPPING FOR {name} SERVER "c"',
            f'GRANT USAGE ON FOREIGN SERVER "c" TO {name}',
        ]


def test_options_that_are_not_at_their_default() -> None:
    given = {"query_timeout": 5, "connection_lifetime": 0, "pooler": True}
    config = cluster_config("c", {"partitions": [""], "timezone": "UTC", **given})
    assert option_texts(config) == {
        "connection_lifetime": "0",
        "query_timeout": "5",
        "pooler": "1",
        "timezone": "UTC",
    }
    assert option_texts(cluster_config("c", [""])) == {}
    half = cluster_config("c", {"partitions": [""], "connection_lifetime": 0.5})
    with pytest.raises(ConfigError, match=r"connection_lifetime is 0\.5 s"):
        option_texts(half)


def test_names_of_servers() -> None:
    check_name("ü" * 31)
    for name in ("", "ü" * 32, "a\0b"):
        with pytest.raises(ConfigError, match="has 1 to 63 bytes"):
            check_name(name)
