"""Cases 124 to 143 and 146 to 154: clusters as foreign servers, users, mappings."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.fix_plproxy import PARTS, PROXY, Plproxy
from tests.parity.cases import case
from tests.parity.compare import Both

DEFINER = "SECURITY DEFINER"
VALIDATOR = "Options of foreign servers"
WHO = "select 'user=' || current_user || ' dbname=' || current_database();"
ROLES = ("test_user_alice", "test_user_bob", "test_user_charlie", "test_user_mod")
ALICE, BOB, CHARLIE, MOD = ROLES

Pair = Callable[[str], Both]


@pytest.fixture(scope="module", autouse=True)
def _roles(plproxy: Plproxy) -> None:
    for role in ROLES:
        plproxy.admin("postgres", f"create role {role} login password 'secret'")


@pytest.fixture
def servers(plproxy: Plproxy) -> Iterator[Callable[..., None]]:
    """Return what creates a foreign server; all are dropped at the end."""
    created: list[str] = []

    def create(name: str, *options: str, **partitions: str) -> None:
        listed = [f"{key} '{value}'" for key, value in partitions.items()]
        plproxy.admin(
            PROXY,
            f"create server {name} foreign data wrapper plproxy"
            f" options ({', '.join([*listed, *options])})",
        )
        created.append(name)

    yield create
    for name in created:
        plproxy.admin(PROXY, f"drop server if exists {name} cascade")


@pytest.fixture
def sqlmed(plproxy: Plproxy, servers: Callable[..., None]) -> str:
    """The cluster sqlmedcluster: the four databases in reverse order."""
    reverse = [plproxy.partition(dbname) for dbname in reversed(PARTS)]
    servers("sqlmedcluster", **{f"partition_{n}": c for n, c in enumerate(reverse)})
    return "sqlmedcluster"


@pytest.fixture
def pair(plproxy: Plproxy, both: Both) -> Iterator[Pair]:
    """Return what makes a pair that acts as another role, with functions."""
    pairs: list[Both] = []

    def make(role: str) -> Both:
        pairs.append(both.another(user=role))
        pairs[-1].create(who("sqlmed_test1", "sqlmedcluster"))
        return pairs[-1]

    yield make
    for each in pairs:
        each.close()


def who(name: str, cluster: str, *, run_on: str = "0", arguments: str = "") -> str:
    return (
        f"create or replace function {name}({arguments}) returns setof text as"
        f" $$ cluster '{cluster}'; run on {run_on}; {WHO} $$ language plproxy"
    )


def public_mapping(plproxy: Plproxy, role: str = BOB) -> None:
    plproxy.admin(
        PROXY,
        "create user mapping for public server sqlmedcluster"
        f" options (user '{role}', password 'secret1')",
    )


def grant(plproxy: Plproxy, *roles: str, server: str = "sqlmedcluster") -> None:
    for role in roles:
        plproxy.admin(PROXY, f"grant usage on foreign server {server} to {role}")


BOB_ON_3 = [(f"user={BOB} dbname=test_part3",)]


@case(124, "partition_0 to partition_3, databases in reverse order")
def test_reverse(sqlmed: str, plproxy: Plproxy, pair: Pair) -> None:
    public_mapping(plproxy)
    grant(plproxy, BOB)
    bob = pair(BOB)
    bob.create(who("sqlmed_all", sqlmed, run_on="all"))
    assert bob.call("sqlmed_all") == [
        (f"user={BOB} dbname={name}",) for name in reversed(PARTS)
    ]


@case(125, "no mapping, no USAGE: permission denied")
def test_no_mapping(sqlmed: str, pair: Pair) -> None:
    assert pair(BOB).fail("sqlmed_test1").sqlstate == "42501"


@case(126, "a PUBLIC mapping, no USAGE: permission denied")
def test_no_usage(sqlmed: str, plproxy: Plproxy, pair: Pair) -> None:
    public_mapping(plproxy)
    assert pair(BOB).fail("sqlmed_test1").sqlstate == "42501"


@case(127, "USAGE granted: as the mapping's user, on the first partition")
def test_usage(sqlmed: str, plproxy: Plproxy, pair: Pair) -> None:
    public_mapping(plproxy)
    bob = pair(BOB)
    bob.fail("sqlmed_test1")
    grant(plproxy, BOB)
    assert bob.call("sqlmed_test1") == BOB_ON_3


@pytest.mark.parametrize(
    ("caller", "owner"),
    [
        pytest.param(
            *(ALICE, ALICE),
            id="128",
            marks=case(128, "alice calls alice's SECURITY DEFINER function"),
        ),
        pytest.param(
            *(ALICE, CHARLIE),
            id="129",
            marks=case(129, "alice calls charlie's", differs=DEFINER),
        ),
        pytest.param(
            *(CHARLIE, ALICE),
            id="130",
            marks=case(130, "charlie calls alice's", differs=DEFINER),
        ),
        pytest.param(
            *(CHARLIE, CHARLIE), id="131", marks=case(131, "charlie calls charlie's")
        ),
    ],
)
def test_definer(
    sqlmed: str, plproxy: Plproxy, pair: Pair, caller: str, owner: str
) -> None:
    definers(plproxy)
    acting = pair(caller)
    acting.create(definer(owner))
    plproxy.admin(PROXY, f"alter function sqlmed_{owner}() owner to {owner}")
    real = acting.real.call(f"sqlmed_{owner}", (), None).rows
    assert real == [(f"user={owner} dbname=test_part3",)]
    # A client has its own rights only: whoever called is who connects.
    ours = acting.ours.call(f"sqlmed_{owner}", (), None).rows
    assert ours == [(f"user={caller} dbname=test_part3",)]


def definer(owner: str) -> str:
    return who(f"sqlmed_{owner}", "sqlmedcluster") + " security definer"


def definers(plproxy: Plproxy) -> None:
    for role in (ALICE, CHARLIE):
        plproxy.admin(PROXY, f"create user mapping for {role} server sqlmedcluster")
    grant(plproxy, ALICE, BOB, CHARLIE)


@case(132, "ALTER USER MAPPING: the next call is the new user's")
def test_altered_mapping(sqlmed: str, plproxy: Plproxy, pair: Pair) -> None:
    definers(plproxy)
    charlie = pair(CHARLIE)
    before = [(f"user={CHARLIE} dbname=test_part3",)]
    assert charlie.call("sqlmed_test1") == before
    plproxy.admin(
        PROXY,
        f"alter user mapping for {CHARLIE} server sqlmedcluster"
        f" options (add user '{ALICE}')",
    )
    assert charlie.call("sqlmed_test1") == [(f"user={ALICE} dbname=test_part3",)]


DROPPED = "drop partition_2"
COUNT3 = "drop partition_3"


def refused_change(plproxy: Plproxy, options: str) -> None:
    """A change that PL/Proxy's own validator refuses, before anybody can read it."""
    with pytest.raises(psycopg.errors.SyntaxError):
        plproxy.admin(PROXY, f"alter server sqlmedcluster options ({options})")


@pytest.fixture
def bob(sqlmed: str, plproxy: Plproxy, pair: Pair) -> Both:
    public_mapping(plproxy)
    grant(plproxy, BOB)
    bob = pair(BOB)
    assert bob.call("sqlmed_test1") == BOB_ON_3
    return bob


@case(133, "partition_2 dropped: refused, numbers must be consecutive")
def test_gap(bob: Both, plproxy: Plproxy) -> None:
    refused_change(plproxy, DROPPED)
    assert options(plproxy) == {f"partition_{number}" for number in range(4)}


@case(134, "... and the cluster works on")
def test_after_gap(bob: Both, plproxy: Plproxy) -> None:
    refused_change(plproxy, DROPPED)
    assert bob.call("sqlmed_test1") == BOB_ON_3


def repeat_option(plproxy: Plproxy) -> None:
    connstr = plproxy.partition("test_part1")
    with pytest.raises(psycopg.errors.DuplicateObject):
        plproxy.admin(
            PROXY,
            "alter server sqlmedcluster options"
            f" (drop partition_3, add partition_2 '{connstr}')",
        )


@case(135, "an option that is there already: refused by PostgreSQL")
def test_repeated_option(bob: Both, plproxy: Plproxy) -> None:
    repeat_option(plproxy)
    assert options(plproxy) == {f"partition_{number}" for number in range(4)}


@case(136, "... and the cluster works on")
def test_after_repeated_option(bob: Both, plproxy: Plproxy) -> None:
    repeat_option(plproxy)
    assert bob.call("sqlmed_test1") == BOB_ON_3


def options(plproxy: Plproxy, server: str = "sqlmedcluster") -> set[str]:
    query = "select unnest(srvoptions) from pg_foreign_server where srvname = %s"
    return {row[0].partition("=")[0] for row in plproxy.admin(PROXY, query, server)}
