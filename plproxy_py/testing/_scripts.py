"""What is scripted: which answer, error, delay or loss comes next, and where."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

_SQLSTATE = re.compile(r"[0-9A-Z]{5}")
# What ends the session as well: the server's administrator, a crash, time limits.
_FATAL = ("57P01", "57P02", "57P03", "57P05", "25P03")


class Place(NamedTuple):
    """A partition."""

    cluster: str
    partition: int


HOME = Place("", 0)
"""The home database."""


class Call(NamedTuple):
    """What a partition was asked.

    ``function``: its name, with the schema where that is not public. ``args``: the
    arguments that were sent, in declared order, as values of their declared types; of
    a split array the partition's own part. ``cluster``: of CONNECT the connect string
    without its password.
    """

    cluster: str
    partition: int
    function: str
    args: tuple[Any, ...]


class Refusal(Exception):
    """An error as a server tells it."""

    def __init__(
        self,
        sqlstate: str,
        message: str,
        fields: Mapping[str, str | None] | None = None,
    ) -> None:
        """``fields``: more of it, by the protocol's letters. Raise ValueError."""
        if not _SQLSTATE.fullmatch(sqlstate):
            raise ValueError(f"{sqlstate!r} is no SQLSTATE: five of 0-9 and A-Z")
        super().__init__(message)
        self.is_fatal = sqlstate in _FATAL
        severity = "FATAL" if self.is_fatal else "ERROR"
        self.fields = {"S": severity, "V": severity, "C": sqlstate, "M": message}
        # A server names its source, by which it is told from a pooler.
        self.fields["F"] = "fake_cluster.c"
        self.fields |= {
            letter: text for letter, text in (fields or {}).items() if text is not None
        }


class Kind(Enum):
    """What a script is about."""

    ANSWER = "answer"
    DELAY = "delay"
    LOSS = "disconnect"
    SQL = "statement"
    HOME = "home"


@dataclass(frozen=True, slots=True)
class Answer:
    """``value``, or what a callable gives for the arguments.

    ``is_rows``: it is the list of rows that are sent, whatever is declared.
    """

    value: Any
    is_rows: bool


@dataclass(slots=True)
class _Script:
    what: Any
    cluster: str | None
    partition: int | None
    left: int | None

    def fits(self, place: Place) -> bool:
        return (
            self.left != 0
            and self.cluster in (None, place.cluster)
            and self.partition in (None, place.partition)
        )


@dataclass
class Scripts:
    """All that is scripted, by kind and subject. Thread-safe.

    What is scripted ``times`` is used up first, in order; then the latest without
    holds.
    """

    _by_subject: dict[tuple[Kind, str], list[_Script]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(
        self,
        kind: Kind,
        subject: str,
        what: Any,
        cluster: str | None,
        partition: int | None,
        times: int | None,
    ) -> None:
        if times is not None and (isinstance(times, bool) or times < 1):
            raise ValueError("times is how often it happens, at least 1")
        script = _Script(what, cluster, partition, times)
        with self._lock:
            self._by_subject.setdefault((kind, subject), []).append(script)

    def has(self, kind: Kind, subject: str, place: Place) -> bool:
        """Whether something is scripted there."""
        with self._lock:
            scripts = self._by_subject.get((kind, subject), ())
            return any(script.fits(place) for script in scripts)

    def take(self, kind: Kind, subject: str, place: Place, default: Any = None) -> Any:
        """Return what is to happen now."""
        with self._lock:
            scripts = self._by_subject.get((kind, subject), ())
            fitting = [script for script in scripts if script.fits(place)]
            for script in fitting:
                if script.left is not None:
                    script.left -= 1
                    return script.what
            return fitting[-1].what if fitting else default

    def subjects(self, kind: Kind) -> list[str]:
        """Return of what there are scripts, in their order."""
        with self._lock:
            return [subject for of, subject in self._by_subject if of is kind]
