"""Notices from partitions, on their way to the caller's callback."""

from __future__ import annotations

import logging
from collections.abc import Callable
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

    @staticmethod
    def sink(
        callback: Callable[[Notice], None], function: str, partition: int
    ) -> Callable[[PGresult], None]:
        """Return what takes libpq's notices of one call on one partition."""

        def take(result: PGresult) -> None:
            # libpq frees the result when this returns.
            fields: dict[int, bytes | None] = {
                field: result.error_field(field) for field in DiagnosticField
            }
            callback(Notice(function, partition, Diagnostic(fields)))

        return take

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
