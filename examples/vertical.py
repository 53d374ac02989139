"""Vertical partitioning: customers in one database, their orders in another.

Run: python examples/vertical.py SERVER (see playground.py)

Each function knows the cluster that has its table. Who calls it does not: where a page
needs both, a Python function calls both.
"""

# mypy: disable-error-code=empty-body

from typing import NamedTuple

from install import install
from playground import partitions

from plproxy_py import Router

CUSTOMERS = """
CREATE TABLE customers (id int8 PRIMARY KEY, name text NOT NULL);

CREATE FUNCTION add_customer(i_id int8, i_name text) RETURNS void LANGUAGE sql
AS $$ INSERT INTO customers VALUES (i_id, i_name) $$;

CREATE FUNCTION get_name(i_id int8) RETURNS text LANGUAGE sql STABLE
AS $$ SELECT name FROM customers WHERE id = i_id $$;
"""
ORDERS = """
CREATE TABLE orders (customer int8 NOT NULL, item text NOT NULL, price int8 NOT NULL);

CREATE FUNCTION add_order(i_customer int8, i_item text, i_price int8) RETURNS void
LANGUAGE sql AS $$ INSERT INTO orders VALUES (i_customer, i_item, i_price) $$;

CREATE FUNCTION get_orders(i_customer int8) RETURNS TABLE (item text, price int8)
LANGUAGE sql STABLE
AS $$ SELECT item, price FROM orders WHERE customer = i_customer ORDER BY item $$;
"""


class Order(NamedTuple):
    item: str
    price: int


router = Router()


# A cluster of one partition: any hash leads to it, also when there will be more.
@router.proxy(cluster="customerdb", run_on="id")
def add_customer(id: int, name: str) -> None: ...


@router.proxy(cluster="customerdb", run_on="id")
def get_name(id: int) -> str | None: ...


@router.proxy(cluster="orderdb", run_on="customer")
def add_order(customer: int, item: str, price: int) -> None: ...


@router.proxy(cluster="orderdb", run_on="customer")
def get_orders(customer: int) -> list[Order]: ...


def invoice(customer: int) -> str:
    """Put together what two databases know."""
    orders = get_orders(customer)
    items = ", ".join(order.item for order in orders)
    return f"{get_name(customer)}: {items} = {sum(order.price for order in orders)}"


def main() -> None:
    with partitions(2) as (customers, orders), router:
        install(CUSTOMERS, [customers])
        install(ORDERS, [orders])
        router.configure({"customerdb": [customers], "orderdb": [orders]})

        add_customer(1, "Marko")
        add_customer(2, "Asko")
        add_order(1, "saw", 25)
        add_order(2, "lamp", 40)
        add_order(1, "hammer", 15)
        print(invoice(1))
        print(invoice(2))

        tables = "SELECT relname FROM pg_class WHERE relname IN ('customers', 'orders')"
        for cluster in router.clusters:
            print(f"{cluster} has", *router.execute(cluster, tables)[0][0])


if __name__ == "__main__":
    main()
