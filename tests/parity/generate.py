"""Functions, bodies and arguments, as Hypothesis thinks them up.

A `Drawn` is all that a comparison needs: what to create in the proxy database and on
each partition, and a call. Every function tells on which partition it ran, wherever
its result has room for it, so that a wrong partition shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

NAMES = ["a", "b", "A", "x1", "_y", "é", "Weird Name", 'q"q', "select", "Ünï", "tmp$1"]
PLAIN = ("a", "b", "x1", "_y", "é")
_STORABLE = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
_TEXT = st.text(_STORABLE, max_size=12)
_ZONES = st.integers(-14 * 60, 14 * 60).map(
    lambda minutes: timezone(timedelta(minutes=minutes))
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | _TEXT,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3)
    ),
    max_leaves=5,
)


@dataclass(frozen=True)
class Kind:
    """A type; ``base`` is without modifiers, ``hashes`` are what RUN ON takes."""

    declared: str
    base: str
    values: st.SearchStrategy[Any]
    hashes: tuple[str, ...] = ()


def _integers(bits: int) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


_NUMERICS = st.decimals(allow_infinity=False, allow_nan=False) | st.decimals(
    -(10**9), 10**9, places=3
)
_STAMPS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))
_BY_TEXT = ("hashtext({})", "hashtext(lower({}))", "hashtextextended({}, 5)")
SCALARS = (
    Kind("int2", "int2", _integers(16), ("{}", "hashint2({})")),
    Kind("integer", "int4", _integers(32), ("{}", "hashint4({})", "int4({})")),
    Kind("bigint", "int8", _integers(64), ("{}", "hashint8({})")),
    Kind("text", "text", _TEXT, _BY_TEXT),
    Kind("varchar(5)", "varchar", _TEXT, ("hashtext({})",)),
    Kind("numeric", "numeric", _NUMERICS, ("hash_numeric({})",)),
    Kind("numeric(6,2)", "numeric", _NUMERICS, ("hash_numeric({})",)),
    Kind("boolean", "bool", st.booleans()),
    Kind("double precision", "float8", st.floats(), ("hashfloat8({})",)),
    Kind("bytea", "bytea", st.binary(max_size=20)),
    Kind("date", "date", st.dates(date(1, 1, 2))),
    Kind("timestamp", "timestamp", _STAMPS, ("timestamp_hash({})",)),
    Kind(
        "timestamptz",
        "timestamptz",
        st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=_ZONES)
        | _STAMPS.map(lambda stamp: stamp.replace(tzinfo=UTC)),
        ("timestamp_hash({}::timestamp)",),
    ),
    Kind("time", "time", st.times(), ("time_hash({})",)),
    Kind(
        "interval",
        "interval",
        st.timedeltas(timedelta(-99_999), timedelta(99_999)),
        ("interval_hash({})",),
    ),
    Kind("uuid", "uuid", st.uuids(), ("uuid_hash({})",)),
    Kind("jsonb", "jsonb", _JSON.filter(lambda value: value is not None)),
)
_ELEMENTS = tuple(
    kind
    for kind in SCALARS
    if kind.declared not in ("numeric(6,2)", "jsonb", "bytea", "varchar(5)")
)


@dataclass(frozen=True)
class Argument:
    """``split`` arrays are hashed by element; ``value`` is Python's."""

    name: str
    kind: Kind
    value: Any
    array: bool = False
    inout: bool = False

    @property
    def quoted(self) -> str:
        return quote(self.name)

    @property
    def base(self) -> str:
        return self.kind.base + "[]" * self.array

    @property
    def declared(self) -> str:
        if self.inout:
            # Results are cast as declared here, with modifiers: a known difference.
            return f"inout {self.quoted} {self.base}"
        return f"{self.quoted} {self.kind.declared}{'[]' * self.array}"


@dataclass(frozen=True)
class Drawn:
    """``proxy`` and ``remote`` are SQL with ``{name}`` for the function's name."""

    proxy: str
    remote: str | None
    args: tuple[Any, ...]
    columns: str | None


def quote(name: str) -> str:
    """Return a name as SQL may always write it."""
    return '"' + name.replace('"', '""') + '"'


@st.composite
def functions(draw: st.DrawFn) -> Drawn:
    """Draw a function and a call of it."""
    arguments = draw(_arguments())
    shape = draw(st.sampled_from(["scalar", "out", "table", "void", "dynamic"]))
    setof = shape == "table" or (shape != "void" and draw(st.booleans()))
    how = draw(st.sampled_from(["automatic", "target", "select"]))
    if shape == "dynamic" and how == "select":
        how = "automatic"
    if shape == "out":
        flags = draw(st.lists(st.booleans(), min_size=4, max_size=4))
        arguments = [
            Argument(a.name, a.kind, a.value, a.array, inout)
            for a, inout in zip(arguments, flags, strict=False)
        ]
    outputs = _outputs(draw, shape, arguments)
    split = draw(st.booleans()) and [a for a in arguments if a.array]
    run_on = draw(_run_on(arguments, bool(split), setof))
    body = ["cluster 'parts';", f"run on {run_on};"]
    if split:
        chosen = ", ".join(f"${arguments.index(a) + 1}" for a in split)
        body.append(f"split {draw(st.sampled_from(['all', chosen]))};")
    if how == "target":
        body.append("target {target};")
    if how == "select":
        body.append(f"select {_select(draw, arguments, outputs)};")
    body = draw(st.permutations(body))
    one = outputs[0][1] if len(outputs) == 1 else "record"
    heads: dict[str, Callable[[], str]] = {
        "scalar": lambda: f"returns {'setof ' * setof}{outputs[0][1]}",
        "void": lambda: "returns void",
        "dynamic": lambda: f"returns {'setof ' * setof}record",
        "table": lambda: f"returns table ({_list(outputs)})",
        "out": lambda: f"returns setof {one}" if setof else "",
    }
    listed = [a.declared for a in arguments]
    inouts = {a.name for a in arguments if a.inout}
    if shape == "out":
        listed += [f"out {quote(n)} {t}" for n, t, _ in outputs if n not in inouts]
    head = f"({', '.join(listed)}) {heads[shape]()}"
    strict = shape == "scalar" and draw(st.booleans())
    text = _escape("\n".join(["", *body, ""]), keep="{target}")
    proxy = f"create function {{name}}{_escape(head)} {'strict' * strict} as "
    remote = None
    if how != "select":
        target = "{target}" if how == "target" else "{name}"
        rows = f"from generate_series(1, {draw(st.integers(0, 2)) if setof else 1})"
        values = ", ".join(f"{expr}" for _, _, expr in outputs)
        remote = (
            f"create function {target}{_escape(head)} language sql as "
            f"$fn$ select {_escape(values)} {rows} $fn$"
        )
    return Drawn(
        f"{proxy}$fn${text}$fn$ language plproxy",
        remote,
        tuple(argument.value for argument in arguments),
        _list(outputs) if shape == "dynamic" else None,
    )


@st.composite
def _arguments(draw: st.DrawFn) -> list[Argument]:
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    length = draw(st.integers(0, 4))
    arguments = []
    for name in names:
        if draw(st.integers(0, 2)):
            kind = draw(st.sampled_from(SCALARS))
            arguments.append(Argument(name, kind, draw(_null_or(kind.values))))
        else:
            kind = draw(st.sampled_from(_ELEMENTS))
            # Mostly of one length, so that SPLIT has something to do.
            size = length if draw(st.integers(0, 5)) else draw(st.integers(0, 4))
            values = st.lists(_null_or(kind.values), min_size=size, max_size=size)
            arguments.append(Argument(name, kind, draw(_null_or(values)), array=True))
    return arguments


def _null_or(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 9).flatmap(lambda n: values if n else st.none())


Output = tuple[str, str, str]  # name, type, the remote body's expression
_WHERE: Output = ("Where is it", "text", "current_database()::text")


def _outputs(
    draw: st.DrawFn, shape: str, arguments: Sequence[Argument]
) -> list[Output]:
    echoes = [(a.name, a.base, f"${n}") for n, a in enumerate(arguments, 1)]
    if shape == "void":
        return [("void", "void", "null")]
    if shape == "scalar":
        return [draw(st.sampled_from([_WHERE, *echoes]))]
    inouts = [echo for echo, a in zip(echoes, arguments, strict=True) if a.inout]
    others = draw(st.lists(st.sampled_from(echoes), max_size=2, unique=True))
    renamed = [(f"O {name}", type, expr) for name, type, expr in others]
    return [*inouts, *renamed, _WHERE]


@st.composite
def _run_on(
    draw: st.DrawFn, arguments: Sequence[Argument], split: bool, setof: bool
) -> str:
    hashes = [str(draw(st.integers(0, 4)))]
    if setof:
        hashes += ["all", "generate_series(-1, 1)"]
    for number, argument in enumerate(arguments, 1):
        if argument.array and not split:
            continue
        name = _reference(draw, arguments, number)
        hashes += [form.format(name) for form in argument.kind.hashes] * 2
    return draw(st.sampled_from(hashes))


def _reference(draw: st.DrawFn, arguments: Sequence[Argument], number: int) -> str:
    name = arguments[number - 1].name
    # ASCII letters may be of either case: the first name that fits is meant.
    first = [argument.name.lower() for argument in arguments].index(name.lower())
    if name in PLAIN and first == number - 1 and draw(st.booleans()):
        return draw(st.sampled_from([name, name.upper()])) if name.isascii() else name
    return f"${number}"


def _select(
    draw: st.DrawFn, arguments: Sequence[Argument], outputs: Sequence[Output]
) -> str:
    columns = []
    for name, _, expr in outputs:
        if expr.startswith("$"):
            expr = _reference(draw, arguments, int(expr[1:]))
        if expr == "null":
            expr = "''::text"
        gap = draw(st.sampled_from([" ", "\n  ", " /* ; */ ", " -- ';\n"]))
        columns.append(f"{expr}{gap}as {quote(name)}")
    return ", ".join(columns)


def _list(outputs: Sequence[Output]) -> str:
    return ", ".join(f"{quote(name)} {type}" for name, type, _ in outputs)


def _escape(text: str, keep: str = "") -> str:
    """Double the braces, for `str.format`; ``keep`` stays a field."""
    escaped = text.replace("{", "{{").replace("}", "}}")
    return escaped.replace("{" + keep + "}", keep) if keep else escaped
