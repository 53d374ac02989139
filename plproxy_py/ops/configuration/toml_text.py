"""Clusters as the text of a TOML file, which reads as the same clusters again.

Connect strings are written by libpq's own quoting. TOML has no writer in the standard
library; its basic strings are JSON's, but for one character.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from psycopg.conninfo import make_conninfo

from plproxy_py.config import (
    CONNECTION_DEFAULTS,
    SECRETS,
    ClusterConfig,
    Target,
)
from plproxy_py.ops.configuration.comparing import OPTIONS
from plproxy_py.ops.configuration.secrecy import Placeholders, written_of

_DEFAULTS = {field.name: field.default for field in fields(ClusterConfig)}
# Each partition says its own, whatever the others say.
_OWN = ("dbname", "host", "hostaddr", "port")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SMALL = re.compile(r"0|[1-9][0-9]{0,8}")


def definition(
    config: ClusterConfig, placeholders: Placeholders | None
) -> dict[str, Any]:
    """Return a cluster's table. What all partitions say stands in ``connection``.

    ``placeholders``: for secrets; None writes them as they are.
    """
    several = config.part_count > 1
    targets = [partition.target for partition in config.partitions]
    shared = _shared(targets) if several else {}
    table: dict[str, Any] = {"partitions": []}
    for number, target in enumerate(targets):
        own = {key: text for key, text in _said(target).items() if key not in shared}
        place = number if several else None
        written = _written(config.name, own, placeholders, place)
        table["partitions"].append(make_conninfo("", **written))
    if shared:
        table["connection"] = {
            keyword: int(text) if _is_number(keyword, text) else text
            for keyword, text in _written(
                config.name, shared, placeholders, None
            ).items()
        }
    for option in OPTIONS:
        value = getattr(config, option)
        if value != _DEFAULTS[option]:
            # Without end, or none, is 0.
            table[option] = 0 if value is None else value
    return table


def home_text(home: Target, placeholders: Placeholders | None) -> str:
    """Return the connect string of the key ``home``."""
    return make_conninfo("", **_written("home", _said(home), placeholders, None))


def _said(target: Target) -> dict[str, str]:
    return dict(target.parameters) | dict(target.secrets)


def _shared(targets: Sequence[Target]) -> dict[str, str]:
    first, *others = map(_said, targets)
    return {
        keyword: value
        for keyword, value in first.items()
        if keyword not in _OWN
        and all(
            keyword in said
            and said[keyword] == value
            # Of two variables, only one may be the same today.
            and written_of(said[keyword]) == written_of(value)
            for said in others
        )
    }


def _written(
    cluster: str,
    said: Mapping[str, str],
    placeholders: Placeholders | None,
    number: int | None,
) -> dict[str, str]:
    """Return values as the file has them, secrets as variables."""
    written = {}
    for keyword, value in said.items():
        if keyword not in SECRETS or not value:
            written[keyword] = written_of(value)
        elif placeholders is None:
            written[keyword] = value.replace("$", "$$")
        else:
            written[keyword] = placeholders.take(cluster, keyword, value, number)
    return written


def _is_number(keyword: str, text: str) -> bool:
    return keyword in CONNECTION_DEFAULTS and _SMALL.fullmatch(text) is not None


def document_text(document: Mapping[str, Any], comments: Sequence[str] = ()) -> str:
    """Return the text of a file: ``home``, ``functions``, and the clusters' tables.

    ``comments``: lines to stand at the beginning. Raise `ConfigError` for a text that
    no TOML can hold.
    """
    lines = [f"# {comment}" for comment in comments]
    top = [f"{key} = {_value(value)}" for key, value in document.items() if key != _ALL]
    blocks = ["\n".join(part) for part in (lines, top) if part]
    for name, table in document.get(_ALL, {}).items():
        # A list of connect strings is a table of one key.
        options = table if isinstance(table, Mapping) else {"partitions": table}
        block = [f"[{_ALL}.{_key(name)}]"]
        block += [f"{_key(key)} = {_value(value)}" for key, value in options.items()]
        blocks.append("\n".join(block))
    return "\n\n".join(blocks) + "\n"


_ALL = "clusters"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _string(name)


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))
        case int() | float():
            return repr(value)
        case str():
            return _string(value)
        case Mapping():
            items = (f"{_key(key)} = {_value(item)}" for key, item in value.items())
            return f"{{ {', '.join(items)} }}"
        case _:
            items = (f"    {_value(item)},\n" for item in value)
            return f"[\n{''.join(items)}]"


def _string(text: str) -> str:
    # What JSON leaves as it is and TOML refuses.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
