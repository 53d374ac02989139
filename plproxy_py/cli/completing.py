"""Names that a shell can complete: clusters and functions of the config file.

Asked at each press of a key: nothing here connects, fails or prints. What a database
or an application knows is not looked up.
"""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from plproxy_py._catalog import Catalog

Items = list[CompletionItem[Any]]


def complete_cluster(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> Items:
    """Return the clusters whose names begin so."""
    return _items(_clusters, ctx, incomplete)


def complete_function(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> Items:
    """Return the functions whose names begin so."""
    return _items(_functions, ctx, incomplete)


def complete_function_or_cluster(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> Items:
    """Return both, functions first."""
    return _items(_functions, ctx, incomplete) + _items(_clusters, ctx, incomplete)


def _items(
    names: Callable[[Path, Mapping[str, Any]], Iterable[str]],
    ctx: click.Context,
    incomplete: str,
) -> Items:
    disabled = logging.root.manager.disable
    logging.disable()
    try:
        said = ctx.find_root().params
        if said.get("home") is not None or said.get("app") is not None:
            return []
        path = Path(said["config"])
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        found = dict.fromkeys(names(path, document))
        return [CompletionItem(name) for name in found if name.startswith(incomplete)]
    except Exception:
        # Whatever is wrong, a shell that completes is no place to say so.
        return []
    finally:
        logging.disable(disabled)


def _clusters(path: Path, document: Mapping[str, Any]) -> Iterable[str]:
    return list(document["clusters"])


def _functions(path: Path, document: Mapping[str, Any]) -> Iterable[str]:
    catalog = Catalog({})
    for name in document["functions"]:
        for function in catalog.read_file(path.parent / name):
            yield function.signature.name
