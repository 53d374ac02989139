"""The command of the demo."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

from plproxy_py.cli.common import Failure


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and Ctrl-C end the command like any error: in good order."""

    def terminate(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, terminate),
        # A shell without job control makes what runs in its background ignore it.
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@click.command("demo")
@click.option(
    "--keep",
    is_flag=True,
    help="Leave the partitions up until Ctrl-C.",
)
def demo(keep: bool) -> None:
    """Start a cluster, use it, and show what happens.

    The four partitions are databases of a PostgreSQL server that comes from a Python
    package. It runs as long as the demo does, and nothing is left behind, not after
    Ctrl-C either.

    With --keep, the demo waits for Ctrl-C at its end, and prints the path of a config
    file to try the other commands with.
    """
    # Only here, since it needs what Windows does not have.
    from plproxy_py._embedded import EmbeddedError
    from plproxy_py.demo import run_demo

    try:
        with _ended_by_signals():
            run_demo(keep=keep)
    except EmbeddedError as error:
        raise Failure(str(error)) from None
    except KeyboardInterrupt:
        click.echo("\nThe server is stopped, nothing is left behind.", err=True)
        raise
