"""What operators do to a whole cluster: look, compare, change, count.

Each file does one of these and returns rows or findings; how they look on a terminal
is `plproxy_py.cli`'s affair.
"""
