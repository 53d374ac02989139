"""What internal values are made of: dataclasses that take little time to define.

Each method of a dataclass is written and compiled when its module is imported: sixty
frozen ones were half of the time to import this package. Of a record that is only
``__init__``, which for not being frozen takes a third of the time as well; the other
methods are the same functions for all. That nobody changes a record is seen to by type
checkers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, dataclass_transform

C = TypeVar("C")


def _compared(self: Any) -> tuple[Any, ...]:
    return tuple([getattr(self, each.name) for each in fields(self) if each.compare])


def _is_equal(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return _compared(self) == _compared(other)


def _hash(self: Any) -> int:
    return hash(_compared(self))


def _repr(self: Any) -> str:
    shown = [
        f"{each.name}={getattr(self, each.name)!r}"
        for each in fields(self)
        if each.repr
    ]
    return f"{self.__class__.__qualname__}({', '.join(shown)})"


_METHODS = {"__eq__": _is_equal, "__hash__": _hash, "__repr__": _repr}


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[C]) -> type[C]:
    """Make a dataclass with slots, compared, hashed and shown by its fields."""
    for name, method in _METHODS.items():
        if name not in cls.__dict__:
            setattr(cls, name, method)
    return dataclass(slots=True, eq=False, repr=False)(cls)
