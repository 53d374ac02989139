"""Python functions as proxy functions: ``@router.proxy(…)``.

PL/Proxy's statements are keywords here that take the text which would follow the
statement. A decorated function keeps its name, signature and docstring; its body never
runs.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from plproxy_py._catalog import Catalog, Entry
from plproxy_py._record import record
from plproxy_py.clauses import Clauses, Combine
from plproxy_py.compiler import compile_error, compile_function
from plproxy_py.errors import (
    DeclarationError,
    RoutingError,
    SignatureError,
    nearest,
    placed,
)
from plproxy_py.function import ProxyFunction
from plproxy_py.hints import Hints, hinted_arguments, hinted_signature, read_hints
from plproxy_py.language.body import Body, RunAny, RunNumber
from plproxy_py.language.parser import Keyword, parse_statements
from plproxy_py.options import SETTLE, Options, names_of
from plproxy_py.signature import Signature, parse_declaration

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)

RunOnText = str | int | Callable[..., Any]
ClusterText = str | Callable[..., str]
ConnectText = str | Callable[..., str]


@record
class Declaration:
    """The keywords of ``proxy``, as they were given."""

    signature: str | None = None
    cluster: ClusterText | None = None
    connect: ConnectText | None = None
    run_on: RunOnText | None = None
    split: str | None = None
    target: str | None = None
    select: str | None = None
    name: str | None = None
    schema: str = "public"
    timeout: float | None = None
    settle: float | None = SETTLE
    need: int = 1
    first: bool = False
    idempotent: bool = False
    retry: int | None = None
    sensitive: Sequence[str] = ()
    order_by: Sequence[str] = ()
    limit: int | str | None = None
    offset: int | str = 0
    combine: Combine | None = None
    group_by: Sequence[str] = ()

    def __post_init__(self) -> None:
        for keyword in ("signature", "cluster", "connect", "split", "target", "select"):
            value = getattr(self, keyword)
            if not (value is None or isinstance(value, str) or callable(value)):
                raise TypeError(f"{keyword} is a text, not {type(value).__name__}")
        _ = self.options, self.clauses

    @property
    def options(self) -> Options:
        """The options. Raise TypeError or ValueError."""
        return Options(
            timeout=self.timeout,
            settle=self.settle,
            need=self.need,
            first=self.first,
            idempotent=self.idempotent,
            retry=self.retry,
            sensitive=names_of(self.sensitive),
        )

    @property
    def clauses(self) -> Clauses:
        """The clauses. Raise TypeError."""
        return Clauses(
            self.order_by, self.limit, self.offset, self.combine, self.group_by
        )


def declaration(signature: str | None, keywords: Mapping[str, Any]) -> Declaration:
    """Return what was given to ``proxy``.

    Raise TypeError for a keyword that is none, and for a value of the wrong type.
    """
    known = [field.name for field in dataclasses.fields(Declaration)]
    for name in keywords:
        if name not in known:
            hint = nearest(name, known)
            raise TypeError(f"proxy() has no keyword {name!r}{hint}")
    return Declaration(signature, **keywords)


def declare(
    catalog: Catalog,
    python: Callable[..., Any],
    given: Declaration | None,
    namespace: Mapping[str, Any],
    *,
    is_async: bool,
) -> Entry:
    """Compile a decorated function and enter it in the catalog.

    ``given`` None: a bare ``@router.proxy``, the typed face of a function that is
    declared already. ``namespace``: the caller's locals. Raise TypeError for the wrong
    kind of function, RoutingError for a ``run_on`` that is none.
    """
    if inspect.isgeneratorfunction(python) or inspect.isasyncgenfunction(python):
        raise TypeError(
            f"{python.__name__}: the body never runs: write ... in place of yield"
        )
    if inspect.iscoroutinefunction(python) and not is_async:
        raise TypeError(f"{python.__name__}: a Router decorates def functions")
    if given is None:
        found = catalog.find(python.__name__).current()
        is_typed, combine = False, found.clauses.combine
    else:
        is_typed, combine = given.signature is None, given.combine
    hints = read_hints(python, namespace, typed=is_typed, returns_any=callable(combine))
    _check_kind(python, hints, is_async)
    if given is not None:
        return catalog.add(_declared(catalog, python, given, hints), wraps=python)
    return catalog.add(catalog.face(found, hints), hints, wraps=python)


def _check_kind(python: Callable[..., Any], hints: Hints, is_async: bool) -> None:
    """Raise TypeError for a function, or a stream, of the other kind of router."""
    router = "an AsyncRouter" if is_async else "a Router"
    stream = hints.returns.stream if hints.returns else None
    wanted = AsyncIterator if is_async else Iterator
    if stream is not None and stream is not wanted:
        raise TypeError(
            f"{python.__name__}: {router} streams {wanted.__name__}[…], not "
            f"{stream.__name__}[…]"
        )
    # Whether a stream's def is async says when it begins, not that it waits.
    if is_async and stream is None and not inspect.iscoroutinefunction(python):
        raise TypeError(f"{python.__name__}: {router} decorates async def functions")


def _declared(
    catalog: Catalog, python: Callable[..., Any], given: Declaration, hints: Hints
) -> ProxyFunction:
    signature, read_only = _signature(hints, given, given.name or python.__name__)
    options = given.options
    if read_only:
        options = dataclasses.replace(options, idempotent=True)
    try:
        body = _body(signature, given)
        _check_first(options, body, given)
    except DeclarationError as error:
        raise compile_error(error, signature.label) from None
    except RoutingError as error:
        raise placed(error, signature.label) from None
    function = compile_function(
        signature,
        body,
        registered=catalog.hashes,
        hints=hints,
        run_on=given.run_on if callable(given.run_on) else None,
        cluster=given.cluster if callable(given.cluster) else None,
        connect=given.connect if callable(given.connect) else None,
        options=options,
        clauses=given.clauses,
    )
    function.check_options(options)
    return function


def _check_first(options: Options, body: Body, given: Declaration) -> None:
    if not options.first:
        return
    one = isinstance(body.run_on, (RunAny, RunNumber)) and not callable(given.run_on)
    if one:
        raise SignatureError(
            "first= is for run_on='ALL', or a run_on= that gives several hashes"
        )
    if not options.idempotent:
        raise SignatureError(
            "first= breaks calls off, and some partitions may have done theirs: write "
            "idempotent=True, or STABLE behind the signature as text if it only reads"
        )


def _signature(hints: Hints, given: Declaration, name: str) -> tuple[Signature, bool]:
    """Return the signature, and whether it says that the function only reads."""
    returns, read_only = hints.returns, False
    if given.signature is None:
        arguments, schema = hinted_arguments(hints), given.schema
    else:
        signature, read_only = parse_declaration(given.signature, schema=given.schema)
        if signature.returns is not None:
            return signature, read_only
        if signature.outputs:
            setof = signature.setof or (returns is not None and returns.setof)
            return dataclasses.replace(signature, setof=setof), read_only
        # The text lists arguments only: the hint says what comes back.
        arguments = signature.arguments
        name, schema = signature.name, signature.schema
    if returns is None:
        raise SignatureError(
            f"{name}: combine= is a callable, which may return anything: give the "
            "signature as text, its RETURNS says what partitions send"
        )
    return hinted_signature(name, schema, returns, arguments), read_only


_CALL = re.compile(r"[A-Za-z_][\w.]*\s*\(")


def _body(signature: Signature, given: Declaration) -> Body:
    """Return the body that the keywords spell, under the rules of a written one."""
    names = [argument.name for argument in signature.inputs]
    arrays = [argument.type.is_array for argument in signature.inputs]
    if given.cluster is None and given.connect is None:
        raise SignatureError("say where it runs: cluster= or connect=")
    texts: dict[Keyword, str | None] = {
        "CONNECT": _connect_text(given.connect),
        "CLUSTER": _cluster_text(given.cluster),
        "RUN ON": _run_on_text(given),
        "SPLIT": given.split,
        "TARGET": given.target,
        "SELECT": given.select,
    }
    given_texts = {key: text for key, text in texts.items() if text is not None}
    return parse_statements(given_texts, names, arrays)


def _cluster_text(cluster: ClusterText | None) -> str | None:
    if callable(cluster):
        return "'computed'"
    if cluster is None or cluster.startswith("'") or _CALL.match(cluster):
        return cluster
    return _literal(cluster)


def _connect_text(connect: ConnectText | None) -> str | None:
    if callable(connect):
        return "'computed'"
    is_connstr = connect is not None and ("=" in connect or "://" in connect)
    if connect is None or connect.startswith("'") or not is_connstr:
        return connect
    return connect if _CALL.match(connect) else _literal(connect)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _run_on_text(given: Declaration) -> str | None:
    run_on = given.run_on
    if run_on is None:
        if given.connect is None:
            raise SignatureError(
                "say run_on=: a forgotten one would run on a random partition "
                "(run_on='ANY' does)"
            )
        return None
    if callable(run_on):
        return "ANY"  # replaced once the rules of the language have been held to
    if isinstance(run_on, bool) or not isinstance(run_on, (int, str)):
        raise RoutingError(
            f"run_on is a text, a partition's number or a callable, not "
            f"{type(run_on).__name__}"
        )
    return str(run_on)
