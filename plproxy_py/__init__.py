"""A PL/Proxy-style function-call router for PostgreSQL."""

from plproxy_py._notices import Notice
from plproxy_py._observing import Called, log_slow_calls
from plproxy_py._version import __version__
from plproxy_py.answers import Bound, Partial, Results
from plproxy_py.config import ClusterConfig, Partition, Target
from plproxy_py.errors import (
    ColumnMismatch,
    ConfigError,
    ConnectError,
    ConnectionLost,
    DeclarationError,
    Error,
    HashMismatch,
    NoDataFound,
    NoSuchCluster,
    Outcome,
    ParseError,
    PartitionCountError,
    PartitionError,
    PoolTimeout,
    QueryTimeout,
    RemoteError,
    ResultError,
    RouterClosed,
    RoutingError,
    SignatureError,
    TooManyRows,
    UnsupportedError,
)
from plproxy_py.function import Plan
from plproxy_py.hints import Float4, Int2, Int4, Json, Timestamp, Varchar
from plproxy_py.proxycall import (
    AsyncProxyCall,
    AsyncStreamCall,
    ProxyCall,
    StreamCall,
)
from plproxy_py.result import Row
from plproxy_py.router import Router
from plproxy_py.router_async import AsyncRouter
from plproxy_py.streams import AsyncStream, Stream

__all__ = [
    "AsyncProxyCall",
    "AsyncRouter",
    "AsyncStream",
    "AsyncStreamCall",
    "Bound",
    "Called",
    "ClusterConfig",
    "ColumnMismatch",
    "ConfigError",
    "ConnectError",
    "ConnectionLost",
    "DeclarationError",
    "Error",
    "Float4",
    "HashMismatch",
    "Int2",
    "Int4",
    "Json",
    "NoDataFound",
    "NoSuchCluster",
    "Notice",
    "Outcome",
    "ParseError",
    "Partial",
    "Partition",
    "PartitionCountError",
    "PartitionError",
    "Plan",
    "PoolTimeout",
    "ProxyCall",
    "QueryTimeout",
    "RemoteError",
    "ResultError",
    "Results",
    "Router",
    "RouterClosed",
    "RoutingError",
    "Row",
    "SignatureError",
    "Stream",
    "StreamCall",
    "Target",
    "Timestamp",
    "TooManyRows",
    "UnsupportedError",
    "Varchar",
    "__version__",
    "log_slow_calls",
]

for _name in __all__:
    _export = globals()[_name]
    if isinstance(_export, type):
        _export.__module__ = __name__
