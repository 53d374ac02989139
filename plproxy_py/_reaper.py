"""Processes of servers: their trees, their end, and the reaper that outlives an owner.

This file is also the reaper's program: it waits until the pipe from its owner closes,
stops the servers that run in the owner's place and removes it. So it imports only the
standard library. Linux and macOS.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from subprocess import check_output


def processes() -> Iterator[tuple[int, int, str]]:
    """Yield pid, parent's pid and command line of each process but zombies."""
    if not os.path.exists("/proc/self/stat"):
        ps = ["ps", "-Awwo", "pid=,ppid=,stat=,command="]
        for line in os.fsdecode(check_output(ps)).splitlines():
            pid, parent, state, *words = line.split(maxsplit=3)
            if "Z" not in state:
                yield int(pid), int(parent), "".join(words)
        return
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # They follow a name in parentheses that may contain anything.
            stat = (entry / "stat").read_bytes().rpartition(b")")[2]
            state, parent = stat.decode().split()[:2]
            command = os.fsdecode((entry / "cmdline").read_bytes())
            if state not in "ZX":
                yield int(entry.name), int(parent), command.replace("\0", " ")


def tree(pid: int) -> list[int]:
    """Return a process and its descendants; backends have groups of their own."""
    found = list(processes())
    members = [pid]
    for member in members:
        members += [child for child, parent, _ in found if parent == member]
    return members


def send(number: signal.Signals, pids: Iterable[int]) -> None:
    """Send a signal to each process that is there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def halt(pid: int) -> list[int]:
    """Stop a process, then its descendants, which now get no more; return all."""
    send(signal.SIGSTOP, [pid])
    members = tree(pid)
    send(signal.SIGSTOP, members)
    return members


def are_gone(pids: Iterable[int], timeout: float) -> bool:
    """Wait up to ``timeout`` seconds; return whether none of the processes is left."""
    waiting = set(pids)
    deadline = time.monotonic() + timeout
    while waiting := waiting.intersection(pid for pid, _, _ in processes()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def end_server(pid: int, how: signal.Signals) -> None:
    """Stop a postmaster by a signal; kill its whole tree if it is not gone in time."""
    members = tree(pid)
    if how != signal.SIGKILL:
        # A halted process hears no other signal.
        send(signal.SIGCONT, members)
        send(how, [pid])
        if are_gone(members, 10.0 if how == signal.SIGINT else 3.0):
            return
    members += halt(pid)
    send(signal.SIGKILL, members)
    are_gone(members, 10.0)


def remove(place: Path) -> None:
    """Remove a directory, what runs in it, and the memory of servers killed in it."""
    for pid, _, command in processes():
        if f" -D {place}/" in command:
            end_server(pid, signal.SIGQUIT)
    file = "data/postmaster.pid"
    for lock in (place / file, *place.glob(f"*/{file}")):
        with contextlib.suppress(OSError, IndexError):
            # A System V segment of 56 bytes; 0 is IPC_RMID.
            segment = int(lock.read_text().splitlines()[6].split()[1])
            ctypes.CDLL(None).shmctl(segment, 0, None)
    shutil.rmtree(place, ignore_errors=True)


def reap(place: Path) -> None:
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.read()  # ends with the owner
    # What the owner was just starting shows itself a moment later, so look again.
    looks = 3 if place.exists() else 1
    deadline = time.monotonic() + 60
    while looks and time.monotonic() < deadline:
        time.sleep(0.05)
        remove(place)
        looks = 3 if place.exists() else looks - 1


if __name__ == "__main__":
    reap(Path(sys.argv[1]))
