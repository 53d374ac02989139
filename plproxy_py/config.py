"""Clusters as validated values: partitions, targets and options.

A `Target` is a parsed connect string, compared without its password: equal targets
share connections and get one call. Option names are PL/Proxy's. Passwords stand in
no repr and in no error. Where definitions come from is `sources`' affair.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from plproxy_py.errors import ConfigError, PartitionCountError
from plproxy_py.hashing import mask_partition, modular_partition

SECRETS = ("password", "sslpassword", "scram_client_key", "oauth_client_secret")
DEFAULT_LIFETIME = 7200.0
MOST_PARTITIONS = 65536  # a typing error in a range should not fill the memory

# A peer that stopped answering is noticed after 30 s. Any connstr can say otherwise.
CONNECTION_DEFAULTS = {
    "connect_timeout": "10",
    "keepalives": "1",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}


@dataclass(frozen=True, slots=True)
class Target:
    """One database to connect to. Equal means: same parameters, password aside."""

    parameters: tuple[tuple[str, str], ...]
    secrets: tuple[tuple[str, str], ...] = field(compare=False, repr=False)

    @property
    def label(self) -> str:
        """The database's name, as PL/Proxy writes it before a remote error."""
        parameters = dict(self.parameters)
        return parameters.get("dbname") or parameters.get("user") or "?"

    @property
    def redacted(self) -> str:
        """The connect string with stars for whatever is secret."""
        stars = {keyword: "****" for keyword, _ in self.secrets}
        return make_conninfo("", **dict(self.parameters), **stars)

    def conninfo(self, **options: str) -> str:
        """Return the whole connect string, with defaults and ``options`` under it."""
        parameters = CONNECTION_DEFAULTS | options | dict(self.parameters)
        return make_conninfo("", **parameters, **dict(self.secrets))

    def scrub(self, text: str) -> str:
        """Return a text of libpq's without this target's secrets."""
        for _, secret in self.secrets:
            text = text.replace(secret, "****")
        return text


def parse_connstr(
    connstr: str,
    *,
    under: Mapping[str, str] | None = None,
    substitute: Callable[[str], str] = str,
) -> Target:
    """Parse ``keyword=value`` or a URI. Raise `ConfigError` that quotes no value.

    ``under`` holds defaults for what the connstr does not say; ``substitute`` is
    applied to each value after parsing, so that no value can add keywords.
    """
    try:
        # libpq quotes the text in its own message, and a password with it.
        given = {
            keyword: str(value) for keyword, value in conninfo_to_dict(connstr).items()
        }
    except ProgrammingError:
        raise ConfigError(
            "a connect string that libpq can't parse (its text is not shown, since it "
            "may hold a password)"
        ) from None
    parameters = {
        keyword: substitute(value)
        for keyword, value in ({**(under or {}), **given}).items()
    }
    # postgresql://app:a/SECRET@host/db reads as port "a", database "SECRET@host/db".
    ports = parameters.get("port", "")
    if not all(port == "" or port.strip().isdecimal() for port in ports.split(",")):
        raise ConfigError(
            "a connect string whose port is no number; in a URI write '/' in a "
            "password as %2F"
        )
    return Target(
        tuple(sorted(item for item in parameters.items() if item[0] not in SECRETS)),
        tuple(sorted(item for item in parameters.items() if item[0] in SECRETS)),
    )


@dataclass(frozen=True, slots=True)
class Partition:
    """Partition ``number``, from 0, and the targets that hold it, the primary first."""

    number: int
    targets: tuple[Target, ...]

    @property
    def target(self) -> Target:
        """The target that calls go to."""
        return self.targets[0]


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """A cluster as calls see it.

    ``connection_lifetime`` and ``query_timeout`` are seconds, None is without end.
    """

    name: str
    partitions: tuple[Partition, ...]
    connection_lifetime: float | None = DEFAULT_LIFETIME
    query_timeout: float | None = None
    modular_mapping: bool = False
    pooler: bool = False
    timezone: str | None = None

    def __post_init__(self) -> None:
        count = len(self.partitions)
        if count == 0:
            raise PartitionCountError(
                f"cluster {self.name!r} has no partitions", cluster=self.name
            )
        if not self.modular_mapping and count & (count - 1):
            raise PartitionCountError(
                f"cluster {self.name!r} has {count} partitions: a power of two is "
                "needed, or modular_mapping = true",
                cluster=self.name,
            )

    @property
    def part_count(self) -> int:
        return len(self.partitions)

    def partition_of(self, hash: int) -> int:
        """Return the partition of a hash: masked, or by modulus."""
        if self.modular_mapping:
            return modular_partition(hash, len(self.partitions))
        return mask_partition(hash, len(self.partitions))

    def target(self, partition: int) -> Target:
        return self.partitions[partition].target


def nearest(name: str, names: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the nearest name, or nothing."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def cluster_config(
    name: str,
    definition: Sequence[str] | Mapping[str, Any],
    *,
    substitute: Callable[[str], str] = str,
) -> ClusterConfig:
    """Make a cluster from its connstrs, or from a table of options as in the file.

    Raise `ConfigError`, or `PartitionCountError`, naming cluster and key.
    """
    options: Mapping[str, Any]
    if isinstance(definition, Mapping):
        options = definition
    else:
        options = {"partitions": definition}
    checked: dict[str, Any] = {}
    under: dict[str, str] = {}
    try:
        for key, value in options.items():
            if key == "connection":
                under = _connection(value)
            elif key in _OPTIONS:
                checked[key] = _OPTIONS[key](key, value)
            elif key != "partitions":
                known = (*_OPTIONS, "connection", "partitions")
                raise ConfigError(f"unknown key {key!r}{nearest(str(key), known)}")
        if "partitions" not in options:
            raise ConfigError("the key 'partitions' is missing")
        checked["partitions"] = tuple(
            _partition(number, connstr, under, substitute)
            for number, connstr in enumerate(_connstrs(options["partitions"]))
        )
    except ConfigError as error:
        raise type(error)(f"cluster {name!r}: {error}", cluster=name) from None
    return ClusterConfig(name, **checked)


def _partition(
    number: int,
    connstr: object,
    under: Mapping[str, str],
    substitute: Callable[[str], str],
) -> Partition:
    if not isinstance(connstr, str):
        raise ConfigError(f"partition {number}: a connect string is a text")
    try:
        target = parse_connstr(connstr, under=under, substitute=substitute)
    except ConfigError as error:
        raise ConfigError(f"partition {number}: {error}", partition=number) from None
    return Partition(number, (target,))


def _connstrs(value: object) -> list[object]:
    if isinstance(value, Mapping):
        return _ranges(value)
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ConfigError("partitions are a list of connect strings, or ranges")
    return list(value)


def _ranges(ranges: Mapping[Any, Any]) -> list[object]:
    connstrs: dict[int, str] = {}
    for key, template in ranges.items():
        first, dash, last = str(key).partition("-")
        if not (first.isdecimal() and (last.isdecimal() if dash else last == "")):
            raise ConfigError(f"{key!r} is no range; write '0-5' or '3'")
        if not isinstance(template, str):
            raise ConfigError(f"range {key!r}: a connect string is a text")
        if int(last or first) >= MOST_PARTITIONS:
            raise ConfigError(f"range {key!r} goes beyond {MOST_PARTITIONS}")
        for number in range(int(first), int(last or first) + 1):
            if number in connstrs:
                raise ConfigError(f"partition {number} stands in two ranges")
            connstrs[number] = _numbered(template, number)
    for number in range(len(connstrs)):
        if number not in connstrs:
            raise ConfigError(f"partition {number} stands in no range")
    return [connstrs[number] for number in range(len(connstrs))]


def _numbered(template: str, number: int) -> str:
    # Not str.format: it would reach into attributes.
    pieces = template.split("{partition")
    for index, piece in enumerate(pieces[1:], 1):
        width, brace, rest = piece.partition("}")
        if not brace or (width and not width.removeprefix(":").isdecimal()):
            raise ConfigError("write {partition}, or {partition:02} for two digits")
        pieces[index] = f"{number:0{width.removeprefix(':') or 1}d}{rest}"
    return "".join(pieces)


def _connection(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ConfigError("'connection' is a table of libpq keywords")
    texts = {str(keyword): str(item) for keyword, item in value.items()}
    try:
        make_conninfo("", **texts)
    except ProgrammingError:
        raise ConfigError(
            "'connection' has a keyword that libpq does not know"
        ) from None
    return texts


def _seconds(key: str, value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise ConfigError(f"{key!r} is a number of seconds, 0 for none")
    return float(value) or None


def _flag(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{key!r} is true or false")
    return value


def _timezone(key: str, value: object) -> str:
    try:
        return ZoneInfo(str(value)).key
    except (ValueError, LookupError, OSError):
        raise ConfigError(f"{key!r} names no time zone: {value!r}") from None


_OPTIONS: dict[str, Callable[[str, object], Any]] = {
    "connection_lifetime": _seconds,
    "query_timeout": _seconds,
    "modular_mapping": _flag,
    "pooler": _flag,
    "timezone": _timezone,
}
