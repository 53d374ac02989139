"""SQL files on all partitions, each statement once.

``files`` reads them, ``journal`` is what a partition remembers, ``planning`` what is
new there, ``partition`` the work on one partition, in one transaction or in none,
``running`` the course over all of them, ``trial`` the same without a trace.
"""
