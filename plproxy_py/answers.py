"""What calls return that is more than a value, a row or a list of rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from plproxy_py.errors import Error

T = TypeVar("T")


class Partial(list[T]):
    """The rows of the partitions that answered.

    ``missing``: the partitions that did not, in tag order; ``errors``: why, by
    partition. As a return hint it declares a SETOF whose partitions may be missing.
    """

    def __init__(
        self,
        rows: Iterable[T],
        missing: Iterable[int],
        errors: Mapping[int, Error],
    ) -> None:
        super().__init__(rows)
        self.missing = tuple(missing)
        self.errors: Mapping[int, Error] = dict(errors)

    def __repr__(self) -> str:
        rows = list.__repr__(self)
        return f"Partial({rows}, missing={self.missing!r}, errors={self.errors!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (list(self), self.missing, self.errors)


class Results(list[T | Error]):
    """What ``call_many`` returns: results in input order, an error in its own place."""

    @property
    def errors(self) -> dict[int, Error]:
        """The errors by the position of their call in the input."""
        return {
            index: result
            for index, result in enumerate(self)
            if isinstance(result, Error)
        }

    def raise_first(self) -> list[T]:
        """Return the results if none is an error; else raise the first in the input.

        A note on it names its position.
        """
        values: list[T] = []
        for index, result in enumerate(self):
            if isinstance(result, Error):
                note = f"call {index} of {len(self)}, counted from 0"
                if note not in getattr(result, "__notes__", ()):
                    result.add_note(note)
                raise result
            values.append(result)
        return values


@dataclass(frozen=True, slots=True, repr=False)
class Bound(Generic[T]):
    """The arguments of one call of a function, for ``call_many`` and its like.

    ``label``: the function's. Arguments are not shown: they may be secrets.
    """

    label: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def __repr__(self) -> str:
        count = len(self.args) + len(self.kwargs)
        return f"<{count} arguments of {self.label}>"
