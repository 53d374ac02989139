"""A proxy function: signature and body, compiled once, immutable.

From here on nothing is decided per call that could be decided per function. Binds
arguments, makes their normal forms, names the cluster, tags partitions and gives the
parameters to send. Does no I/O.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from plproxy_py import values
from plproxy_py._casts import applied, argument
from plproxy_py._defaults import constant_defaults
from plproxy_py._scalars import Codec
from plproxy_py.errors import (
    DeclarationError,
    Error,
    ParseError,
    RoutingError,
    SignatureError,
    UnsupportedError,
    placed,
)
from plproxy_py.expression import HashFunction, compile_expression
from plproxy_py.hints import Hints, hinted_answer
from plproxy_py.language.body import (
    ArgumentValue,
    Body,
    Expression,
    Literal,
    RunAll,
)
from plproxy_py.pgtypes import PgType
from plproxy_py.query import RemoteQuery, automatic_query, explicit_query
from plproxy_py.result import Answer, record_answer, scalar_answer
from plproxy_py.signature import (
    VOID,
    Columns,
    Record,
    Scalar,
    Signature,
    Void,
)
from plproxy_py.tagging import Cluster, Pick, RunHash, RunOn, Tags, tag


@dataclass(frozen=True, slots=True)
class Opaque:
    """A parameter whose type only an adapter knows: dumped when it is sent."""

    value: object


@dataclass(frozen=True, slots=True)
class Plan:
    """What a call would do, from ``.plan(…)``. Making it sends nothing.

    ``params`` are normal forms in ``$n`` order, ``partitions`` in tag order, ``hashes``
    signed ints before masking (empty where RUN ON needs none), ``connstrs`` redacted,
    by position of ``partitions``.
    """

    function: str
    cluster: str
    sql: str
    params: tuple[Any, ...]
    partitions: tuple[int, ...]
    hashes: tuple[int, ...]
    connstrs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProxyFunction:
    """A compiled function.

    ``cluster``: a name, or a closure over normal forms that gives one.
    ``connect``: a connect string, in place of a cluster. ``defaults``: by position,
    Python values. ``strict``: a NULL argument gives NULL, or no rows, without a call.
    ``timeout``: float seconds or None.
    """

    signature: Signature
    query: RemoteQuery
    answer: Answer
    run_on: RunOn
    cluster: str | Callable[[Sequence[Any]], Any] | None
    connect: str | None
    names: tuple[str | None, ...]
    defaults: Mapping[int, Any]
    body: Body
    strict: bool = False
    timeout: float | None = None
    label: str = field(init=False)
    _codecs: tuple[Codec | None, ...] = field(init=False, repr=False)
    _zoned: tuple[int, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        types = [argument.type for argument in self.signature.inputs]
        zoned = [i for i, type in enumerate(types) if type.name == "timestamptz"]
        object.__setattr__(self, "label", self.signature.label)
        object.__setattr__(self, "_codecs", tuple(map(values.codec, types)))
        object.__setattr__(self, "_zoned", tuple(zoned))

    def arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        """Return the arguments' normal forms in order.

        Raise TypeError or ValueError, naming function and argument.
        """
        if kwargs or len(args) != len(self.names):
            args = self._bind(args, dict(kwargs))
        normals = list(args)
        for index, codec in enumerate(self._codecs):
            value = normals[index]
            if value is None:
                continue
            try:
                if codec is None:
                    normals[index] = values.opaque(value)
                else:
                    normals[index] = codec.normal(value)
            except (TypeError, ValueError) as error:
                raise self._misfit(index, error) from None
        return normals

    def _bind(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
        if len(args) > len(self.names):
            raise TypeError(
                f"{self.label} takes {len(self.names)} arguments, {len(args)} were "
                "given"
            )
        bound = list(args)
        for index, name in enumerate(self.names[len(args) :], len(args)):
            if name is not None and name in kwargs:
                bound.append(kwargs.pop(name))
            elif index in self.defaults:
                bound.append(self.defaults[index])
            else:
                raise TypeError(
                    f"{self.label}: argument {self._name(index)} is missing"
                )
        for name in kwargs:
            reason = "was given twice" if name in self.names else "is not declared"
            raise TypeError(f"{self.label}: argument {name} {reason}")
        return bound

    def _name(self, index: int) -> str:
        return self.names[index] or f"${index + 1}"

    def _misfit(self, index: int, error: Exception) -> Exception:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        type = self.signature.inputs[index].type.cast
        return kind(f"{self.label}: argument {self._name(index)} ({type}): {error}")

    def cluster_name(self, normals: Sequence[Any]) -> str:
        """Return the cluster's name. Raise `RoutingError` if it is none."""
        if isinstance(self.cluster, str):
            return self.cluster
        assert self.cluster is not None
        name = self.cluster(normals)
        if not isinstance(name, str):
            raise RoutingError(
                f"CLUSTER must give a cluster's name, it gave {type(name).__name__}"
            )
        return name

    def tag(self, normals: Sequence[Any], cluster: Cluster, pick: Pick) -> Tags:
        """Return the tagged partitions. Raise `RoutingError`."""
        return tag(self.run_on, normals, cluster, pick)

    def params(
        self, normals: list[Any], timezone: str | None
    ) -> list[bytes | Opaque | None]:
        """Return what is sent for ``$1…``.

        Naive datetimes for timestamptz are placed in ``timezone``, in ``normals`` too,
        so that what is hashed is what is sent.
        """
        for index in self._zoned:
            try:
                normals[index] = values.localized(normals[index], timezone)
            except ValueError as error:
                raise self._misfit(index, error) from None
        return [self._param(index, normals[index]) for index in self.query.feeds]

    def _param(self, index: int, normal: Any) -> bytes | Opaque | None:
        if normal is None:
            return None
        codec = self._codecs[index]
        if codec is not None:
            return codec.text(normal).encode()
        if isinstance(normal, str):
            return normal.encode()
        return Opaque(normal)


def compile_function(
    signature: Signature,
    body: Body,
    *,
    registered: Mapping[str, HashFunction],
    hints: Hints | None = None,
    run_on: Callable[..., Any] | None = None,
    cluster: Callable[..., Any] | None = None,
    strict: bool = False,
    timeout: float | None = None,
) -> ProxyFunction:
    """Compile a function.

    ``run_on`` and ``cluster`` are Python callables that stand for the body's own.
    Raise a `DeclarationError` that names the function and, for what stands in the
    body, its line.
    """
    try:
        function = _compile(signature, body, registered, hints, run_on, cluster)
    except DeclarationError as error:
        raise compile_error(error, signature.label) from None
    return dataclasses.replace(function, strict=strict, timeout=timeout)


def compile_error(error: DeclarationError, label: str) -> Error:
    """Write an error as PL/Proxy does, with the line where there is one."""
    if error.function is None and error.line is not None:
        error.args = (f"Compile error at line {error.line}: {error}",)
    return placed(error, label, "PL/Proxy function ")


def _compile(
    signature: Signature,
    body: Body,
    registered: Mapping[str, HashFunction],
    hints: Hints | None,
    run_on: Callable[..., Any] | None,
    cluster: Callable[..., Any] | None,
) -> ProxyFunction:
    types = [argument.type for argument in signature.inputs]
    if body.split is not None:
        raise UnsupportedError("SPLIT can't be executed yet")
    if isinstance(body.run_on, RunAll) and not signature.setof:
        raise ParseError("RUN ON ALL needs a set-returning function")
    columns = _columns(signature, hints)
    answer = _answer(signature, columns, hints)
    if body.select is not None:
        query = explicit_query(body.select, types)
    else:
        query = automatic_query(signature, columns, body.target)
    if hints is None:
        names = tuple(argument.name for argument in signature.inputs)
        defaults = constant_defaults(signature.inputs)
    else:
        names, defaults = hints.names, dict(hints.defaults)
    return ProxyFunction(
        signature,
        query,
        answer,
        _run_on(body, types, registered, signature.setof, run_on),
        None
        if body.connect is not None
        else _cluster(body, types, registered, cluster),
        _connect(body),
        names,
        defaults,
        body,
    )


def _columns(signature: Signature, hints: Hints | None) -> Columns | PgType:
    """Return a record's columns, or the one type of a scalar or void."""
    shape = signature.shape(hints.returns.fields if hints else ())
    if isinstance(shape, Record):
        return shape.columns
    if isinstance(shape, Scalar):
        return shape.type
    if isinstance(shape, Void):
        return VOID
    raise UnsupportedError(
        "a result of type record needs its columns: declare OUT arguments or "
        "RETURNS TABLE"
    )


def _answer(
    signature: Signature, columns: Columns | PgType, hints: Hints | None
) -> Answer:
    if hints is None:
        if isinstance(columns, PgType):
            return scalar_answer(columns, setof=signature.setof)
        return record_answer(columns, setof=signature.setof)
    if len(hints.names) != len(signature.inputs):
        raise SignatureError(
            f"the Python function has {len(hints.names)} parameters, the signature "
            f"{len(signature.inputs)}"
        )
    if hints.returns.setof != signature.setof:
        raise SignatureError(
            "a list as return hint and SETOF in the signature go together"
        )
    return hinted_answer(hints.returns, columns)


def _run_on(
    body: Body,
    types: Sequence[PgType],
    registered: Mapping[str, HashFunction],
    setof: bool,
    function: Callable[..., Any] | None,
) -> RunOn:
    if function is not None:
        return RunHash(_applied(function, types), setof)
    run_on = body.run_on
    if isinstance(run_on, ArgumentValue):
        index = run_on.index
        if types[index].cast not in ("int2", "int4", "int8"):
            raise SignatureError(
                f"RUN ON takes a hash of type int2, int4 or int8, not {types[index]}",
                line=run_on.line,
            )
        return RunHash(lambda normals: normals[index], setof)
    if isinstance(run_on, Expression):
        computed = compile_expression(run_on, types, registered)
        if computed.type not in (None, "int2", "int4", "int8"):
            raise SignatureError(
                f"RUN ON takes a hash of type int2, int4 or int8, not {computed.type}",
                line=run_on.line,
            )
        return RunHash(computed.value, setof)
    return run_on


def _cluster(
    body: Body,
    types: Sequence[PgType],
    registered: Mapping[str, HashFunction],
    function: Callable[..., Any] | None,
) -> str | Callable[[Sequence[Any]], Any]:
    if function is not None:
        return _applied(function, types)
    if isinstance(body.cluster, Literal):
        return body.cluster.value
    assert body.cluster is not None
    computed = compile_expression(body.cluster, types, registered)
    if computed.type not in (None, "text"):
        raise SignatureError(
            f"CLUSTER takes a name of type text, not {computed.type}",
            line=body.cluster.line,
        )
    return computed.value


def _applied(
    function: Callable[..., Any], types: Sequence[PgType]
) -> Callable[[Sequence[Any]], Any]:
    return applied(function, list(map(argument, range(len(types)), types)))


def _connect(body: Body) -> str | None:
    if body.connect is None:
        return None
    if isinstance(body.connect, Literal):
        return body.connect.value
    raise UnsupportedError(
        "CONNECT from an argument or a function can't be executed yet",
        line=body.connect.line,
    )
