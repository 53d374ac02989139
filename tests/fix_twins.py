"""The compiled part and its Python twin: a test that takes `twin` runs on each."""

from __future__ import annotations

import importlib
import os
import shutil
import sysconfig
from types import ModuleType

import pytest

from plproxy_py import _pure


@pytest.fixture(params=["pure", "compiled"], scope="module")
def twin(request: pytest.FixtureRequest) -> ModuleType:
    """One of the twins."""
    return _pure if request.param == "pure" else compiled()


def compiled(name: str = "_speedups") -> ModuleType:
    """Return a compiled module; without it skip, and on CI with a compiler fail."""
    try:
        module = importlib.import_module(f"plproxy_py.{name}")
    except ImportError as error:
        reason = f"the compiled part is not there: {error}"
    else:
        return module
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if os.environ.get("CI", "").lower() in ("1", "true") and shutil.which(compiler):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
