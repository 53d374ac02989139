"""What all commands share: the router they ask, `--json`, and errors as one line.

Exit codes: 1 for an error, which is one line on stderr with its SQLSTATE, 2 for wrong
usage, 130 after Ctrl-C.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import click

from plproxy_py import AsyncRouter, Notice, Router
from plproxy_py._router_base import RouterBase
from plproxy_py._steps import run, run_async
from plproxy_py.cli.render import printable
from plproxy_py.config import ClusterConfig, parse_connstr
from plproxy_py.errors import ConfigError, Error, nearest
from plproxy_py.expression import HashFunction
from plproxy_py.function import ProxyFunction
from plproxy_py.result import Row

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Settings:
    """What was said before the command."""

    config: str | None
    home: str | None
    app: str | None
    as_json: bool

    @property
    def source(self) -> str:
        """What the clusters are defined by."""
        if self.app is None and self.home is not None:
            return parse_connstr(self.home).redacted
        return self.app or self.config or ""

    @contextmanager
    def router(self) -> Iterator[RouterBase]:
        """Give the router to ask; it is closed at the end."""
        if self.app is not None:
            router: RouterBase = _imported(self.app)
        elif self.home is not None:
            router = Router.from_database(self.home, on_notice=_print_notice)
        elif self.config is not None:
            router = Router.from_config(self.config, on_notice=_print_notice)
        else:
            raise click.UsageError(
                "Say which clusters: -c FILE, the variable PLPROXY_CONFIG, "
                "--home CONNSTR, or --app MODULE:ROUTER."
            )
        try:
            if self.home is not None and self.app is None:
                _learn(router)
            yield router
        finally:
            run(router._pools.close(timeout=1.0))


def _learn(router: RouterBase) -> None:
    """Read a PL/Proxy database's functions, and the clusters that they name."""
    run(router._reflect())
    named = {function.cluster for function in functions(router)}
    for name in sorted(name for name in named if isinstance(name, str)):
        try:
            find_cluster(router, name)
        except Error as error:
            click.echo(f"cluster {name}: {error_line(error)}", err=True)


def _print_notice(notice: Notice) -> None:
    click.echo(one_line(str(notice)), err=True)


pass_settings = click.make_pass_decorator(Settings)


def _set_json(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        ctx.obj.as_json = True


def json_option(command: F) -> F:
    """Let a command take ``--json`` too, not only the group before it."""
    return click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=_set_json,
        help="Print one JSON document: a list with an object for each row.",
    )(command)


class Seconds(click.FloatRange):
    """Seconds as a server can count them: no nan, no infinity, 24 days at most."""

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        seconds: float = super().convert(value, param, ctx)
        if not seconds <= MOST_SECONDS:
            self.fail(f"{value} is no number of seconds to wait.", param, ctx)
        return seconds


# PostgreSQL counts milliseconds in 32 bits.
MOST_SECONDS = 2_147_483


def timeout_option(seconds: float, help: str) -> Callable[[F], F]:
    """Let a command take ``--timeout``, with this default."""
    return click.option(
        "--timeout",
        type=Seconds(min=0.01),
        metavar="S",
        default=seconds,
        show_default=True,
        help=help,
    )


def _imported(app: str) -> RouterBase:
    module_name, colon, name = app.partition(":")
    if not (module_name and colon and name):
        raise click.BadParameter("MODULE:ROUTER is needed", param_hint="--app")
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except Error:
        raise
    except Exception as error:
        raise ConfigError(
            f"--app: {module_name} can't be imported: {_fault(error)}"
        ) from None
    try:
        router = getattr(module, name)
    except AttributeError:
        hint = nearest(name, vars(module))
        raise ConfigError(f"--app: {module_name} has no {name!r}{hint}") from None
    if not isinstance(router, (Router, AsyncRouter)):
        raise ConfigError(f"--app: {app} is no Router but of {type(router).__name__}")
    return router


class Failure(click.ClickException):
    """An error as one line on stderr, whatever lines its text has."""

    def __init__(self, text: str, sqlstate: str | None = None) -> None:
        super().__init__(one_line(text))
        self.sqlstate = sqlstate

    def show(self, file: IO[Any] | None = None) -> None:
        state = f" {self.sqlstate}" if self.sqlstate else ""
        click.echo(f"Error{state}: {self.message}", file=file or sys.stderr)


def one_line(text: str) -> str:
    """Return a text of several lines as one."""
    lines = [line.strip() for line in text.splitlines()]
    return printable("; ".join(line for line in lines if line))


def error_line(error: Error | None, label: str = "") -> str | None:
    """Return an error, if there is one, as one line with its SQLSTATE.

    ``label``: what the errors of a command begin with, which is left out.
    """
    if error is None:
        return None
    state = f"{error.sqlstate}: " if error.sqlstate else ""
    return one_line(state + str(error).removeprefix(f"{label}: "))


def _fault(error: Exception) -> str:
    """Say what an unforeseen error is and where it arose.

    Its text might quote a connect string; those of failed imports can't.
    """
    if isinstance(error, (ImportError, SyntaxError)):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}"
    return type(error).__name__ + place


_FOR_CLICK = (
    click.ClickException,
    click.exceptions.Exit,
    click.Abort,
    BrokenPipeError,
)


class Commands(click.Group):
    """A group of commands whose errors are one line, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.exceptions.Exit(130) from None
        except Error as error:
            raise Failure(str(error), error.sqlstate) from None
        except _FOR_CLICK:
            raise
        except Exception as error:
            raise Failure(f"unexpected {_fault(error)}") from None


def find_cluster(router: RouterBase, name: str) -> ClusterConfig:
    """Return a cluster. Raise `NoSuchCluster` with the nearest name."""
    return run(router._preparer.cluster(name)).config


def find_function(router: RouterBase, name: str) -> ProxyFunction:
    """Return a function. Raise `SignatureError` with the nearest name."""
    return router._catalog.find(name).current()


def functions(router: RouterBase) -> list[ProxyFunction]:
    """Return the declared functions, in the order of their declaration."""
    return [entry.function for entry in router._catalog.entries.values()]


def registered_hashes(router: RouterBase) -> dict[str, HashFunction]:
    """Return the router's own hash functions by name."""
    return router._catalog.hashes


async def execute(
    router: RouterBase, cluster: str, sql: str, partition: int, timeout: float
) -> list[Row]:
    """Run one statement on one partition, on the running event loop.

    Any router will do: an application's own may be a `Router`.
    """
    steps = router._plain.execute(cluster, sql, (), partition, timeout)
    return (await run_async(steps))[partition]
