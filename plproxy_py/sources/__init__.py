"""Where cluster definitions come from: a mapping, a TOML file, a connect string.

Each source turns its own form into `ClusterConfig` values and knows nothing of pools
or calls.
"""

from plproxy_py.sources.mapping import from_mapping, private_cluster
from plproxy_py.sources.toml import from_file, home_of

__all__ = ["from_file", "from_mapping", "home_of", "private_cluster"]
