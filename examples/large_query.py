"""One large query, spread over databases that are copies of each other.

Run: python examples/large_query.py SERVER (see playground.py)

Any of them could answer it alone. SPLIT gives each a part of the question, and all work
at the same time. (Where each partition has its own part of the data, `run_on="ALL"` is
enough.)
"""

# mypy: disable-error-code=empty-body

from typing import NamedTuple

from install import install
from playground import partitions

from plproxy_py import Router

COPY = """
CREATE FUNCTION find_primes(i_numbers int8[]) RETURNS SETOF int8 LANGUAGE sql IMMUTABLE
AS $$
    SELECT n FROM unnest(i_numbers) n
    WHERE n > 1 AND NOT EXISTS (
        SELECT FROM generate_series(2, floor(sqrt(n))::int8) d WHERE n % d = 0
    )
$$;
"""


class Part(NamedTuple):
    database: str
    size: int


router = Router()


# An element is its own hash: neighbours go to different databases, in equal parts. Any
# database would do, so run_on="ANY" is right as well, by chance for each element.
@router.proxy(cluster="copies", split="numbers", run_on="numbers")
def find_primes(numbers: list[int]) -> list[int]: ...


@router.proxy(
    cluster="copies",
    split="numbers",
    run_on="numbers",
    select="current_database()::text AS database, cardinality(numbers)::int8 AS size",
)
def parts(numbers: list[int]) -> list[Part]: ...


def main() -> None:
    with partitions(4) as connstrs, router:
        install(COPY, connstrs)
        numbers = list(range(1000))

        router.configure({"copies": connstrs[:1]})
        alone = find_primes(numbers)
        print(f"one database, {[part.size for part in parts(numbers)]} numbers:")
        print(f"{len(alone)} primes, the largest is {max(alone)}")

        router.configure({"copies": connstrs})
        spread = find_primes(numbers)
        print(f"four databases, {[part.size for part in parts(numbers)]} numbers:")
        print(f"{len(spread)} primes, the same ones: {sorted(spread) == alone}")

        # Rows come partition by partition: the order is to be made here.
        print("as they come:", spread[:5])
        few = parts([2, 6, 10, 3])
        print("only who has a part is asked:", [part.size for part in few])


if __name__ == "__main__":
    main()
