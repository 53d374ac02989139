"""Common tables: written in one database, copied to every partition.

Run: python examples/common_tables.py SERVER (see playground.py)

Orders are partitioned. Countries are few, and each partition has a copy of all, so that
orders can refer to them and be joined with them. One database owns the countries; the
copies follow by a call (or by PostgreSQL's logical replication).
"""

# mypy: disable-error-code=empty-body

from typing import NamedTuple

from install import install
from playground import partitions

from plproxy_py import RemoteError, Router

COUNTRIES = """
CREATE TABLE countries (code text PRIMARY KEY, name text NOT NULL);
"""
UPSERT = """
INSERT INTO countries VALUES ($1, $2)
ON CONFLICT (code) DO UPDATE SET name = excluded.name
"""
# All rows in one statement: a partition has the whole of a change, or nothing of it.
# After a failure it is called again, which does no harm.
PARTITION = """
CREATE TABLE orders (id int8 PRIMARY KEY, country text NOT NULL REFERENCES countries);

CREATE FUNCTION copy_countries(i_codes text[], i_names text[]) RETURNS void LANGUAGE sql
AS $$
    INSERT INTO countries SELECT * FROM unnest(i_codes, i_names)
    ON CONFLICT (code) DO UPDATE SET name = excluded.name
$$;

CREATE FUNCTION create_order(i_id int8, i_country text) RETURNS void LANGUAGE sql
AS $$ INSERT INTO orders VALUES (i_id, i_country) $$;

CREATE FUNCTION count_orders(OUT name text, OUT orders int8) RETURNS SETOF record
LANGUAGE sql STABLE AS $$
    SELECT name, count(*) FROM orders JOIN countries ON code = country GROUP BY name
$$;
"""


class Count(NamedTuple):
    name: str
    orders: int


router = Router()


@router.proxy(cluster="orderdb", run_on="ALL")
def copy_countries(codes: list[str], names: list[str]) -> list[None]: ...


@router.proxy(cluster="orderdb", run_on="id")
def create_order(id: int, country: str) -> None: ...


@router.proxy(
    cluster="orderdb", run_on="ALL", combine={"orders": "sum"}, group_by=("name",)
)
def count_orders() -> list[Count]: ...


def name_country(code: str, name: str) -> None:
    """Write a country where countries are written, then bring all copies up to date."""
    router.execute("common", UPSERT, code, name)
    rows = router.execute("common", "SELECT code, name FROM countries")[0]
    copies = copy_countries([row.code for row in rows], [row.name for row in rows])
    print(f"{code} is {name}, on {len(copies)} partitions")


def main() -> None:
    with partitions(3) as (common, *connstrs), router:
        install(COUNTRIES, [common, *connstrs])
        install(PARTITION, connstrs)
        router.configure({"common": [common], "orderdb": connstrs})

        name_country("ee", "Estonia")
        create_order(1, "ee")
        try:
            create_order(2, "lv")
        except RemoteError as error:
            print(f"no such country on partition {error.partition}: {error.sqlstate}")

        name_country("lv", "Lettland")
        for id, country in enumerate(["lv", "ee", "lv", "ee"], 2):
            create_order(id, country)
        print([tuple(count) for count in sorted(count_orders())])

        name_country("lv", "Latvia")
        print([tuple(count) for count in sorted(count_orders())])


if __name__ == "__main__":
    main()
