"""The documented differences that a report may name.

Each is an anchor of docs/differences.md, which says what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Difference(StrEnum):
    """An anchor of docs/differences.md."""

    IN_THE_APPLICATION = "in-the-application"
    NO_CALLERS_TRANSACTION = "no-callers-transaction"
    EXPRESSIONS = "expressions-python-first-then-home"
    DOUBTFUL_HASHES = "hashes-that-home-may-answer-otherwise"
    SECURITY_DEFINER = "security-definer"
    SET_CLAUSES = "set-clauses"
    WHO_MAY_CALL = "who-may-call"
    CONNECT_FROM_DATA = "connect-from-data"
    REFUSED_AT_ONCE = "refused-at-once"
    RESULT_TYPES = "result-types-are-refused-at-once"
    PASSED_OVER = "what-reflect-passes-over"
    DEFAULT = "default"
    ROW_TYPES = "row-types-in-text"
    DYNAMIC_RECORDS = "column-lists-of-dynamic-records"
    DOMAIN_HASHES = "a-hash-of-a-domain-type"
    NAIVE_DATETIMES = "datetimes-without-time-zone"
    DOMAIN_RESULTS = "domains-of-results"
    DEFINITIONS = "a-bad-definition-or-a-home-database-that-is-down"
    WHOSE_NAME = "whose-name-connections-are-made-in"
    PUBLIC_MAPPINGS = "public-user-mappings"
    CLUSTER_OPTIONS = "options-of-clusters"
    EQUAL_PARTITIONS = "equal-partitions"
    CONNECT_STRINGS = "connect-strings"
    PASSWORDS = "passwords-appear-in-no-text"
    DEADLINES = "deadlines-are-real"


@dataclass(frozen=True, slots=True)
class Note:
    """What is to be known of a function, a cluster or a caller.

    ``is_obstacle``: with it the thing does not work here.
    """

    difference: Difference
    text: str
    is_obstacle: bool = False
