"""Where connect strings that came from data may lead, and what they may ask for."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from plproxy_py.config import SECRETS, Target
from plproxy_py.errors import ConfigError

# Whatever else libpq knows reads or writes files of this machine (passfile, sslkey,
# sslkeylogfile), loads code, hands on this process's own tickets, or asks a third party
# (oauth_issuer); and a service could lead anywhere.
FROM_DATA = frozenset(
    (
        *SECRETS,
        "application_name",
        "channel_binding",
        "client_encoding",
        "connect_timeout",
        "dbname",
        "fallback_application_name",
        "gssencmode",
        "host",
        "hostaddr",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "load_balance_hosts",
        "options",
        "port",
        "require_auth",
        "ssl_max_protocol_version",
        "ssl_min_protocol_version",
        "sslmode",
        "sslnegotiation",
        "sslsni",
        "target_session_attrs",
        "tcp_user_timeout",
        "user",
    )
)


def refuse_stranger(target: Target, allowed: Sequence[str] | bool) -> None:
    """Raise `ConfigError` 42501 unless data may lead there.

    ``allowed``: patterns of hosts, or True for any. Of a host with an address the
    address counts; "" is libpq's own default.
    """
    if allowed is True:
        return
    parameters = dict(target.parameters)
    for keyword in parameters:
        if keyword not in FROM_DATA:
            raise ConfigError(
                f"CONNECT from data may not say {keyword!r}: it could reach files or "
                "services of this machine",
                sqlstate="42501",
            )
    hosts = parameters.get("host", "").split(",")
    addresses = parameters.get("hostaddr", "").split(",")
    count = max(len(hosts), len(addresses))
    # libpq refuses lists that differ in length; whatever stands in either must do.
    for number in range(count):
        host = (addresses[number] if number < len(addresses) else "") or (
            hosts[number] if number < len(hosts) else ""
        )
        if not any(fnmatch.fnmatchcase(host, pattern) for pattern in allowed or ()):
            raise ConfigError(
                f"CONNECT from data may not reach host {host!r}: name it in "
                "allow_connect=",
                sqlstate="42501",
            )
