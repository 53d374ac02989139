"""What a session is given when it opens, and what is learnt of it once.

Everything goes by startup parameters: a SET would stay behind for a pooler's next
client. What a server can't take, or a pooler does not pass on, is learnt by the first
connection to a target; later ones know it and cost no round trip.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import pq

from plproxy_py import _parity
from plproxy_py._dialling import Refused, is_elsewhere
from plproxy_py._knocking import Manners
from plproxy_py._links import Session
from plproxy_py.errors import ConnectError

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

# psycopg's loaders read these forms and no others.
_SESSION = {
    "client_encoding": "UTF8",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
}

# How soon a server notices that its client is gone while a statement runs. A frozen
# server that goes on looks at once: its timer has run out meanwhile.
CHECK = "client_connection_check_interval"
CHECK_INTERVAL = "1s"

# The server is older than 14, or its platform can't look.
UNABLE = ("42704", "22023")

_POOLERS_WORDS = {
    "no more connections allowed": "53300",
    "authentication failed": "28P01",
    "no such user": "28000",
}

# PostgreSQL shows this many bytes of an application_name.
MOST_NAME_BYTES = 63

# Behind a pooler the process is another one than the connection was told. A value of
# the role's or database's own is to stand.
_QUESTION = f"""
    SELECT {{hashes}}, pg_catalog.pg_backend_pid(), EXISTS (
        SELECT FROM pg_catalog.pg_db_role_setting, pg_catalog.unnest(setconfig) AS item
        WHERE item LIKE '{CHECK}=%'
            AND setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database
                WHERE datname = pg_catalog.current_database()))
            AND setrole IN (0, (SELECT oid FROM pg_catalog.pg_roles
                WHERE rolname = session_user)))"""


def application_name(name: str, title: str) -> str:
    """Return what pg_stat_activity shows: the application and whose map it has.

    The application's name is cut where both are too long, then the other one.
    """
    rest = f" {title}".rstrip().encode()
    room = max(MOST_NAME_BYTES - len(rest), MOST_NAME_BYTES // 2)
    whole = name.encode()[:room] + rest
    return whole[:MOST_NAME_BYTES].decode(errors="ignore").strip()


def startup(session: Session, manners: Manners) -> dict[str, str]:
    """Return the parameters that a session of this target is opened with.

    ``options`` of the connect string, or of PGOPTIONS, come last and so win.
    """
    if session.pooler or manners.is_pooled:
        return {}
    settings = dict(manners.settings)
    parameters = {}
    if encoding := settings.pop("client_encoding", None):
        parameters["client_encoding"] = encoding
    own = dict(session.target.parameters).get("options")
    # Options here would hide those of a service file, which nobody here reads.
    is_hidden = own is None and is_elsewhere(dict(session.target.parameters))
    if manners.checks and not is_hidden:
        settings = {CHECK: CHECK_INTERVAL} | settings
    if settings:
        words = [
            f"-c {name}={value.replace(' ', '')}" for name, value in settings.items()
        ]
        words.append(own if own is not None else os.environ.get("PGOPTIONS", ""))
        parameters["options"] = " ".join(words).strip()
    return parameters


async def learn(
    connection: psycopg.AsyncConnection[Any], session: Session, manners: Manners
) -> None:
    """Ask, in one round trip, what stands between, what is set, and how it hashes.

    What a server can't answer is taken as usual. Raise `HashMismatch`.
    """
    row = None
    encoding = (connection.pgconn.parameter_status(b"server_encoding") or b"").decode()
    question = _QUESTION.format(hashes=_parity.question(encoding))
    try:
        row = await (await connection.execute(question.encode())).fetchone()
    except psycopg.Error:
        if connection.pgconn.status == pq.ConnStatus.BAD:
            raise
    if row is not None:
        hashes, pid, is_set = row
        _parity.check(session.target.label, encoding, hashes)
        manners.is_pooled = pid != connection.pgconn.backend_pid
        manners.checks = manners.checks and not is_set
    manners.known = connection.pgconn.server_version


def is_poolers(error: ConnectError) -> bool:
    """Whether it was a pooler that refused, because it passes no options on."""
    if error.sqlstate == "08P01":
        return "unsupported startup parameter" in str(error)
    return error.sqlstate == "0A000"


def sqlstate_of(refused: Refused) -> str | None:
    """Return what a refusal means. PgBouncer's own have one code, and one language."""
    if refused.sqlstate == "08P01":
        for text, sqlstate in _POOLERS_WORDS.items():
            if text in str(refused):
                return sqlstate
    return refused.sqlstate


def differences(pgconn: PGconn, timezone: str | None) -> dict[str, str]:
    """Return what the session must be set to, of what it is not."""
    wrong = {}
    for name, wanted in _SESSION.items():
        value = (pgconn.parameter_status(name.encode()) or b"").decode()
        first = wanted.partition(",")[0]
        if value.partition(",")[0].replace("-", "").upper() != first.upper():
            wrong[name] = wanted
    if timezone is not None:
        value = (pgconn.parameter_status(b"TimeZone") or b"").decode()
        if value != timezone:
            wrong["TimeZone"] = timezone
    return wrong
