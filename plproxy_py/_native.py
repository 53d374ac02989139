"""Which twin computes: the compiled part, or Python where it is not there.

The environment variable PLPROXY_PY_PURE, set to anything, chooses Python.
"""

from __future__ import annotations

import os

__all__ = [
    "COMPILED",
    "are_ints",
    "are_texts",
    "deal",
    "hash_all",
    "hash_bytes",
    "hashint4",
    "hashint8",
    "hashtext",
    "pack",
]

try:
    if os.environ.get("PLPROXY_PY_PURE"):
        raise ImportError("Python was chosen")
    from plproxy_py._speedups import (
        are_ints,
        are_texts,
        deal,
        hash_all,
        hash_bytes,
        hashint4,
        hashint8,
        hashtext,
        pack,
    )

    COMPILED = True
except ImportError:
    from plproxy_py._pure import (
        are_ints,
        are_texts,
        deal,
        hash_all,
        hash_bytes,
        hashint4,
        hashint8,
        hashtext,
        pack,
    )

    COMPILED = False
