"""Tests without servers: partitions that answer as a test says."""

from plproxy_py.testing._fake import FakeCluster
from plproxy_py.testing._scripts import Call

__all__ = ["Call", "FakeCluster"]

for _name in __all__:
    globals()[_name].__module__ = __name__
