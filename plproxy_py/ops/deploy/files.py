"""The files of a deploy: their statements, each with a name that a journal keeps.

A file is known by its name without its directory, a statement in it by its digest and,
among equals, by its turn. What can't be part of a deploy is refused with its line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from plproxy_py.errors import ConfigError, ParseError
from plproxy_py.ops.deploy.splitting import (
    Statement,
    controls_transaction,
    copies_through_client,
    has_parameter,
    sets_session,
    split,
)


@dataclass(frozen=True, slots=True)
class Step:
    """Statement ``number``, from 1, of a file.

    ``is_setting``: it is no change by itself, but what comes after it needs it; it is
    not journaled.
    """

    file: str
    number: int
    statement: Statement
    digest: str
    is_setting: bool

    @property
    def place(self) -> str:
        """Where it stands, for people."""
        return f"{self.file}:{self.statement.line}"


@dataclass(frozen=True, slots=True)
class SqlFile:
    """One file, read."""

    name: str
    steps: tuple[Step, ...]


def read_files(paths: Iterable[Path]) -> list[SqlFile]:
    """Read the files. Raise `ConfigError` or `ParseError`, naming file and line."""
    files: dict[str, SqlFile] = {}
    for path in paths:
        if path.name in files:
            raise ConfigError(
                f"two files are called {path.name}: the journal knows a file by its "
                "name, without its directory"
            )
        files[path.name] = read_file(path)
    return list(files.values())


def read_file(path: Path) -> SqlFile:
    """Read one file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: can't be read: {reason}") from None
    steps = tuple(read_steps(path.name, text))
    if not steps:
        raise ConfigError(f"{path}: there is no statement in it")
    return SqlFile(path.name, steps)


def read_steps(name: str, text: str) -> Iterator[Step]:
    """Yield the steps of a file's text."""
    try:
        for number, statement in enumerate(split(text), 1):
            _refuse(statement)
            yield Step(
                name, number, statement, statement.digest, sets_session(statement)
            )
    except ParseError as error:
        error.args = (f"{name}:{error.line}: {error}",)
        raise


def _refuse(statement: Statement) -> None:
    word = statement.tokens[0].text.upper()
    if controls_transaction(statement):
        reason = f"{word}: the deploy itself begins and ends transactions"
    elif copies_through_client(statement):
        reason = "COPY through the client: a deploy sends no data"
    elif has_parameter(statement):
        reason = "there is no parameter $1"
    else:
        return
    raise ParseError(reason, line=statement.line, token=word)
