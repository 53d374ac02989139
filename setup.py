"""The compiled part: built where a compiler is, and left out where none is."""

from __future__ import annotations

import sys
import sysconfig

from setuptools import Extension, setup

# One wheel for all CPythons from 3.11, except those without the GIL: these have no
# stable ABI.
limited = sys.implementation.name == "cpython" and not sysconfig.get_config_var(
    "Py_GIL_DISABLED"
)

setup(
    ext_modules=[
        Extension(
            "plproxy_py._speedups",
            ["plproxy_py/_speedups.c"],
            depends=["plproxy_py/_items.h", "plproxy_py/_lookup3.h"],
            define_macros=[("Py_LIMITED_API", "0x030B0000")] if limited else [],
            py_limited_api=limited,
            optional=True,
        ),
        Extension(
            "plproxy_py._roundtrip",
            ["plproxy_py/_roundtrip.c"],
            define_macros=[("Py_LIMITED_API", "0x030B0000")] if limited else [],
            py_limited_api=limited,
            optional=True,
        ),
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if limited else {},
)
