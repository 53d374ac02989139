"""Files that are written all at once, and those with passwords for their owner only."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from pathlib import Path

from plproxy_py.errors import ConfigError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def replace_file(path: Path, text: str, *, private: bool = False) -> None:
    """Write a file, so that nobody ever sees half of it. Raise `ConfigError`.

    ``private``: nobody but its owner can read it, from its first byte on.
    """
    # Not the link in its place.
    path = path.resolve()
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    mode = 0o600 if private else 0o666
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(handle, "wb") as file:
            file.write(text.encode())
        if path.exists():
            shutil.copymode(path, draft)
            if private:
                draft.chmod(stat.S_IMODE(draft.stat().st_mode) & ~_OTHERS)
        os.replace(draft, path)
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)
