"""What commands share that may change data: which partitions, and a question first."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from plproxy_py.cli import render
from plproxy_py.config import ClusterConfig
from plproxy_py.errors import RoutingError

F = TypeVar("F", bound=Callable[..., Any])


def yes_option(command: F) -> F:
    """Let a command take ``--yes``."""
    return click.option(
        "-y", "--yes", is_flag=True, help="Don't ask before anything is changed."
    )(command)


def is_answerable() -> bool:
    """Tell whether there is somebody to ask."""
    return sys.stdin.isatty()


def check_answerable(yes: bool) -> None:
    """Raise a usage error where nobody could be asked."""
    if not yes and not is_answerable():
        raise click.UsageError(
            "This changes data, and there is no terminal to ask at: say --yes."
        )


def ask(question: str, yes: bool) -> None:
    """Ask whether to go on; the command ends if not."""
    if not yes:
        click.confirm(question, abort=True, err=True)


@contextmanager
def progress(task: str, total: int) -> Iterator[Callable[[], object]]:
    """Show at a terminal what is going on; elsewhere the rows tell it all."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    with render.progress(task, total) as step:
        yield step


def check_partitions(config: ClusterConfig, numbers: Iterable[int]) -> None:
    """Raise `RoutingError`, naming the nearest, for a partition that there is not."""
    last = config.part_count - 1
    for number in numbers:
        if number > last:
            raise RoutingError(
                f"cluster {config.name!r} has no partition {number}, it has 0 to "
                f"{last}; did you mean {last}?",
                cluster=config.name,
            )
