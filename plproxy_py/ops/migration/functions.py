"""A PL/Proxy function's notes: what is different when a router calls it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from plproxy_py.config import parse_connstr
from plproxy_py.errors import ConfigError, DeclarationError
from plproxy_py.function import HomeDefault, ProxyFunction
from plproxy_py.language.body import Connect, Expression, Literal
from plproxy_py.ops.migration.callers import Call, calls_in
from plproxy_py.ops.migration.catalog import Found, Named
from plproxy_py.ops.migration.differences import Difference, Note
from plproxy_py.query import RemoteQuery
from plproxy_py.signature import Dynamic
from plproxy_py.tagging import RunHash, RunHome

Fault = Callable[[RemoteQuery], str | None]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a function's notes depend on besides itself.

    ``is_utf8``: how the database encodes. ``named``: functions that expressions may
    mean. ``callers``: who calls it in SQL,
    by oid. ``proxies``: the functions of the language, by name. ``hashes``: names with
    a Python version. ``fault``: why the database can't prepare a query, if so.
    """

    is_utf8: bool
    named: Sequence[Named]
    callers: Mapping[int, Sequence[str]]
    proxies: Mapping[str, Found]
    hashes: frozenset[str]
    lost: Mapping[str, str]
    fault: Fault


def refused(error: DeclarationError) -> Note:
    """Return the note of a function that can't be declared here."""
    difference = Difference.REFUSED_AT_ONCE
    if "unsupported" in str(error) or "pseudo" in str(error):
        difference = Difference.RESULT_TYPES
    return Note(difference, str(error), is_obstacle=True)


def expressions(function: ProxyFunction) -> dict[str, Expression]:
    """Return the expressions that are evaluated on this side, by keyword."""
    body = function.body
    given = {"CLUSTER": body.cluster, "RUN ON": body.run_on, "CONNECT": body.connect}
    return {
        keyword: value
        for keyword, value in given.items()
        if isinstance(value, Expression)
    }


def calls_of(expression: Expression) -> set[Call]:
    """Return the functions that an expression calls."""
    return calls_in(str(expression))


def notes_of(
    found: Found, function: ProxyFunction, around: Surroundings
) -> Iterator[Note]:
    """Yield what is to be known of a function that can be declared."""
    if isinstance(function.cluster, str) and function.cluster in around.lost:
        yield Note(
            Difference.DEFINITIONS,
            f"its cluster can't be loaded: {around.lost[function.cluster]}",
            is_obstacle=True,
        )
    yield from _expressions(function, around)
    yield from _connect(function)
    yield from _rights(found)
    yield from _types(found, function)
    if callers := around.callers.get(found.oid):
        yield Note(
            Difference.IN_THE_APPLICATION,
            f"it is called in SQL, which can't move: {', '.join(callers)}",
        )


def _expressions(function: ProxyFunction, around: Surroundings) -> Iterator[Note]:
    asked = _asked(function)
    for keyword, expression in expressions(function).items():
        calls = calls_of(expression)
        yield from _twins(keyword, calls, around)
        query = asked.get(keyword)
        if query is None:
            continue
        shown = (
            "an expression" if keyword == "CONNECT" else _shown(expression, function)
        )
        if fault := around.fault(query):
            yield Note(
                Difference.EXPRESSIONS,
                f"{keyword} {shown} fails, in PL/Proxy as well: {fault}",
                is_obstacle=True,
            )
            continue
        own = list(_meant(calls, around.named))
        known = "; ".join(
            f"{each.title} is {each.volatility}, LANGUAGE {each.language}"
            for each in own
        )
        yield Note(
            Difference.EXPRESSIONS,
            f"{keyword} {shown} needs the home database, or a Python version in "
            f"hashes={known and f' ({known})'}",
        )
        if keyword == "CLUSTER":
            yield Note(
                Difference.EXPRESSIONS,
                "the clusters that it names at run time were not looked at",
            )
        yield from _own(own, around)
    run_on = function.body.run_on
    if (
        isinstance(run_on, Expression)
        and isinstance(function.run_on, RunHash)
        and function.run_on.at_home is not None
    ):
        shown = _shown(run_on, function)
        if function.run_on.doubtful:
            yield Note(
                Difference.DOUBTFUL_HASHES,
                f"RUN ON {shown} is asked of the home database, which may have a "
                "function of its own by that name; qualify it to have it computed here",
            )
        elif not around.is_utf8:
            yield Note(
                Difference.DOUBTFUL_HASHES,
                f"RUN ON {shown} is asked of the home database, whose encoding is not "
                "UTF8",
            )


def _twins(keyword: str, calls: set[Call], around: Surroundings) -> Iterator[Note]:
    for call in sorted(calls, key=str):
        if call.schema is None and call.name in around.hashes:
            yield Note(
                Difference.EXPRESSIONS,
                f"{keyword} calls {call.name}, of which there is a Python version: "
                "compare both with --keys",
            )


def _own(own: Iterable[Named], around: Surroundings) -> Iterator[Note]:
    for each in own:
        if each.is_domain:
            yield Note(
                Difference.DOMAIN_HASHES,
                f"{each.title} returns a domain, which PL/Proxy refuses",
            )
        proxy = around.proxies.get(each.name)
        if proxy is not None and proxy.schema == each.schema:
            yield Note(
                Difference.IN_THE_APPLICATION,
                f"{each.title} is a proxy function, which the home database calls by "
                "PL/Proxy",
            )
        elif each.volatility != "IMMUTABLE":
            yield Note(
                Difference.NO_CALLERS_TRANSACTION,
                f"{each.title} may read tables: it sees committed rows only",
            )


def _asked(function: ProxyFunction) -> dict[str, RemoteQuery]:
    """Return what has to be asked of the home database, by keyword."""
    asked = {}
    if isinstance(function.run_on, RunHome):
        asked["RUN ON"] = function.run_on.query
    for keyword, value in (
        ("CLUSTER", function.cluster),
        ("CONNECT", function.connect),
    ):
        if isinstance(value, RemoteQuery):
            asked[keyword] = value
    return asked


def _meant(calls: set[Call], named: Sequence[Named]) -> Iterator[Named]:
    """Yield the functions of users that calls may mean."""
    for call in sorted(calls, key=str):
        for each in named:
            if each.name == call.name and call.schema in (None, each.schema):
                yield each


def _shown(expression: Expression, function: ProxyFunction) -> str:
    """Return an expression with the arguments' names."""
    names = function.names
    return expression.sql(lambda index: names[index] or f"${index + 1}").strip()


def _connect(function: ProxyFunction) -> Iterator[Note]:
    connect: Connect | None = function.body.connect
    if connect is None:
        return
    if not isinstance(connect, Literal):
        yield Note(
            Difference.CONNECT_FROM_DATA,
            "CONNECT takes a connect string from data: allow_connect= has to name the "
            "hosts",
        )
        return
    try:
        target = parse_connstr(connect.value)
    except ConfigError as error:
        yield Note(Difference.CONNECT_STRINGS, f"CONNECT has {error}", is_obstacle=True)
        return
    if target.secrets:
        yield Note(
            Difference.PASSWORDS,
            "CONNECT has a password, which is no text to paste: reflect() takes the "
            "function as it is; or make it a cluster, with password=",
        )
    if "user" not in dict(target.parameters):
        yield Note(
            Difference.WHOSE_NAME,
            "CONNECT names no user: PL/Proxy takes the caller's name, a router with a "
            "home database its own, any other libpq's default",
        )


def _rights(found: Found) -> Iterator[Note]:
    if found.is_definer:
        yield Note(
            Difference.SECURITY_DEFINER,
            f"PL/Proxy connects as its owner {found.owner}, a router as itself",
        )
    if found.settings:
        yield Note(
            Difference.SET_CLAUSES,
            f"SET has no effect here: {', '.join(found.settings)}",
        )
    if "" not in found.execute:
        roles = ", ".join(found.execute) or "nobody else"
        yield Note(
            Difference.WHO_MAY_CALL,
            f"EXECUTE is granted to {roles} here (the owner is {found.owner}), which "
            "no router asks for: grant it on the partitions, to the role that the "
            "router connects as",
        )


def _types(found: Found, function: ProxyFunction) -> Iterator[Note]:
    signature = function.signature
    for index, default in function.defaults.items():
        if isinstance(default, HomeDefault):
            name = signature.inputs[index].name or f"${index + 1}"
            yield Note(
                Difference.DEFAULT,
                f"DEFAULT of {name} is computed by the home database: "
                f"{signature.inputs[index].default}",
            )
    if isinstance(signature.shape(), Dynamic):
        yield Note(
            Difference.DYNAMIC_RECORDS,
            "it returns record: list the columns by returning(…)",
        )
    if function.columns:
        yield Note(
            Difference.ROW_TYPES,
            f"{signature.returns} has the columns of today in what is to be pasted; "
            "reflect() follows the table",
        )
    for argument in signature.inputs:
        if argument.type.name == "timestamptz":
            yield Note(
                Difference.NAIVE_DATETIMES,
                f"{argument.name or 'an argument'} is timestamptz: a datetime without "
                "a time zone is refused, unless the cluster has timezone",
            )
            break
    if found.domains and function.body.select is not None:
        yield Note(
            Difference.DOMAIN_RESULTS,
            f"conditions of {', '.join(found.domains)} are not checked again on this "
            "side: cast in the SELECT",
        )
