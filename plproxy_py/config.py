"""Clusters as validated values: partitions, targets and options.

A `Target` is a parsed connect string, compared without its password: equal targets
share connections and get one call. Option names are PL/Proxy's. Passwords stand in
no repr and in no error. Where definitions come from is `sources`' affair.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from plproxy_py.errors import ConfigError, PartitionCountError, nearest
from plproxy_py.hashing import mask_partition, modular_partition

# What libpq itself hides, and the two keys that stand for a password.
SECRETS = (
    "password",
    "sslpassword",
    "scram_client_key",
    "scram_server_key",
    "oauth_client_secret",
)
DEFAULT_LIFETIME = 7200.0
MOST_SECONDS = 2**31
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

# What a misspelt keyword was most likely to be.
COMMON_KEYWORDS = (
    *CONNECTION_DEFAULTS,
    *("application_name", "dbname", "host", "hostaddr", "options", "passfile"),
    *("password", "port", "sslcert", "sslkey", "sslmode", "sslrootcert", "user"),
    *("target_session_attrs", "load_balance_hosts"),
)


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

    def keywords(self, **options: str) -> dict[str, str]:
        """Return all that libpq is told, with defaults and ``options`` under it."""
        said = dict(self.parameters) | dict(self.secrets)
        return CONNECTION_DEFAULTS | options | said

    def conninfo(self, **options: str) -> str:
        """Return the whole connect string, with defaults and ``options`` under it."""
        return make_conninfo("", **self.keywords(**options))

    def scrub(self, text: str) -> str:
        """Return a text of libpq's without this target's secrets."""
        secrets = {secret for _, secret in self.secrets if secret}
        for secret in sorted(secrets, key=len, reverse=True):
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
    _check_sendable(connstr)
    if _misreads_password(connstr):
        raise ConfigError(
            "a URI that may tell a piece of its password: only one @ is allowed, "
            "before host and database; write other / ? @ as %2F %3F %40"
        )
    try:
        # libpq quotes the text in its own message, and a password with it.
        given = {
            keyword: str(value) for keyword, value in conninfo_to_dict(connstr).items()
        }
    except (ProgrammingError, UnicodeError):
        raise ConfigError(
            "a connect string that libpq can't parse (its text is not shown, since it "
            "may hold a password)"
        ) from None
    parameters = {
        keyword: substitute(value)
        for keyword, value in ({**(under or {}), **given}).items()
    }
    _check_sendable("".join(parameters.values()))
    ports = parameters.get("port", "")
    if not all(port == "" or port.strip().isdecimal() for port in ports.split(",")):
        raise ConfigError("a connect string whose port is no number")
    # It is shown in errors, and libpq's own tools would take it for a connect string.
    if "=" in parameters.get("dbname", "") or "://" in parameters.get("dbname", ""):
        raise ConfigError("a connect string whose dbname is a connect string itself")
    return Target(
        tuple(sorted(item for item in parameters.items() if item[0] not in SECRETS)),
        tuple(sorted(item for item in parameters.items() if item[0] in SECRETS)),
    )


def _check_sendable(text: str) -> None:
    """Raise `ConfigError` for what libpq would cut, or psycopg can't hand to it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError("a connect string that is no UTF-8") from None
    if "\0" in text:
        raise ConfigError("a connect string with a NUL character, where libpq stops")


def _misreads_password(connstr: str) -> bool:
    """Tell whether libpq would take a piece of a URI's password for something else.

    postgresql://app:12/SECRET@host/db reads as port 12, database "SECRET@host/db", and
    neither is hidden from anybody.
    """
    scheme, _, rest = connstr.partition("://")
    if scheme not in ("postgresql", "postgres"):
        return False
    user, at, places = rest.partition("@")
    return bool(at) and ("/" in user or "?" in user or "@" in places)


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
    ``version``: its source's, as text, "" where that has none; for people.
    """

    name: str
    partitions: tuple[Partition, ...]
    connection_lifetime: float | None = DEFAULT_LIFETIME
    query_timeout: float | None = None
    modular_mapping: bool = False
    pooler: bool = False
    timezone: str | None = None
    version: str = field(default="", compare=False)

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
    def title(self) -> str:
        """The name and the version, as far as there are any."""
        return f"{self.name} {self.version}".strip()

    def digest(self) -> str:
        """Return eight characters that differ where definitions do.

        Without secrets: a short digest of a password could be guessed.
        """
        parts = [
            [partition.target.parameters for partition in self.partitions],
            self.connection_lifetime,
            self.query_timeout,
            self.modular_mapping,
            self.pooler,
            self.timezone,
        ]
        import hashlib  # 2 ms, where nobody asks for it

        return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]

    @property
    def part_count(self) -> int:
        """The number of partitions."""
        return len(self.partitions)

    def partition_of(self, hash: int) -> int:
        """Return the partition of a hash: masked, or by modulus."""
        if self.modular_mapping:
            return modular_partition(hash, len(self.partitions))
        return mask_partition(hash, len(self.partitions))

    def target(self, partition: int) -> Target:
        """Return the target that calls to a partition go to."""
        return self.partitions[partition].target


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
        error.cluster, error.args = name, (f"cluster {name!r}: {error}",)
        raise
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
        error.partition, error.args = number, (f"partition {number}: {error}",)
        raise
    return Partition(number, (target,))


def _connstrs(value: object) -> list[object]:
    if isinstance(value, Mapping):
        return _ranges(value)
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ConfigError("partitions are a list of connect strings, or ranges")
    return list(value)


_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")
_PLACE = re.compile(r"\{partition(?::0([1-9]))?\}")


def _ranges(ranges: Mapping[Any, Any]) -> list[object]:
    connstrs: dict[int, str] = {}
    for key, template in ranges.items():
        match = _RANGE.fullmatch(str(key))
        if match is None:
            raise ConfigError(f"{key!r} is no range; write '0-5' or '3'")
        first, last = int(match[1]), int(match[2] or match[1])
        if not isinstance(template, str):
            raise ConfigError(f"range {key!r}: a connect string is a text")
        if not first <= last < MOST_PARTITIONS:
            raise ConfigError(
                f"range {key!r} runs backwards, or beyond {MOST_PARTITIONS}"
            )
        for number in range(first, last + 1):
            if number in connstrs:
                raise ConfigError(f"partition {number} stands in two ranges")
            connstrs[number] = _numbered(template, number)
    for number in range(len(connstrs)):
        if number not in connstrs:
            raise ConfigError(f"partition {number} stands in no range")
    return [connstrs[number] for number in range(len(connstrs))]


def _numbered(template: str, number: int) -> str:
    # Not str.format: it would reach into attributes.
    connstr = _PLACE.sub(lambda match: str(number).zfill(int(match[1] or 1)), template)
    if "{partition" in connstr:
        raise ConfigError("write {partition}, or {partition:02} for two digits")
    return connstr


def _connection(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ConfigError("'connection' is a table of libpq keywords")
    texts: dict[str, str] = {}
    for keyword, item in value.items():
        if not isinstance(item, (str, int)):
            raise ConfigError(f"'connection': {keyword!r} is a text or an integer")
        # libpq writes a flag as 1 or 0.
        texts[str(keyword)] = item if isinstance(item, str) else str(int(item))
    for keyword in texts:
        try:
            make_conninfo("", **{keyword: ""})
        except (ProgrammingError, TypeError, UnicodeError):
            raise ConfigError(
                "'connection' has a keyword that libpq does not know: "
                f"{keyword!r}{nearest(keyword, COMMON_KEYWORDS)}"
            ) from None
    return texts


def _seconds(key: str, value: object) -> float | None:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        # Neither NaN nor infinity: without end is 0.
        or not 0 <= value < MOST_SECONDS
    ):
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
