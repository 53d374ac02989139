"""What a function body says, as values.

A `Body` is made by the parser and read by whoever builds queries and routes calls.
It holds arguments by position only, never by name, and knows nothing of types,
clusters or connections. Lines are kept for messages: they don't count when values
are compared. `str(body)` is a body text that parses to an equal value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from itertools import groupby
from typing import TypeAlias

from plproxy_py._record import record
from plproxy_py.language.scanner import SEAM, scan, unfold


@record
class Reference:
    """An argument inside SQL text. ``index``: from 0, among IN and INOUT arguments."""

    index: int

    def __str__(self) -> str:
        return f"${self.index + 1}"


Part: TypeAlias = str | Reference


@record
class Literal:
    """A quoted string, its quotes removed and ``''`` made ``'``."""

    value: str
    line: int = field(compare=False)

    def __str__(self) -> str:
        return "'" + self.value.replace("'", "''") + "'"


@record
class ArgumentValue:
    """The value of an argument, as in ``RUN ON arg``. ``index`` as in `Reference`."""

    index: int
    line: int = field(compare=False)

    def __str__(self) -> str:
        return str(Reference(self.index))


@record
class Expression:
    """SQL text with references to arguments, folded as PL/Proxy sends it.

    A call with whatever follows it, a SELECT, or a bare name that no argument has.
    ``parts``: the first is a text that begins with the function's name and ``(``,
    with SELECT as it was written, or with the bare name. Texts stand side by side
    only between a space and a dot, lest they be read as one name.
    """

    parts: tuple[Part, ...]
    line: int = field(compare=False)

    def sql(self, placeholder: Callable[[int], str]) -> str:
        """Return the text, each reference written as ``placeholder(index)``."""
        return "".join(
            part if isinstance(part, str) else placeholder(part.index)
            for part in self.parts
        )

    def __str__(self) -> str:
        text = "".join(
            (SEAM if kind is str else "").join(map(str, parts))
            for kind, parts in groupby(self.parts, type)
        )
        # Up to its "(" a call stays as it is: a comment would be a syntax error.
        head = next(scan(text)).text
        return head + unfold(text[len(head) :])


@record
class RunAll:
    """On every partition."""

    def __str__(self) -> str:
        return "ALL"


@record
class RunAny:
    """On any one partition, which is also what a body without RUN ON means."""

    def __str__(self) -> str:
        return "ANY"


@record
class RunNumber:
    """On the partition of this ``number``, from 0 to 2**31-1."""

    number: int
    line: int = field(compare=False)

    def __str__(self) -> str:
        return str(self.number)


RunOn: TypeAlias = RunAll | RunAny | RunNumber | ArgumentValue | Expression
Connect: TypeAlias = Literal | ArgumentValue | Expression
Cluster: TypeAlias = Literal | Expression


@record
class Body:
    """A function body.

    ``split``: indexes of the arguments to split, in the order written; None without
    SPLIT, all the arrays there are (perhaps none) with SPLIT ALL. ``target``: the
    function's name as it was written, not quoted or folded.
    """

    connect: Connect | None = None
    cluster: Cluster | None = None
    run_on: RunOn = RunAny()
    split: tuple[int, ...] | None = None
    split_all: bool = False
    target: str | None = None
    select: Expression | None = None

    def __str__(self) -> str:
        statements = []
        if self.connect is not None:
            statements.append(f"CONNECT {self.connect};")
        if self.cluster is not None:
            statements.append(f"CLUSTER {self.cluster};")
        if self.run_on != RunAny():
            statements.append(f"RUN ON {self.run_on};")
        if self.split is not None:
            listed = ", ".join(str(Reference(index)) for index in self.split)
            is_all = self.split_all or not self.split
            statements.append(f"SPLIT {'ALL' if is_all else listed};")
        if self.target is not None:
            statements.append(f"TARGET {self.target};")
        if self.select is not None:
            statements.append(f"{self.select};")
        return "\n".join(statements)
