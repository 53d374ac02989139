"""The command that writes a typed Python module of a database's functions."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import psycopg

from plproxy_py._catalog import Catalog
from plproxy_py.cli.common import (
    Failure,
    Settings,
    functions,
    pass_settings,
)
from plproxy_py.config import parse_connstr
from plproxy_py.errors import DeclarationError, nearest
from plproxy_py.function import ProxyFunction
from plproxy_py.ops.configuration.files import replace_file
from plproxy_py.sources.commented import commented_question
from plproxy_py.sources.functions import Reflected, Reflection, functions_question
from plproxy_py.sources.question import Question
from plproxy_py.stubs.hinting import is_router_name
from plproxy_py.stubs.module import Module, write_module

# What the text of a DEFAULT depends on, whoever asks.
_SESSION = {
    "search_path": "pg_catalog",
    "quote_all_identifiers": "off",
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
}

Found = tuple[list[ProxyFunction], list[DeclarationError]]


def _check_router_name(
    ctx: click.Context, parameter: click.Parameter, value: str
) -> str:
    if not is_router_name(value):
        raise click.BadParameter(f"{value!r} can't be the name of a router")
    return value


@click.command()
@click.option(
    "--schema",
    metavar="S",
    help="Write the functions of schema S, and read their comments.",
)
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write to FILE, all at once, rather than to stdout.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Write nothing; the exit code is 1 if FILE is not what would be written.",
)
@click.option("--async", "is_async", is_flag=True, help="Write async functions.")
@click.option(
    "--router",
    metavar="NAME",
    default="router",
    show_default=True,
    callback=_check_router_name,
    help="The name of the module's router.",
)
@pass_settings
def stubs(
    settings: Settings,
    schema: str | None,
    output: Path | None,
    check: bool,
    is_async: bool,
    router: str,
) -> None:
    """Write a typed Python module of a database's functions.

    Each function becomes a decorated Python function with the types that the catalog
    has. The module's router has no configuration: your application configures it.
    The same catalog makes the same file, byte for byte.

    The functions are those of LANGUAGE plproxy in the database of --home, or those in
    the function files of -c. With --home and --schema, any database will do: a
    function of schema S in another language is written if its comment says how to
    route, in PL/Proxy's statements behind "plproxy:" at the beginning of a line:

    \b
    COMMENT ON FUNCTION get_user(text) IS
        'plproxy: CLUSTER ''userdb''; RUN ON hashtext(i_user);'

    What can't be written is named on stderr, and in a comment at the end of the file.

    \b
    plproxy --home "dbname=proxydb" stubs --output proxydb.py
    plproxy --home "dbname=part00" stubs --schema app --output app.py --check
    """
    if check and output is None:
        raise click.UsageError("--check goes with --output FILE.")
    found, refused = _read(settings, schema)
    module = write_module(
        found,
        refused,
        command=_command(settings, schema, is_async, router),
        router=router,
        is_async=is_async,
    )
    if output is None:
        _warn(module)
        # In UTF-8, which Python takes it for, whatever the terminal's encoding.
        click.echo(module.text.encode(), nl=False)
    elif check:
        _compare(output, module.text)
    else:
        _warn(module)
        replace_file(output, module.text)


def _command(
    settings: Settings, schema: str | None, is_async: bool, router: str
) -> str:
    """Return the command without what concerns one machine: database and files."""
    words = ["plproxy", "--home" if settings.home is not None else "-c"]
    words += ["CONNSTR" if settings.home is not None else "FILE", "stubs"]
    if schema is not None:
        words += ["--schema", schema]
    if is_async:
        words.append("--async")
    if router != "router":
        words += ["--router", router]
    return shlex.join(words)


def _warn(module: Module) -> None:
    for line in module.unwritten:
        click.echo(f"Warning: not written: {line}", err=True)


def _read(settings: Settings, schema: str | None) -> Found:
    if settings.app is not None:
        raise click.UsageError("The functions of --app are in Python already.")
    if settings.home is not None:
        return _compiled(_reflection(settings.home, schema))
    if schema is not None:
        raise click.UsageError("--schema goes with --home.")
    with settings.router() as router:
        return functions(router), []


def _reflection(connstr: str, schema: str | None) -> Reflection:
    with _connected(connstr) as conn:
        if schema is None:
            return _ask(conn, functions_question())
        _check_schema(conn, schema)
        return _ask(conn, commented_question(schema))


@contextlib.contextmanager
def _connected(connstr: str) -> Iterator[psycopg.Connection[Any]]:
    """Give a connection in one transaction, whose end also ends its settings."""
    target = parse_connstr(connstr)
    try:
        with psycopg.connect(target.conninfo(client_encoding="utf8")) as conn:
            for name, value in _SESSION.items():
                conn.execute("SELECT set_config(%s, %s, true)", (name, value))
            yield conn
    except psycopg.Error as error:
        text = target.scrub(str(error))
        raise Failure(f"the database can't be asked: {text}", error.sqlstate) from None


def _check_schema(conn: psycopg.Connection[Any], schema: str) -> None:
    rows = conn.execute("SELECT nspname FROM pg_catalog.pg_namespace").fetchall()
    names = sorted(name for (name,) in rows)
    if schema not in names:
        hint = nearest(schema, names)
        raise Failure(f"there is no schema {schema!r}{hint}", "3F000")


def _ask(conn: psycopg.Connection[Any], question: Question[Reflection]) -> Reflection:
    step: Question[Reflection] | Reflection = question
    while isinstance(step, Question):
        params = [param and param.decode() for param in step.params]
        step = step.read(psycopg.RawCursor(conn).execute(step.sql, params).fetchall())
    return step


def _compiled(reflection: Reflection) -> Found:
    catalog = Catalog({})
    found: list[ProxyFunction] = []
    refused = list(reflection.errors)
    for each in reflection.functions:
        try:
            found.append(_compile(catalog, each))
        except DeclarationError as error:
            refused.append(error)
    return found, refused


def _compile(catalog: Catalog, found: Reflected) -> ProxyFunction:
    function = catalog.compile(found.signature, found.body, found.strict, found.columns)
    # The catalog has said what is a row type: no other is.
    return dataclasses.replace(function, row_type=None)


def _compare(path: Path, text: str) -> None:
    try:
        written = path.read_bytes()
    except FileNotFoundError:
        raise Failure(f"{path} is not there yet") from None
    except OSError as error:
        raise Failure(f"{path} can't be read: {error.strerror}") from None
    if written != text.encode():
        raise Failure(f"{path} is not what the functions are now: write it anew")
