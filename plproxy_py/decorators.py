"""Python functions as proxy functions: ``@router.proxy(…)``.

PL/Proxy's statements are keywords here that take the text which would follow the
statement. A decorated function keeps its name, signature and docstring; its body never
runs.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from plproxy_py._catalog import Catalog, Entry
from plproxy_py.compiler import compile_error, compile_function
from plproxy_py.config import nearest
from plproxy_py.errors import (
    DeclarationError,
    RoutingError,
    SignatureError,
    UnsupportedError,
    placed,
)
from plproxy_py.function import ProxyFunction
from plproxy_py.hints import Hints, hinted_arguments, hinted_signature, read_hints
from plproxy_py.language.body import Body
from plproxy_py.language.parser import Keyword, parse_statements
from plproxy_py.options import Options
from plproxy_py.signature import Signature, parse_signature

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)

RunOnText = str | int | Callable[..., Any]
ClusterText = str | Callable[..., str]
ConnectText = str | Callable[..., str]


@dataclass(frozen=True, slots=True)
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

    def __post_init__(self) -> None:
        for keyword in ("signature", "cluster", "connect", "split", "target", "select"):
            value = getattr(self, keyword)
            if not (value is None or isinstance(value, str) or callable(value)):
                raise TypeError(f"{keyword} is a text, not {type(value).__name__}")
        Options(timeout=self.timeout)


LATER = (
    "settle need first order_by limit offset combine group_by retry idempotent"
    " sensitive"
).split()


def declaration(signature: str | None, keywords: Mapping[str, Any]) -> Declaration:
    """Return what was given to ``proxy``.

    Raise `UnsupportedError` for a keyword that can't be executed yet, TypeError for
    one that is none, and for a value of the wrong type.
    """
    known = [field.name for field in dataclasses.fields(Declaration)]
    for name in keywords:
        if name in LATER:
            raise UnsupportedError(f"{name}= can't be executed yet")
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
    if inspect.iscoroutinefunction(python) != is_async:
        wanted, router = (
            ("async def", "an AsyncRouter") if is_async else ("def", "a Router")
        )
        raise TypeError(f"{python.__name__}: {router} decorates {wanted} functions")
    if given is not None:
        declared = _declared(catalog, python, given, namespace)
        return catalog.add(declared, wraps=python)
    found = catalog.find(python.__name__).current()
    hints = read_hints(python, namespace, typed=False)
    return catalog.add(catalog.face(found, hints), hints, wraps=python)


def _declared(
    catalog: Catalog,
    python: Callable[..., Any],
    given: Declaration,
    namespace: Mapping[str, Any],
) -> ProxyFunction:
    hints = read_hints(python, namespace, typed=given.signature is None)
    signature = _signature(hints, given, given.name or python.__name__)
    try:
        body = _body(signature, given)
    except DeclarationError as error:
        raise compile_error(error, signature.label) from None
    except RoutingError as error:
        raise placed(error, signature.label) from None
    return compile_function(
        signature,
        body,
        registered=catalog.hashes,
        hints=hints,
        run_on=given.run_on if callable(given.run_on) else None,
        cluster=given.cluster if callable(given.cluster) else None,
        connect=given.connect if callable(given.connect) else None,
        options=Options(timeout=given.timeout),
    )


def _signature(hints: Hints, given: Declaration, name: str) -> Signature:
    if given.signature is None:
        return hinted_signature(name, given.schema, hints, hinted_arguments(hints))
    signature = parse_signature(given.signature, schema=given.schema)
    if signature.returns is not None:
        return signature
    if signature.outputs:
        setof = signature.setof or hints.returns.setof
        return dataclasses.replace(signature, setof=setof)
    # The text lists arguments only: the hint says what comes back.
    return hinted_signature(
        signature.name, signature.schema, hints, signature.arguments
    )


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
