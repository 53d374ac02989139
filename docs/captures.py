"""Make the pictures of the README: commands in a terminal of 80 by 24, as SVG.

    python docs/captures.py [DIRECTORY]

Starts a server, makes the demo's cluster on it, runs each command in a pseudo terminal
and writes what it shows to DIRECTORY (docs/captures). Two runs give the same pictures.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from plproxy_py import Router
from plproxy_py._embedded import Server
from plproxy_py.demo import PARTITIONS, create_users, sql_file, toml

HERE = Path(__file__).parent / "captures"
COLUMNS, LINES = 80, 24
LIBPQ = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "sslmode": "PGSSLMODE"}

# Ten orders of each user, and many of two.
ORDERS = """
CREATE TABLE orders AS
SELECT username, number FROM users, generate_series(
    1, CASE username WHEN 'marko' THEN 900 WHEN 'sven' THEN 300 ELSE 10 END) AS number
"""
# What is wrong on partitions when `check` looks at them.
FAULTS = {
    "part01": "DROP FUNCTION count_users()",
    "part02": "ALTER DATABASE part02 SET timezone = 'Asia/Tokyo'",
}
CAPTURES = {
    "balance": "plproxy balance demo --table orders --key username",
    "check": "plproxy check demo",
}

# Without the web font of rich's own template: the pictures load nothing.
SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" \
xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
    font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
    font-size: {char_height}px;
    line-height: {line_height}px;
}}
.{unique_id}-title {{ font: bold 18px sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" \
clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def main(directory: Path) -> None:
    with cluster() as env:
        for name, command in CAPTURES.items():
            if name == "check":
                plant_faults(env)
            svg = picture(name, command, run(command, env))
            (directory / f"{name}.svg").write_text(svg, encoding="utf-8")


@contextmanager
def cluster() -> Iterator[dict[str, str]]:
    """Start a server with the demo's cluster; give the variables that lead to it."""
    with Server() as server, tempfile.TemporaryDirectory() as place:
        server.create_databases(PARTITIONS)
        script = sql_file("demo.sql").read_bytes()
        for name in PARTITIONS:
            with psycopg.connect(server.connstr(name), autocommit=True) as conn:
                conn.execute(script)
        # Where the server is stands in variables, not in what commands show.
        connection = conninfo_to_dict(server.connstr())
        env = {var: str(connection[keyword]) for keyword, var in LIBPQ.items()}
        config = Path(place) / "plproxy.toml"
        config.write_text(
            f"functions = {toml([str(sql_file('demo_plproxy.sql'))])}\n"
            "[clusters.demo]\n"
            f"partitions = {toml([f'dbname={name}' for name in PARTITIONS])}\n",
            encoding="utf-8",
        )
        os.environ.update(env)
        with Router.from_config(config) as router:
            create_users(router)
            router.execute("demo", ORDERS)
        yield {**env, "PLPROXY_CONFIG": str(config)}


def plant_faults(env: dict[str, str]) -> None:
    for name, statement in FAULTS.items():
        with psycopg.connect(f"dbname={name}", autocommit=True) as conn:
            conn.execute(statement.encode())


def run(command: str, env: dict[str, str]) -> str:
    """Return what a command writes to a terminal. Raise RuntimeError if nothing."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", LINES, COLUMNS, 0, 0))
    variables = {
        k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")
    }
    _, *arguments = shlex.split(command)
    with tempfile.TemporaryFile() as stderr:
        with subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from plproxy_py.cli import main; main()",
                *arguments,
            ],
            stdin=theirs,
            stdout=theirs,
            stderr=stderr,
            env={**variables, **env, "TERM": "xterm-256color", "PYTHONUTF8": "1"},
        ):
            os.close(theirs)
            written = b""
            # At the end of the command its terminal is gone: Linux calls that an error.
            with contextlib.suppress(OSError):
                while some := os.read(ours, 65536):
                    written += some
            os.close(ours)
        stderr.seek(0)
        if not written:
            raise RuntimeError(f"{command}: {stderr.read().decode()}")
    text = written.decode().replace("\r\n", "\n")
    # All is one server's: on a busy machine its clock seems to be off.
    return re.sub(r"[+-]\d\.\d s\b", "0.0 s", text)


def picture(name: str, command: str, written: str) -> str:
    """Return a terminal's text as SVG. Raise ValueError if it is too long for it."""
    text = Text.assemble(("$ ", "bold green"), command, "\n", Text.from_ansi(written))
    lines = [
        part
        for line in text.split()
        for part in line.divide(range(COLUMNS, len(line), COLUMNS))
    ]
    if len(lines) > LINES:
        raise ValueError(f"{command} does not fit:\n{text.plain}")
    console = Console(
        record=True,
        width=COLUMNS,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
    )
    console.print(*lines, sep="\n", no_wrap=True, overflow="crop")
    return console.export_svg(
        title="plproxy", theme=MONOKAI, code_format=SVG, unique_id=f"capture-{name}"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
