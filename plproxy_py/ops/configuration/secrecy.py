"""What becomes of passwords on their way into another text: a placeholder, or nothing.

The one rule for all of them: a password is written only where somebody has asked for
it, and never on a terminal. `Note`s tell what was left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from plproxy_py.config import Partition, Target
from plproxy_py.sources.toml import substitute

_VARIABLE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")


class Written(str):
    """A value that remembers how its file writes it: ``${NAME}``, mostly."""

    __slots__ = ("written",)
    written: str

    @classmethod
    def as_(cls, value: str, written: str) -> Written:
        """Return a value as it is written."""
        made = cls(value)
        made.written = written
        return made


class Kept(Written):
    """A secret that stands in the file to be written already, and stays as it is."""


def remembering(value: str) -> str:
    """Return the value as the router reads it; one with a variable stays known."""
    return Written.as_(substitute(value), value) if "${" in value else substitute(value)


def kept(target: Target) -> Target:
    """Return a file's target, whose secrets may be written into that file again."""
    secrets = tuple(
        (keyword, Kept.as_(value, written_of(value)))
        for keyword, value in target.secrets
    )
    return Target(target.parameters, secrets)


def written_of(value: str) -> str:
    """Return a value as a file writes it."""
    return value.written if isinstance(value, Written) else value.replace("$", "$$")


class Placeholders:
    """Gives each secret a variable: the one it came from, else one named here."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def take(self, cluster: str, keyword: str, value: str, number: int | None) -> str:
        """Return ``${NAME}`` for a secret of a cluster, or of one of its partitions."""
        if isinstance(value, Written):
            if _VARIABLE.fullmatch(value.written):
                self._values[value.written] = value
                return value.written
            if isinstance(value, Kept):
                return value.written
        words = [cluster, *([] if number is None else [str(number)]), keyword]
        name = re.sub(r"[^A-Z0-9]+", "_", "_".join(words).upper()).lstrip("_")
        name = name if name[0].isalpha() else f"_{name}"
        written, attempt = f"${{{name}}}", 1
        # Two names can become one: userdb and user-db don't, user-db and user_db do.
        while self._values.setdefault(written, value) != value:
            attempt += 1
            written = f"${{{name}_{attempt}}}"
        return written

    @property
    def names(self) -> list[str]:
        """The variables that have to be set, sorted."""
        return sorted(written[2:-1] for written in self._values)


def has_secrets(partitions: Iterable[Partition]) -> bool:
    """Tell whether a partition has a password or the like, the empty one aside."""
    return any(
        value for partition in partitions for _, value in partition.target.secrets
    )
