"""Functions from the home database's catalog.

Interface: `functions_question` asks, in one statement, for every LANGUAGE plproxy
function; the answer is a `Reflection`, whose ``check`` is the one cheap question that
tells whether functions, their types and the tables they return are the same still:

    reflection = ask(functions_question())      # Reflection
    reflection.functions                        # for parse_body and compile_function
    reflection.errors                           # what can't be used, one error for each
    ask(reflection.check)                       # bool

Knows no connection, and no more of a body than its text.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from plproxy_py.errors import DeclarationError
from plproxy_py.signature import Columns, Signature
from plproxy_py.sources.question import Question


@dataclass(frozen=True, slots=True)
class Reflected:
    """One function as the catalog has it.

    ``columns`` are the live ones of a composite or table that is returned, for
    ``signature.shape(columns)``; () otherwise.
    """

    signature: Signature
    body: str
    columns: Columns = ()
    strict: bool = False
    security_definer: bool = False
    procedure: bool = False


@dataclass(frozen=True, slots=True)
class Reflection:
    """All functions of the language, by schema and name; what can't be used beside.

    Each error names its function in ``.function``. ``check`` answers True while
    nothing has changed: functions, types, or the columns of a table that is returned.
    """

    functions: tuple[Reflected, ...]
    errors: tuple[DeclarationError, ...]
    check: Question[bool] = field(repr=False)


def functions_question() -> Question[Reflection]:
    """Return the question for all LANGUAGE plproxy functions; it raises nothing."""
    raise NotImplementedError
