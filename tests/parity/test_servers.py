"""Cases 137 to 143 and 146 to 154: which definition holds, its numbers, modulus.

And what both sides say of definitions that no validator has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.fix_plproxy import PARTS, PROXY, ROLE, Plproxy
from tests.parity.cases import case
from tests.parity.compare import Both

VALIDATOR = "Options of foreign servers"
Servers = Callable[..., None]


@pytest.fixture
def servers(plproxy: Plproxy) -> Iterator[Servers]:
    """Return what creates a server that the role may use; dropped at the end."""
    created: list[str] = []

    def create(name: str, *, wrapper: str = "plproxy", **options: str) -> None:
        listed = ", ".join(f"{key} '{value}'" for key, value in options.items())
        plproxy.admin(
            PROXY,
            f"create server {name} foreign data wrapper {wrapper} options({listed})",
        )
        created.append(name)
        plproxy.admin(PROXY, f"grant usage on foreign server {name} to {ROLE}")
        plproxy.admin(PROXY, f"create user mapping for {ROLE} server {name}")

    yield create
    for name in created:
        plproxy.admin(PROXY, f"drop server if exists {name} cascade")


def where(name: str, cluster: str, run_on: str = "0", arguments: str = "") -> str:
    return (
        f"create or replace function {name}({arguments}) returns setof name as"
        f" $$ cluster '{cluster}'; run on {run_on}; select current_database();"
        " $$ language plproxy"
    )


@pytest.fixture
def compat(both: Both, plproxy: Plproxy) -> Both:
    plproxy.cluster("compat", ["test_part1"])
    both.create(where("sqlmed_compat_test", "compat"))
    assert both.call("sqlmed_compat_test") == [("test_part1",)]
    return both


@case(137, "a cluster of the functions")
def test_compat(compat: Both) -> None:
    assert compat.call("sqlmed_compat_test") == [("test_part1",)]


@case(138, "a server of the same name holds at once")
def test_override(compat: Both, plproxy: Plproxy, servers: Servers) -> None:
    servers("compat", partition_0=plproxy.partition("test_part2"))
    assert compat.call("sqlmed_compat_test") == [("test_part2",)]


@case(139, "the server dropped: the functions hold again")
def test_fallback(compat: Both, plproxy: Plproxy, servers: Servers) -> None:
    servers("compat", partition_0=plproxy.partition("test_part2"))
    assert compat.call("sqlmed_compat_test") == [("test_part2",)]
    plproxy.admin(PROXY, "drop server compat cascade")
    assert compat.call("sqlmed_compat_test") == [("test_part1",)]


@case(140, "options out of order, with leading zeros")
def test_unordered(both: Both, plproxy: Plproxy, servers: Servers) -> None:
    names = ("partition_0", "partition_02", "partition_001", "p3")
    numbers = (0, 2, 1, 3)
    given = zip(names, numbers, strict=True)
    servers("unordered1", **{k: plproxy.partition(PARTS[n]) for k, n in given})
    both.create(where("unordered", "unordered1", "all"))
    assert both.call("unordered") == [(name,) for name in PARTS]


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(
            ("partition_1", "partition_01"),
            id="141",
            marks=case(141, "partition_1 and partition_01: refused as duplicates"),
        ),
        pytest.param(
            ("partition_1", "partition_2", "partition_3", "partition_4"),
            id="142",
            marks=case(142, "partitions 1 to 4: refused, they start from 0"),
        ),
    ],
)
def test_wrong_numbers(
    both: Both, plproxy: Plproxy, servers: Servers, names: tuple[str, ...]
) -> None:
    given = dict(zip(names, map(plproxy.partition, PARTS), strict=False))
    with pytest.raises(psycopg.errors.SyntaxError):
        servers("unordered2", **given)
    # So there is no such server for anybody, and the functions know none either.
    both.create(where("unordered", "unordered2", "all"))
    assert both.fail("unordered").message == "no such cluster: unordered2"


@case(143, "an option without a value, for the validator", differs=VALIDATOR)
def test_without_value(both: Both, plproxy: Plproxy, servers: Servers) -> None:
    # 2.10's validator crashes its server when it is called so, and we have none. What
    # can stand in the catalog is an empty value, which both sides take for 0.
    part = plproxy.partition("test_part0")
    servers("valueless", p0=part, connection_lifetime="")
    both.create(where("valueless", "valueless"))
    assert both.call("valueless") == [("test_part0",)]


HASHES = {0: 0, 1: 1, 2: 2, 3: 0, 4: 1, -1: 1, -2: 2, -3: 0, -4: 1}


@pytest.mark.parametrize(
    ("hash", "partition"),
    [
        pytest.param(
            *(hash, partition),
            id=str(number),
            marks=case(number, f"modular_mapping of 3, hash {hash}: {partition}"),
        )
        for number, (hash, partition) in enumerate(HASHES.items(), 146)
    ],
)
def test_modular(
    both: Both, plproxy: Plproxy, servers: Servers, hash: int, partition: int
) -> None:
    parts = {f"partition_{n}": plproxy.partition(PARTS[n]) for n in range(3)}
    servers("modcluster1", modular_mapping="1", **parts)
    plproxy.admin(
        PROXY,
        f"drop user mapping for {ROLE} server modcluster1;"
        " create user mapping for public server modcluster1"
        " options (user 'postgres')",
    )
    both.create(
        "create or replace function mod1_test(hash int) returns setof text as"
        " $$ cluster 'modcluster1'; run on hash;"
        " select current_user || ' ' || current_database(); $$ language plproxy"
    )
    assert both.call("mod1_test", hash) == [(f"postgres test_part{partition}",)]


@pytest.fixture
def naked(plproxy: Plproxy) -> Iterator[str]:
    """A foreign-data wrapper without a validator: any options can stand there."""
    plproxy.admin(PROXY, "create foreign data wrapper naked")
    yield "naked"
    plproxy.admin(PROXY, "drop foreign data wrapper naked cascade")


@pytest.mark.parametrize(
    "names",
    [
        ("p0", "p1", "p2"),
        ("p0", "p1", "p2", "p4"),
        ("p0", "p00"),
        ("p1", "p2"),
        (),
    ],
    ids=["count", "gap", "twice", "from-1", "none"],
)
def test_never_validated(
    both: Both,
    plproxy: Plproxy,
    servers: Servers,
    naked: str,
    names: tuple[str, ...],
) -> None:
    parts = dict(zip(names, map(plproxy.partition, PARTS), strict=False))
    servers("strange", wrapper=naked, **(parts or {"connection_lifetime": "5"}))
    both.create(where("strange", "strange", "any"))
    assert both.fail("strange").sqlstate == "XX000"


def test_unknown_option(
    both: Both, plproxy: Plproxy, servers: Servers, naked: str
) -> None:
    servers("strange", wrapper=naked, p0=plproxy.partition("test_part0"), color="red")
    both.create(where("strange", "strange", "any"))
    assert both.fail("strange").sqlstate == "XX000"


def test_wrong_functions(both: Both, plproxy: Plproxy) -> None:
    # Three partitions, and an option that is none: from the functions, too.
    plproxy.cluster("three", PARTS[:3])
    plproxy.cluster("colored", PARTS, color="red")
    for name in ("three", "colored"):
        both.create(where(name, name))
        assert both.fail(name).sqlstate == "XX000"
        plproxy.cluster(name, PARTS, version=2)
        assert len(both.call(name)) == 1
