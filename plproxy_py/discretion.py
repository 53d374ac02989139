"""Values that must stand in no text: how they are found in one, and taken out.

A text may hold them in other words than they were given in: as JSON, doubled quotes,
one element of an array. Knows no errors and no functions.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime

HIDDEN = "***"

# A shorter text stands in many a word by chance: it is hidden where it stands alone.
SHORT = 4

# Of more texts no pattern is made: then all is hidden.
MOST_TEXTS = 10_000


def hider(values: Iterable[object]) -> re.Pattern[str] | None:
    """Return what finds the values in a text, None where there is nothing to find."""
    texts: set[str] = set()
    everything = re.compile(r".+", re.DOTALL)
    try:
        for text in itertools.chain.from_iterable(map(_texts, values)):
            if text.strip():
                texts.add(text)
            if len(texts) > MOST_TEXTS:
                return everything
    except Exception:  # a value's own methods may raise whatever they like
        return everything
    if not texts:
        return None
    found = [
        re.escape(text) if len(text) >= SHORT else rf"(?<!\w){re.escape(text)}(?!\w)"
        for text in sorted(texts, key=lambda text: (-len(text), text))
    ]
    return re.compile("|".join(found), re.IGNORECASE)


def hidden(text: str, values: Iterable[object]) -> str:
    """Return the text without the values."""
    pattern = hider(values)
    return text if pattern is None else pattern.sub(HIDDEN, text)


def _texts(value: object) -> Iterator[str]:
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        # As it is, in an SQL literal, in JSON, in a Python literal.
        yield value
        yield value.replace("'", "''")
        yield json.dumps(value)[1:-1]
        yield repr(value)[1:-1]
    elif isinstance(value, (bytes, bytearray, memoryview)):
        data = bytes(value)
        yield data.hex()
        yield repr(data)[2:-1]
        yield data.decode(errors="replace")
    elif isinstance(value, datetime):
        yield value.isoformat()
        yield value.isoformat(" ")
        yield value.isoformat(" ").removesuffix(":00")
    elif isinstance(value, Mapping):
        yield from _texts(list(value.items()))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _texts(getattr(value, field.name))
    elif isinstance(value, Collection):
        for item in value:
            yield from _texts(item)
    else:
        yield str(value)
        yield repr(value)
