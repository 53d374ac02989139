"""A shop that asks its bank: functions of another database, called from here.

Run: python examples/remote_call.py SERVER (see playground.py)

There is one bank, and no cluster: connect= says where a function is.
"""

# mypy: disable-error-code=empty-body

from decimal import Decimal

import psycopg
from install import install
from playground import partitions

from plproxy_py import ConfigError, Error, Router

BANK = """
CREATE TABLE accounts (owner text PRIMARY KEY, balance numeric CHECK (balance >= 0));
INSERT INTO accounts VALUES ('marko', 100);

CREATE FUNCTION get_balance(i_owner text) RETURNS numeric LANGUAGE sql STABLE
AS $$ SELECT balance FROM accounts WHERE owner = i_owner $$;

CREATE FUNCTION withdraw(i_owner text, i_amount numeric) RETURNS numeric LANGUAGE sql
AS $$
    UPDATE accounts SET balance = balance - i_amount WHERE owner = i_owner
    RETURNING balance
$$;
"""
SHOP = "CREATE TABLE orders (buyer text, price numeric)"


def main() -> None:
    with partitions(2) as (shop, bank), Router() as router:
        install(BANK, [bank])
        install(SHOP, [shop])

        @router.proxy(connect=bank)
        def get_balance(owner: str) -> Decimal | None: ...

        @router.proxy(connect=bank)
        def withdraw(owner: str, amount: Decimal) -> Decimal: ...

        # The call commits at the bank, so it comes last: what fails before it or in it
        # undoes the order. Only the commit here could still fail after it.
        def buy(buyer: str, price: Decimal) -> None:
            with psycopg.connect(shop) as conn:
                conn.execute("INSERT INTO orders VALUES (%s, %s)", [buyer, price])
                print(f"paid {price}, left {withdraw(buyer, price)}")

        print("balance:", get_balance("marko"))
        print("nobody's balance:", get_balance("nobody"))
        for buyer, price in [("marko", 30), ("marko", 80), ("nobody", 5)]:
            try:
                buy(buyer, Decimal(price))
            except Error as error:
                print(f"{buyer} can't pay {price}: {error.sqlstate}")
        with psycopg.connect(shop) as conn:
            print("orders:", conn.execute("SELECT * FROM orders").fetchall())

        # A bank that the caller names: refused, unless Router(allow_connect=[…]) names
        # the host as well. A connect string may come from anywhere.
        @router.proxy(connect="bank", name="get_balance")
        def get_balance_at(bank: str, owner: str) -> Decimal | None: ...

        try:
            get_balance_at(bank, "marko")
        except ConfigError as error:
            print("refused here:", error.sqlstate)


if __name__ == "__main__":
    main()
