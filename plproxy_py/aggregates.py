"""PostgreSQL's aggregates in Python, over the partial ones that partitions send.

Each is a transition and a final function, and equal to the server's own to the last
digit. Source: PostgreSQL catalog/pg_aggregate.dat; utils/adt/numeric.c, float.c.
"""

from __future__ import annotations

import math
import operator
import struct
from collections.abc import Callable, Iterable, Sequence
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from typing import Any, NoReturn

from plproxy_py._record import record
from plproxy_py.errors import ResultError
from plproxy_py.pgtypes import PgType

Row = tuple[Sequence[Any], Sequence[Any]]
"""Loaded values by declared position, and keys by position in `Combiner.keys`."""

_INT8, _NUMERIC, _FLOAT8 = PgType("int8"), PgType("numeric"), PgType("float8")
_INTEGERS = ("int2", "int4", "int8")

# Whatever the thread's own context says: exact, and infinity - infinity is NaN.
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
# Not the native "f", which makes infinity of what is too large.
_FLOAT4 = struct.Struct("<f")


@record
class Aggregate:
    """``step`` takes a group's state, at first None, and a row; ``final`` the last."""

    step: Callable[[Any, Row], Any]
    final: Callable[[Any], Any]


def first(column: int) -> Aggregate:
    """Return the aggregate that keeps the value of a group's first row."""

    def step(state: Any, row: Row) -> Any:
        # Packed: what it holds may be None.
        return (row[0][column],) if state is None else state

    return Aggregate(step, operator.itemgetter(0))


def extreme(column: int, place: int, rule: str, type: PgType) -> Aggregate:
    """Return ``min`` or ``max`` of a column whose key is at ``place``."""
    # Of equal values the servers keep the later, 1.00 behind 1.0, but for bpchar.
    if type.name == "bpchar":
        stays = operator.le if rule == "min" else operator.ge
    else:
        stays = operator.lt if rule == "min" else operator.gt

    def step(state: Any, row: Row) -> Any:
        key = row[1][place]
        if key is None or (state is not None and stays(state[0], key)):
            return state
        return key, row[0][column]

    return Aggregate(step, lambda state: state and state[1])


def array_agg(column: int, type: PgType) -> Aggregate:
    """Return the aggregate that collects values, NULLs too, or joins arrays.

    It raises `ResultError` for an array that was not loaded as a list.
    """

    def collect(state: Any, row: Row) -> Any:
        return _extended(state, (row[0][column],))

    def concatenate(state: Any, row: Row) -> Any:
        array = row[0][column]
        if array is None:
            return state
        if not isinstance(array, list):
            raise ResultError(
                f"array_agg: {type.cast} came as {array.__class__.__name__}, not as a "
                "list; an adapter registered in router.adapters can read it"
            )
        return _extended(state, array)

    return Aggregate(concatenate if type.is_array else collect, _same)


def joined(place: int, rule: str, type: PgType) -> tuple[PgType, Aggregate]:
    """Return ``sum``, ``count``, ``bool_and`` or ``bool_or``, and its result type."""
    if rule == "sum":
        kind = _SUMS[type.name]
        return kind.type, _folded(place, kind.number, kind.add, kind.final)
    if rule == "count":
        return _INT8, _folded(place, int, operator.add, lambda state: state or 0)
    return type, _folded(place, bool, _LOGIC[rule])


def avg(sums: int, counts: int, type: PgType) -> tuple[PgType, Aggregate]:
    """Return the average from totals of ``type`` and counts, and its result type."""
    kind = _AVERAGES[type.name]
    total = _folded(sums, kind.number, kind.add)
    count = _folded(counts, int, operator.add)

    def step(state: Any, row: Row) -> Any:
        one, other = state or (None, None)
        return total.step(one, row), count.step(other, row)

    def final(state: Any) -> Any:
        one, other = state or (None, None)
        return None if one is None or not other else kind.final(one, other)

    return kind.type, Aggregate(step, final)


def _folded(
    place: int,
    number: Callable[[Any], Any],
    join: Callable[[Any, Any], Any],
    final: Callable[[Any], Any] | None = None,
) -> Aggregate:
    """Join what ``number`` makes of the keys that are not NULL."""

    def step(state: Any, row: Row) -> Any:
        key = row[1][place]
        if key is None:
            return state
        return number(key) if state is None else join(state, number(key))

    return Aggregate(step, final or _same)


def _same(state: Any) -> Any:
    return state


def _extended(state: list[Any] | None, items: Iterable[Any]) -> list[Any]:
    state = [] if state is None else state
    state.extend(items)
    return state


def divided(total: Decimal, count: int) -> Decimal:
    """Return a numeric divided by a count as numeric's ``/`` does, digit by digit.

    Rounded half away from zero, to at least 16 significant digits as the servers
    estimate them. Source: PostgreSQL numeric.c, select_div_scale and div_var.
    """
    if not total.is_finite():
        return total
    scale = max(0, -int(total.as_tuple().exponent))
    weight, digit = _leading(total)
    count_weight, count_digit = _leading(Decimal(count))
    weight -= count_weight + (digit <= count_digit)
    scale = min(max(scale, 16 - 4 * weight), 1000)
    shifted = total.copy_abs().scaleb(scale, _EXACT)
    quotient, rest = _EXACT.divmod(shifted, Decimal(count))
    if _EXACT.add(rest, rest) >= count:
        quotient = _EXACT.add(quotient, 1)
    signed = _EXACT.minus(quotient) if total < 0 else quotient
    return signed.scaleb(-scale, _EXACT)


def _leading(number: Decimal) -> tuple[int, int]:
    """Return the first digit to the base of 10000 and its weight; 0 has neither."""
    if not number:
        return 0, 0
    weight, places = divmod(number.adjusted(), 4)
    digits = "".join(map(str, number.as_tuple().digits[: places + 1]))
    return weight, int(digits.ljust(places + 1, "0"))


def _add_float8(one: float, other: float) -> float:
    result = one + other
    if math.isinf(result) and not (math.isinf(one) or math.isinf(other)):
        _overflow()
    return result


def _add_float4(one: float, other: float) -> float:
    # Rounded twice, but 53 bits are enough for the first not to show.
    return _narrowed(one + other)


def _narrowed(number: float) -> float:
    """Return the float4 nearest to ``number``, exactly."""
    try:
        narrowed: float = _FLOAT4.unpack(_FLOAT4.pack(number))[0]
    except OverflowError:
        _overflow()
    return narrowed


def _shortest(number: float | None) -> float | None:
    """Return a float4 as psycopg reads it, by the fewest digits that tell it."""
    if number is None or not math.isfinite(number):
        return number
    texts = (float(f"{number:.{digits}g}") for digits in range(1, 10))
    return next(short for short in texts if _narrowed(short) == number)


def _overflow() -> NoReturn:
    raise ResultError("value out of range: overflow", sqlstate="22003")


@record
class _Sum:
    """How keys of a type are added up, and what is made of the sum at the end."""

    type: PgType
    number: Callable[[Any], Any]
    add: Callable[[Any, Any], Any]
    final: Callable[..., Any] = _same


# Keys of numeric and floats are pairs: whether it is NaN, and the number.
_number = operator.itemgetter(1)


def _number4(key: tuple[bool, float]) -> float:
    return _narrowed(key[1])


_SUMS = {
    **dict.fromkeys(_INTEGERS, _Sum(_INT8, int, operator.add)),
    "numeric": _Sum(_NUMERIC, _number, _EXACT.add),
    "float4": _Sum(PgType("float4"), _number4, _add_float4, _shortest),
    "float8": _Sum(_FLOAT8, _number, _add_float8),
}
_AVERAGES = {
    **dict.fromkeys(
        _INTEGERS,
        _Sum(_NUMERIC, int, operator.add, lambda sum, n: divided(Decimal(sum), n)),
    ),
    "numeric": _Sum(_NUMERIC, _number, _EXACT.add, divided),
    # Of float4, too, the servers make a float8.
    "float4": _Sum(_FLOAT8, _number4, _add_float8, operator.truediv),
    "float8": _Sum(_FLOAT8, _number, _add_float8, operator.truediv),
}
_LOGIC = {"bool_and": operator.and_, "bool_or": operator.or_}

ARGUMENTS: dict[str, Iterable[str]] = {
    "sum": _SUMS,
    "count": _INTEGERS,
    "bool_and": ("bool",),
    "bool_or": ("bool",),
}
"""The types that the columns of a rule may have, where not any."""
