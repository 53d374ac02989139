"""Clusters and function files from a TOML file.

``${NAME}`` in a connect string comes from the environment. It is put in after the
connect string was parsed, so that no value can add keywords; ``$$`` is a dollar.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from plproxy_py.config import ClusterConfig
from plproxy_py.errors import ConfigError, nearest, scrubbed
from plproxy_py.sources.mapping import from_mapping, private_cluster

_KEYS = ("clusters", "functions", "home")
_VARIABLE = re.compile(r"\$(?:\$|\{(?:([A-Za-z_][A-Za-z0-9_]*)\})?)")


def from_file(path: Path) -> tuple[dict[str, ClusterConfig], tuple[Path, ...]]:
    """Return a file's clusters, and the paths of its function files.

    Raise `ConfigError` naming the file and the key, or the variable that is missing.
    """
    with _naming(path):
        document = _document(path)
        return _clusters(document), _functions(document, path.parent)


def home_of(path: Path) -> ClusterConfig | None:
    """Return the home database that a file names, as a cluster of one partition."""
    with _naming(path):
        home = _document(path).get("home")
        if home is not None and not isinstance(home, str):
            raise ConfigError("'home' is a connect string")
        return None if home is None else private_cluster(home, substitute=substitute)


def _document(path: Path) -> dict[str, Any]:
    import tomllib  # 6 ms, for files alone

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError("there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"can't be read: {error}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"is no TOML: {error}") from None
    for key in document:
        if key not in _KEYS:
            raise ConfigError(f"unknown key {key!r}{nearest(key, _KEYS)}")
    return document


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        error.args = (f"{scrubbed(str(path))}: {error}",)
        raise


def _clusters(document: dict[str, Any]) -> dict[str, ClusterConfig]:
    clusters = document.get("clusters")
    if not isinstance(clusters, dict) or not clusters:
        raise ConfigError("the key 'clusters' is missing: write [clusters.NAME]")
    return {
        name: dataclasses.replace(config, version=config.digest())
        for name, config in from_mapping(clusters, substitute=substitute).items()
    }


def _functions(document: dict[str, Any], folder: Path) -> tuple[Path, ...]:
    names = document.get("functions", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError("'functions' is a list of file names")
    return tuple(folder / name for name in names)


def substitute(value: str) -> str:
    """Return the value with ``${NAME}`` from the environment and ``$$`` as a dollar."""

    def replacement(match: re.Match[str]) -> str:
        name = match[1]
        if match[0] == "$$":
            return "$"
        if name is None:
            # What stands there may be a password's.
            raise ConfigError("write ${NAME} for a variable, and $$ for a dollar")
        try:
            return os.environ[name]
        except KeyError:
            raise ConfigError(f"the environment variable {name!r} is not set") from None

    return _VARIABLE.sub(replacement, value)
