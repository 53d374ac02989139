"""What a statement is to a session, and those that no function sends.

Routers and psycopg say them in between: BEGIN and DISCARD ALL for two.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from plproxy_py.testing._protocol import Param
from plproxy_py.testing._rowsets import Column, Rowset, Texts
from plproxy_py.testing._scripts import Place

_WORDS = re.compile(r"[A-Za-z]+(?: +to\b)?", re.IGNORECASE)
# By first word: the command's tag, and the transaction's status behind it.
_COMMANDS = {
    "begin": ("BEGIN", "T"),
    "start": ("START TRANSACTION", "T"),
    "commit": ("COMMIT", "I"),
    "end": ("COMMIT", "I"),
    "rollback": ("ROLLBACK", "I"),
    "abort": ("ROLLBACK", "I"),
    "rollback to": ("ROLLBACK", "T"),
    "savepoint": ("SAVEPOINT", None),
    "release": ("RELEASE", None),
    "set": ("SET", None),
    "reset": ("RESET", None),
    "listen": ("LISTEN", None),
    "unlisten": ("UNLISTEN", None),
    "deallocate": ("DEALLOCATE", None),
    "discard": ("DISCARD ALL", None),
}


class Lost(Exception):
    """The connection ends without an answer."""


class Session(Protocol):
    """What a statement needs of the session that runs it."""

    place: Place

    def forget(self, statement: str | None) -> None:
        """Forget a prepared statement, None for all. Raise `Refusal`."""

    async def pause(self, seconds: float) -> None:
        """Do nothing for a while. Raise `Refusal` when it is cancelled."""


class Done(NamedTuple):
    """A statement's end. ``tag`` None: rows, whose number is the tag.

    ``status``: the transaction's, None if it stays as it is.
    """

    tag: str | None
    rowset: Rowset | None = None
    status: str | None = None


class Statement(Protocol):
    """A statement that was understood."""

    @property
    def oids(self) -> Sequence[int]:
        """Its parameters' types."""

    async def run(self, params: Sequence[Param], session: Session) -> Done:
        """Execute it. Raise `Refusal` or `Lost`."""


@dataclass(frozen=True, slots=True)
class Command:
    """What returns no rows. ``forgets``: a prepared statement, "all" for all."""

    tag: str
    status: str | None
    forgets: str | None = None
    oids: Sequence[int] = ()

    async def run(self, params: Sequence[Param], session: Session) -> Done:
        if self.forgets is not None:
            session.forget(None if self.forgets == "all" else self.forgets)
        return Done(self.tag, None, self.status)


def is_command(sql: bytes) -> bool:
    """Whether it is one of those that return no rows."""
    return _key(sql.decode(errors="replace")) in _COMMANDS


def _key(text: str) -> str:
    words = _WORDS.match(text.strip())
    return " ".join(words[0].lower().split()) if words else ""


def command(text: str) -> Command:
    key = _key(text)
    tag, status = _COMMANDS.get(key, ("", None))
    forgets = None
    if key in ("deallocate", "discard"):
        forgets = text.split()[-1].strip('"')
        forgets = "all" if forgets.lower() == "all" else forgets
    return Command(tag, status, forgets)


@dataclass(frozen=True, slots=True)
class Plain:
    """A SELECT whose rows are known: ``SELECT`` alone has one without columns."""

    rows: Sequence[Texts]
    oids: Sequence[int] = ()
    columns: Sequence[Column] = ()

    async def run(self, params: Sequence[Param], session: Session) -> Done:
        return Done(None, Rowset(self.columns, iter(self.rows)))
