"""Partial aggregates of the partitions → the aggregates of the whole.

Each partition's function aggregates its own rows; a `Combiner` finishes the work as one
PostgreSQL database would. What is compared, counted or calculated with comes from the
wire text, not from what a user's adapter made of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

from plproxy_py import aggregates
from plproxy_py._record import record
from plproxy_py.aggregates import ARGUMENTS, Aggregate, Row
from plproxy_py.comparison import Key, comparable, distinguishable, read_collation
from plproxy_py.errors import SignatureError, nearest
from plproxy_py.language.sqltokens import shorten, tokenize
from plproxy_py.pgtypes import PgType
from plproxy_py.signature import Columns

Rule = str
Combination = str | Mapping[str, str | tuple[str, str, str]]

_RULES = (*ARGUMENTS, "min", "max", "array_agg", "distinct")


@record
class Combiner:
    """What makes the rows of all partitions one answer.

    ``keys``: the columns whose wire texts are needed, once each, and what turns a
    text into its key. ``columns``: a record's columns as they come out, or a scalar's
    type. ``setof``: any number of rows comes out, else exactly one. ``aggregates``
    give the columns; ``grouping`` are the positions in ``keys`` of those keys that
    tell groups apart.
    """

    keys: tuple[tuple[int, Key], ...]
    columns: Columns | PgType
    setof: bool
    aggregates: tuple[Aggregate, ...]
    grouping: tuple[int, ...]

    def __call__(self, rows: Iterable[Row]) -> list[tuple[Any, ...]]:
        """Return what comes out, groups in the order of their first rows.

        ``rows`` come in tag order; keys of NULLs are None. Raise `ResultError` 22003
        where a sum of floats overflows, as the server does.
        """
        fresh = [None] * len(self.aggregates)
        groups: dict[tuple[Any, ...], list[Any]] = {}
        if not self.setof:
            groups[()] = fresh.copy()
        for row in rows:
            group = tuple([row[1][place] for place in self.grouping])
            states = groups.get(group)
            if states is None:
                states = groups[group] = fresh.copy()
            for place, aggregate in enumerate(self.aggregates):
                states[place] = aggregate.step(states[place], row)
        return [
            tuple(
                aggregate.final(state)
                for aggregate, state in zip(self.aggregates, states, strict=True)
            )
            for states in groups.values()
        ]


def compile_combine(
    combine: Combination, group_by: Sequence[str], columns: Columns | PgType
) -> Combiner:
    """Return the combiner of a declaration.

    A rule by itself is for each column that is not grouped; columns come out as
    declared. With a mapping, those of ``group_by`` come first. ``columns`` is what
    partitions send: a record's columns, or a scalar's type. Raise `SignatureError`,
    naming rule and column, for what can't be combined.
    """
    if isinstance(columns, PgType):
        if group_by or not isinstance(combine, str):
            raise SignatureError(
                "combine: the result is no record, so only a rule by itself fits"
            )
        # As the generated query names it.
        combiner = _Compiler((("r", columns),)).compile(combine, ())
        assert not isinstance(combiner.columns, PgType)
        return replace(combiner, columns=combiner.columns[0][1])
    return _Compiler(columns).compile(combine, group_by)


class _Compiler:
    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._keys: dict[int, Key] = {}
        self._out: list[tuple[str, PgType]] = []
        self._aggregates: list[Aggregate] = []

    def compile(self, combine: Combination, group_by: Sequence[str]) -> Combiner:
        grouped = [self._find(name, "group_by") for name in group_by]
        if len(set(grouped)) < len(grouped):
            raise SignatureError("group_by: a column stands there twice")
        if isinstance(combine, str):
            grouped = self._compile_rule(combine, grouped)
        elif not combine:
            raise SignatureError("combine: the mapping is empty")
        else:
            for column in grouped:
                self._group(column, "group_by")
            for name, given in combine.items():
                self._output(name, given, group_by)
        places = list(self._keys)
        return Combiner(
            keys=tuple(self._keys.items()),
            columns=tuple(self._out),
            setof=bool(grouped),
            aggregates=tuple(self._aggregates),
            grouping=tuple(places.index(column) for column in grouped),
        )

    def _compile_rule(self, combine: str, grouped: list[int]) -> list[int]:
        rule, collation = _parse_rule(combine)
        every = list(range(len(self._columns)))
        if rule == "distinct":
            if grouped:
                raise SignatureError("combine: distinct goes with no group_by")
            grouped = every
        if not every or (rule != "distinct" and len(grouped) == len(every)):
            raise SignatureError(f"combine: no column is left for {rule}")
        for column in every:
            if column in grouped:
                self._group(
                    column, f"combine {rule}" if grouped == every else "group_by"
                )
            else:
                self._aggregate(rule, collation, column)
        return grouped

    def _output(self, name: str, given: object, group_by: Sequence[str]) -> None:
        if name in group_by:
            raise SignatureError(
                f"combine: column {name!r} is in group_by, and has a rule as well"
            )
        if isinstance(given, tuple):
            if len(given) != 3 or given[0] != "avg":
                _refuse(name, given, 'write ("avg", total column, count column)')
            if {given[1], given[2]} & set(group_by):
                _refuse(name, "avg", "a column of group_by can't be aggregated as well")
            total, count = (self._find(part, f"combine {name!r}") for part in given[1:])
            self._average(name, total, count)
            return
        if not isinstance(given, str):
            _refuse(name, given, "a rule is a text, or a tuple for avg")
        rule, collation = _parse_rule(given)
        if rule == "distinct":
            _refuse(name, rule, "it is about whole rows, and stands by itself")
        self._aggregate(rule, collation, self._find(name, f"combine {rule}"))

    def _find(self, name: str, subject: str) -> int:
        names = [other for other, _ in self._columns]
        if name not in names:
            raise SignatureError(
                f"{subject}: no column {name!r}{nearest(name, names)}", token=name
            )
        return names.index(name)

    def _add(self, name: str, type: PgType, aggregate: Aggregate) -> None:
        self._out.append((name, type))
        self._aggregates.append(aggregate)

    def _key(self, column: int, key: Key) -> int:
        self._keys.setdefault(column, key)
        return list(self._keys).index(column)

    def _group(self, column: int, subject: str) -> None:
        name, type = self._columns[column]
        try:
            self._key(column, distinguishable(type))
        except SignatureError as error:
            text = f"{subject}, column {name!r}: {error}"
            raise SignatureError(text, token=name) from None
        self._add(name, type, aggregates.first(column))

    def _aggregate(self, rule: str, collation: str | None, column: int) -> None:
        name, type = self._columns[column]
        if rule == "array_agg":
            array = replace(type, is_array=True)
            self._add(name, array, aggregates.array_agg(column, type))
            return
        if rule in ARGUMENTS:
            _check_argument(name, rule, rule, type)
        try:
            place = self._key(column, comparable(type, collation))
        except SignatureError as error:
            _refuse(name, rule, str(error))
        if rule in ("min", "max"):
            self._add(name, type, aggregates.extreme(column, place, rule, type))
        else:
            self._add(name, *aggregates.joined(place, rule, type))

    def _average(self, name: str, total: int, count: int) -> None:
        for column, rule in ((total, "sum"), (count, "count")):
            _check_argument(name, "avg", rule, self._columns[column][1])
        type, counted = self._columns[total][1], self._columns[count][1]
        sums = self._key(total, comparable(type))
        counts = self._key(count, comparable(counted))
        self._add(name, *aggregates.avg(sums, counts, type))


def _parse_rule(text: str) -> tuple[Rule, str | None]:
    cursor = tokenize(text, SignatureError, f"combine {shorten(text)!r}: ")
    word = cursor.peek()
    rule = cursor.label()
    if rule == "avg":
        cursor.refuse('in a mapping, write ("avg", total column, count column)', word)
    if rule not in _RULES:
        known = ", ".join(_RULES)
        cursor.refuse(f"unknown rule{nearest(rule, _RULES)}; there are {known}", word)
    collation = read_collation(cursor)
    cursor.end()
    if collation is not None and rule not in ("min", "max"):
        cursor.refuse(f"{rule} has no collation, only min and max", word)
    return rule, collation


def _check_argument(name: str, rule: str, part: str, type: PgType) -> None:
    """Refuse a column that can't be the ``part`` of ``rule``."""
    if type.is_array or type.name not in ARGUMENTS[part]:
        known = ", ".join(ARGUMENTS[part])
        what = "it" if part == rule else f"its {part}"
        _refuse(name, rule, f"{what} can be of {known}, not of {type.cast}")


def _refuse(name: str, rule: object, reason: str) -> NoReturn:
    raise SignatureError(f"combine {rule}, column {name!r}: {reason}", token=name)
