"""What this process runs on, in one line, as `plproxy --version` prints it."""

from __future__ import annotations

import platform

import psycopg

from plproxy_py._native import COMPILED


def versions() -> str:
    """Return the versions of psycopg, libpq and Python, and which twins compute."""
    libpq = psycopg.pq.version()
    return (
        f"psycopg {psycopg.__version__} ({psycopg.pq.__impl__}), "
        f"libpq {libpq // 10000}.{libpq % 10000}, "
        f"Python {platform.python_version()}, "
        f"compiled part: {'yes' if COMPILED else 'no'}"
    )
