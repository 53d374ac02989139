"""SQL names as Python identifiers, each name in a module once."""

from __future__ import annotations

import keyword
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from plproxy_py.pgtypes import PgType
from plproxy_py.signature import Signature


class Names:
    """The names of one scope."""

    def __init__(self, taken: Iterable[str]) -> None:
        self.taken = set(taken)

    def take(self, wanted: str) -> str:
        """Return the name that is wanted, or the next that is free; take it."""
        name, number = wanted, 1
        while name in self.taken:
            name = f"{wanted}_{number if number > 1 else ''}"
            number += 1
        self.taken.add(name)
        return name


def identifier(name: str) -> str:
    """Return the nearest Python identifier: the name itself, where it is a usual one.

    None begins with two underscores, which mean something to Python or to checkers.
    """
    # As Python reads identifiers: two that look alike may be one.
    text = unicodedata.normalize("NFKC", name)
    text = "".join(char if f"_{char}".isidentifier() else "_" for char in text)
    if not text.strip("_"):
        return "nameless"
    if text.startswith("__"):
        text = "_" + text.lstrip("_")
    if not text.isidentifier():
        text = f"_{text}"
    return f"{text}_" if keyword.iskeyword(text) else text


def is_field(name: str) -> bool:
    """Tell whether a class can have a field of exactly this name."""
    return name == identifier(name)


def class_name(name: str) -> str:
    """Return the name of the class for rows of a function, or of a row type."""
    words = identifier(name).split("_")
    return identifier("".join(word[:1].upper() + word[1:] for word in words)) + "Row"


def function_names(signatures: Sequence[Signature], names: Names) -> list[str]:
    """Return a name for each function, by position.

    With the schema where several schemas have a function of that name, with the
    arguments' types where it is overloaded.
    """
    bases = [identifier(signature.name) for signature in signatures]
    places = [
        (base, signature.schema)
        for base, signature in zip(bases, signatures, strict=True)
    ]
    overloads = Counter(places)
    schemas = Counter(base for base, _ in overloads)
    found = []
    for base, signature in zip(bases, signatures, strict=True):
        words = [base]
        if schemas[base] > 1:
            words.insert(0, signature.schema)
        if overloads[base, signature.schema] > 1:
            words += [_word(argument.type) for argument in signature.inputs]
        found.append(names.take(identifier("_".join(words))))
    return found


def parameter_names(signature: Signature) -> list[str]:
    """Return a name for each argument that a caller passes, by position."""
    # A first parameter of these names would be a method's.
    names = Names(("self", "cls"))
    return [
        names.take(identifier(argument.name or f"arg{number}"))
        for number, argument in enumerate(signature.inputs, 1)
    ]


def _word(type: PgType) -> str:
    name = type.name.rpartition(".")[2].strip('"')
    return f"{name}_array" if type.is_array else name
