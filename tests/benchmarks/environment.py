"""What the figures were taken on: the machine, and the versions of everything."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import psycopg

from tests.benchmarks.servers import Servers

PACKAGES = ("plproxy-py", "psycopg", "psycopg-pool", "mmh3", "asyncpg", "SQLAlchemy")


def machine() -> dict[str, Any]:
    """Return cores, CPU model and system, and how busy it was at the start."""
    cores = os.cpu_count()
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    return {
        "cores": cores,
        "cpu": _cpu_model(),
        "system": f"{platform.system()} {platform.machine()}",
        "load": round(os.getloadavg()[0], 2),
    }


def versions(servers: Servers) -> dict[str, Any]:
    """Return the versions, None for what is not installed."""
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "postgresql": servers.version,
        "plproxy": servers.plproxy_version,
        "libpq": psycopg.pq.version_pretty(psycopg.pq.version()),
        "psycopg_implementation": psycopg.pq.__impl__,
        "plproxy_py_compiled": is_compiled(),
    }
    for package in PACKAGES:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version = None
        found[package.lower().replace("-", "_")] = version
    return found


def is_compiled() -> bool:
    """Tell whether a compiled module of plproxy_py is in use."""
    return any(
        name.startswith("plproxy_py.")
        and str(getattr(module, "__file__", "")).endswith(tuple(EXTENSION_SUFFIXES))
        for name, module in list(sys.modules.items())
    )


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    models = [line.partition(": ")[2] for line in lines if "model name" in line]
    return models[0] if models else platform.processor()
