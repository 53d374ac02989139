"""What a declaration asks for across partitions: ORDER BY, LIMIT, OFFSET, combine.

The keywords as they were given, the rules that hold between them, and how many rows a
call wants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from plproxy_py._record import record
from plproxy_py.combine import Combination
from plproxy_py.errors import SignatureError
from plproxy_py.language.body import Reference
from plproxy_py.signature import Argument

MOST_ROWS = 2**63 - 1  # LIMIT is an int8
INTEGERS = ("int2", "int4", "int8")

Combine = Combination | Callable[[list[Any]], Any]


@record
class Clauses:
    """The keywords of that name. Raise TypeError for a value that is none.

    ``limit`` and ``offset`` may name a parameter.
    """

    order_by: Sequence[str] = ()
    limit: int | str | None = None
    offset: int | str = 0
    combine: Combine | None = None
    group_by: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("order_by", "group_by"):
            object.__setattr__(self, name, _texts(name, getattr(self, name)))
        _check_count("offset", self.offset)
        if self.limit is not None:
            _check_count("limit", self.limit)
        combine = self.combine
        if not (
            combine is None or isinstance(combine, (str, Mapping)) or callable(combine)
        ):
            raise TypeError(
                "combine is a rule, a mapping column -> rule or a callable, not "
                f"{type(combine).__name__}"
            )

    @property
    def of_rows(self) -> str | None:
        """The first keyword of those that sort or count rows, None without one."""
        given = {
            "order_by": self.order_by != (),
            "limit": self.limit is not None,
            "offset": self.offset != 0,
        }
        return next((name for name, is_given in given.items() if is_given), None)

    @property
    def keyword(self) -> str | None:
        """The first keyword that needs to know columns, None without one."""
        return self.of_rows or (None if self.combine is None else "combine")

    def check(self, *, first: bool, setof: bool) -> None:
        """Raise `SignatureError` for keywords that don't go together.

        ``first``: the option of that name. ``setof``: partitions send any number of
        rows.
        """
        if self.group_by and self.combine is None:
            raise SignatureError("group_by= goes with combine=")
        for name, is_given in (("combine", self.combine is not None), ("first", first)):
            if self.of_rows and is_given:
                raise SignatureError(f"{self.of_rows}= can't be combined with {name}=")
        if self.combine is not None and first:
            raise SignatureError(
                "combine= can't be combined with first=: one wants all partitions, the "
                "other any"
            )
        if self.of_rows and not setof:
            raise SignatureError(
                f"{self.of_rows}= needs a set-returning function: write -> list[…]"
            )


def _check_count(name: str, count: object) -> None:
    if isinstance(count, bool) or not isinstance(count, (int, str)):
        raise TypeError(
            f"{name} is a number, or a parameter's name, not {type(count).__name__}"
        )
    if isinstance(count, int) and count > MOST_ROWS:
        raise SignatureError(f"{name} is at most {MOST_ROWS}")


def _texts(name: str, given: object) -> tuple[str, ...]:
    if isinstance(given, str):
        raise TypeError(f"{name} is a tuple of texts: write {name}=({given!r},)")
    if not isinstance(given, Sequence) or not all(isinstance(i, str) for i in given):
        raise TypeError(f"{name} is a tuple of texts")
    return tuple(given)


@record
class Window:
    """OFFSET and LIMIT: numbers, or the arguments that they are."""

    offset: int | Reference = 0
    limit: int | Reference | None = None

    def of(self, normals: Sequence[Any]) -> tuple[int, int | None]:
        """Return OFFSET and LIMIT of a call, None for no limit. Raise ValueError."""
        return (
            self._count("offset", self.offset, normals) or 0,
            self._count("limit", self.limit, normals),
        )

    def _count(
        self, keyword: str, count: int | Reference | None, normals: Sequence[Any]
    ) -> int | None:
        if not isinstance(count, Reference):
            return count
        number: int | None = normals[count.index]
        if number is not None and number < 0:
            raise ValueError(f"{keyword} must not be negative")
        return number


def compile_window(
    clauses: Clauses, names: Sequence[str | None], inputs: Sequence[Argument]
) -> Window:
    """Return OFFSET and LIMIT, parameters found by name. Raise `SignatureError`.

    ``names``: as Python has them; those of the signature do as well.
    """

    def count(keyword: str, given: int | str) -> int | Reference:
        if not isinstance(given, str):
            if given < 0:
                raise SignatureError(f"{keyword}= must not be negative")
            return given
        for known in (names, [argument.name for argument in inputs]):
            if given in known:
                index = list(known).index(given)
                if (type := inputs[index].type).cast not in INTEGERS:
                    raise SignatureError(
                        f"{keyword}= takes an integer, and {given} is {type.cast}"
                    )
                return Reference(index)
        raise SignatureError(f"{keyword}= names no parameter: {given!r}")

    limit = None if clauses.limit is None else count("limit", clauses.limit)
    return Window(count("offset", clauses.offset), limit)
