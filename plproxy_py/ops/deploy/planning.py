"""What is new on a partition: the files held against its journal. Pure.

A statement is done where the journal has it: the same file, the same digest, and as
many entries as it stands in the file so far. Its place does not count. What the
journal has and the file no longer, is withdrawn as soon as something new runs, so that
a file that goes back to an earlier text runs that text again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from plproxy_py.ops.deploy.files import SqlFile, Step


@dataclass(frozen=True, slots=True)
class Entry:
    """A journal's entry in force. ``is_done``: its statement's end was journaled."""

    id: int
    file: str
    digest: str
    begun_at: datetime
    is_done: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done on a partition.

    ``steps``: in their order, settings that they need among them. ``unsettled``: those
    that were begun and whose end nobody saw. ``withdrawn``: ids of entries.
    """

    steps: tuple[Step, ...] = ()
    unsettled: tuple[tuple[Step, Entry], ...] = ()
    withdrawn: tuple[int, ...] = ()

    @property
    def news(self) -> tuple[Step, ...]:
        """The steps that change something."""
        return tuple(step for step in self.steps if not step.is_setting)


def plan(files: Sequence[SqlFile], entries: Iterable[Entry]) -> Plan:
    """Return what the journal lacks."""
    known: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in sorted(entries, key=lambda entry: entry.id, reverse=True):
        known[entry.file, entry.digest].append(entry)
    steps: list[Step] = []
    unsettled: list[tuple[Step, Entry]] = []
    for file in files:
        settings: list[Step] = []
        for step in file.steps:
            found = known[step.file, step.digest]
            if step.is_setting:
                settings.append(step)
                continue
            if found:
                entry = found.pop()
                if entry.is_done:
                    continue
                unsettled.append((step, entry))
            steps += [*settings, step]
            settings = []
    names = {file.name for file in files}
    withdrawn = [
        entry.id for (file, _), left in known.items() for entry in left if file in names
    ]
    return Plan(tuple(steps), tuple(unsettled), tuple(sorted(withdrawn)))
