"""A cluster held against its declarations, and its partitions against each other.

Each partition is asked once and in few round trips (`looking`); all else is done with
what they said. Nothing is changed.
"""
