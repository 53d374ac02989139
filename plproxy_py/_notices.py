"""Notices from partitions, on their way to the caller's callback."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.errors import Diagnostic
from psycopg.pq import DiagnosticField

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

logger = logging.getLogger("plproxy_py")


@dataclass(frozen=True, slots=True)
class Notice:
    """A server's message that is no error. ``function`` as in an error's text."""

    function: str
    partition: int
    diag: Diagnostic

    @classmethod
    def of(cls, result: PGresult, function: str, partition: int) -> Notice:
        """Return the notice of libpq's result, which is freed soon after."""
        fields: dict[int, bytes | None] = {
            field: result.error_field(field) for field in DiagnosticField
        }
        return cls(function, partition, Diagnostic(fields))

    def __str__(self) -> str:
        diag = self.diag
        return (
            f"{self.function}: [partition {self.partition}] REMOTE {diag.severity}: "
            f"{diag.message_primary}"
        )


def log_notice(notice: Notice) -> None:
    """Log a notice under ``plproxy_py``: SQLSTATE class 00 as info, else a warning."""
    level = (
        logging.INFO
        if (notice.diag.sqlstate or "").startswith("00")
        else logging.WARNING
    )
    logger.log(level, "%s", notice)
