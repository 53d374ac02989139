"""What has to be done to a database so that it defines clusters as another source does.

Only what differs is written: a partition that leads to its database already keeps its
text, and its password with it. A plan is made from what the database says at that
moment; after it was carried out, a new plan has to be empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from plproxy_py.config import ClusterConfig
from plproxy_py.errors import ConfigError, nearest
from plproxy_py.ops.configuration.plans import Connection, Plan
from plproxy_py.ops.configuration.reading import connected
from plproxy_py.ops.configuration.server_changes import plan_server, plan_wrapper
from plproxy_py.ops.configuration.table_changes import is_installed, plan_tables

Form = Literal["sqlmed", "functions"]

# Nobody is made to wait behind statements that wait themselves.
_LIMITS = "SET LOCAL lock_timeout = '5s'"
_ROLES = "SELECT rolname FROM pg_catalog.pg_roles ORDER BY 1"
_SERVERS = "SELECT FROM pg_catalog.pg_foreign_server WHERE srvname = ANY (%s)"


@dataclass(frozen=True, slots=True)
class Way:
    """How clusters are written. ``form``: None as they are there, or as suits there.

    ``role``: who is to use them, None for whoever writes; ``"public"`` for all.
    """

    form: Form | None = None
    role: str | None = None
    with_passwords: bool = False


Proposal = tuple[Form, list[Plan]]


def propose(connstr: str, configs: Mapping[str, ClusterConfig], way: Way) -> Proposal:
    """Return the form that would be taken, and what would be done; change nothing."""
    with connected(connstr) as conn:
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return _plans(conn, configs, way)


def carry_out(
    connstr: str,
    configs: Mapping[str, ClusterConfig],
    way: Way,
    proposed: Sequence[Plan],
) -> None:
    """Do what was proposed, in one transaction. Raise `ConfigError`, and do nothing.

    That is also if the database has changed since the proposal, or would not say what
    it should.
    """
    with connected(connstr) as conn:
        conn.execute(_LIMITS)
        _, plans = _plans(conn, configs, way)
        if [plan.text for plan in plans] != [plan.text for plan in proposed]:
            raise ConfigError(
                "the database has changed since it was looked at; nothing was written"
            )
        for plan in plans:
            for statement in plan.statements:
                conn.execute(statement)
        _, left = _plans(conn, configs, way)
        for plan in left:
            if plan.statements:
                raise ConfigError(
                    f"cluster {plan.name!r} would not be as it should; nothing was "
                    "written",
                    cluster=plan.name,
                )


def _plans(
    conn: Connection, configs: Mapping[str, ClusterConfig], way: Way
) -> Proposal:
    role = _role(conn, way.role)
    form = way.form or _form(conn, configs)
    make = plan_server if form == "sqlmed" else plan_tables
    plans = [
        make(conn, config, role, with_passwords=way.with_passwords)
        for config in configs.values()
    ]
    if form == "sqlmed" and (first := plan_wrapper(conn)) is not None:
        plans.insert(0, first)
    return form, plans


def _role(conn: Connection, role: str | None) -> str:
    """Return the role's name, or ``"public"``. Raise `ConfigError` 42704."""
    if role is None:
        return str(conn.execute("SELECT current_user").fetchall()[0][0])
    if role.lower() == "public":
        return "public"
    names = [name for (name,) in conn.execute(_ROLES)]
    if role not in names:
        hint = nearest(role, names)
        raise ConfigError(f"there is no role {role!r}{hint}", sqlstate="42704")
    return role


def _form(conn: Connection, configs: Mapping[str, ClusterConfig]) -> Form:
    if conn.execute(_SERVERS, (list(configs),)).fetchone() is not None:
        return "sqlmed"
    return "functions" if is_installed(conn) else "sqlmed"
