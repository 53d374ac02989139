"""Aggregates in three steps: on each partition, collected, and put together.

Run: python examples/aggregates.py SERVER (see playground.py)

A function on each partition aggregates what is there. combine= does the last step: the
sum of sums is a sum. The average of averages is none: partitions send sum and count.
"""

# mypy: disable-error-code=empty-body

from decimal import Decimal
from typing import NamedTuple

from install import install
from playground import partitions

from plproxy_py import Router

PARTITION = """
CREATE TABLE sales (id int8 PRIMARY KEY, country text NOT NULL, price int8 NOT NULL);

CREATE FUNCTION sell(i_id int8, i_country text, i_price int8) RETURNS void LANGUAGE sql
AS $$ INSERT INTO sales VALUES (i_id, i_country, i_price) $$;

CREATE FUNCTION sales_by_country(
    OUT country text, OUT sold int8, OUT total numeric, OUT dearest int8
) RETURNS SETOF record LANGUAGE sql STABLE
AS $$
    SELECT country, count(*), sum(price), max(price) FROM sales
    GROUP BY country ORDER BY country
$$;
"""
# As a partition sends it. What the caller gets is the hint's: an average, no total.
SIGNATURE = """
sales_by_country(OUT country text, OUT sold int8, OUT total numeric, OUT dearest int8)
"""


class Part(NamedTuple):
    country: str
    sold: int
    total: Decimal
    dearest: int


class Country(NamedTuple):
    country: str
    sold: int
    dearest: int
    average: Decimal


router = Router()


@router.proxy(cluster="sales", run_on="id")
def sell(id: int, country: str, price: int) -> None: ...


@router.proxy(cluster="sales", run_on="ALL", name="sales_by_country")
def parts() -> list[Part]: ...


@router.proxy(
    SIGNATURE,
    cluster="sales",
    run_on="ALL",
    combine={"sold": "sum", "dearest": "max", "average": ("avg", "total", "sold")},
    group_by=("country",),
)
def sales_by_country() -> list[Country]: ...


@router.proxy(
    cluster="sales", run_on="ALL", select="sum(price) FROM sales", combine="sum"
)
def revenue() -> Decimal | None: ...


def main() -> None:
    with partitions(2) as connstrs, router:
        install(PARTITION, connstrs)
        router.configure({"sales": connstrs})
        print("revenue before the first sale:", revenue())

        sell(1, "Estonia", 10)
        sell(3, "Estonia", 30)
        sell(4, "Estonia", 80)
        sell(6, "Latvia", 50)

        for part in parts():
            average = part.total / part.sold
            print(f"a partition: {part.country}, {part.sold} sold, {average:.0f} each")
        for country in sorted(sales_by_country()):
            name, sold, dearest, average = country
            print(f"all: {name}, {sold} sold, up to {dearest}, {average:.0f} each")
        print("revenue:", revenue())


if __name__ == "__main__":
    main()
