"""A Markdown page, run as it stands: its blocks in order, their outputs compared.

- ```python blocks share one namespace; one that begins with a file's name in a comment
  is that file, imported. A ```text block is what they wrote since the one before.
- ```sql blocks name their databases in a comment at the beginning: ``-- part00``,
  ``-- part00 to part03``, ``-- every partition``; or a file, as other blocks do.
- ```toml and ```ini blocks begin with the name of the file that they are.
- ```console blocks: ``$ plproxy`` runs in this process, anything else in a shell. What
  stands below a command is its output. One that fails is followed by ``$ echo $?``.

``host=db0 dbname=part00`` stands for a database of the tests, and so it is shown in
outputs, where ``…`` is any text, a line ``[...]`` any lines, and blanks may differ.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from plproxy_py import AsyncRouter, Router
from plproxy_py._embedded import find_bindir
from plproxy_py.cli import main
from plproxy_py.config import parse_connstr
from tests.snippets import FILE, ROOT, Snippet, read_snippets

# Return a real connect string for a host and a database of a page.
Place = Callable[[str, str], str]

_CONNSTR = re.compile(r"\bhost=[a-z]\w* [^\"'`\n]*?dbname=\w+[^\"'`\n]*")


class Page:
    """One page and what it has left behind so far: files, databases, a namespace.

    ``folder``: where its files are written, the current directory while it runs.
    ``exact``: whether numbers in commands' outputs have to be those that are shown.
    """

    def __init__(
        self, path: Path, folder: Path, place: Place, *, exact: bool = True
    ) -> None:
        self.path = path
        self.folder = folder
        self.exact = exact
        self.namespace = ModuleType("page")
        self._place = place
        self._stdout = io.StringIO()
        self._files: list[str] = []
        self._status = 0
        text = path.read_text(encoding="utf-8")
        self._headings = [
            (text.count("\n", 0, found.start()) + 1, found[1])
            for found in re.finditer(r"^##+ (.+)$", text, re.MULTILINE)
        ]
        self.connstrs = {shown: self._real(shown) for shown in _CONNSTR.findall(text)}
        # For who sets them up, whoever the page connects as. A host's name stands for
        # its first database, a database's for that of the first host.
        self._databases: dict[str, str] = {}
        for given in map(conninfo_to_dict, self.connstrs):
            host, dbname = str(given["host"]), str(given["dbname"])
            for name in (dbname, host) if dbname != "postgres" else ():
                self._databases.setdefault(name, place(host, dbname))

    def __enter__(self) -> Page:
        self._patch = pytest.MonkeyPatch()
        self._patch.chdir(self.folder)
        self._patch.syspath_prepend(self.folder)
        for name in ("sql", "examples"):
            (self.folder / name).symlink_to(ROOT / name)
        # typing.get_type_hints looks for a class's module here.
        sys.modules[self.namespace.__name__] = self.namespace
        return self

    def __exit__(self, *error: object) -> None:
        self._patch.undo()
        values = [*vars(self.namespace).values()]
        for name in ("page", *self._files):
            values += vars(sys.modules.pop(name, self.namespace)).values()
        for value in {id(value): value for value in values}.values():
            # By type: what is lazy would have to be made, to tell its class.
            if issubclass(type(value), (Router, psycopg.Connection)):
                value.close()
            elif issubclass(type(value), AsyncRouter):
                asyncio.run(value.close())

    def run(self, section: str | None = None) -> None:
        """Run the page, or what stands under one of its headings."""
        found = self.snippets(section)
        assert found, f"{self.path.name} has nothing under {section!r}"
        for snippet in found:
            self.run_block(snippet)
        if section is None:
            assert self._stdout.getvalue() == "", "output that the page does not show"

    def run_block(self, snippet: Snippet, text: str | None = None) -> None:
        """Run one block, or another text in its place."""
        run = getattr(self, f"_run_{snippet.language}")
        run(snippet.text if text is None else text, snippet.line)

    def snippets(self, section: str | None = None) -> list[Snippet]:
        """Return the blocks, all or those under a heading."""
        found = read_snippets(self.path)
        if section is None:
            return found
        return [s for s in found if self._heading(s.line) == section]

    def connect(self, dbname: str) -> psycopg.Connection[tuple[object, ...]]:
        """Connect to a database of the page, in autocommit."""
        return psycopg.connect(self._databases[dbname], autocommit=True)

    def shown(self, text: str) -> str:
        """Return a program's text with the page's names for databases."""
        names: dict[str, str] = {}
        for shown, real in self.connstrs.items():
            target, page = parse_connstr(real), parse_connstr(shown)
            names = {target.redacted: page.redacted, target.label: page.label} | names
        for name in sorted(names, key=len, reverse=True):
            text = text.replace(name, names[name])
        return text

    def _heading(self, line: int) -> str:
        above = [heading for at, heading in self._headings if at < line]
        return above[-1] if above else ""

    def _real(self, shown: str) -> str:
        given = {key: str(value) for key, value in conninfo_to_dict(shown).items()}
        host, dbname = given.pop("host"), given.pop("dbname")
        given.pop("port", None)
        real = conninfo_to_dict(self._place(host, dbname))
        if "user" in given:
            real.pop("password", None)
        return make_conninfo("", **{**real, **given})

    def _with_places(self, text: str, quote: Callable[[str], str]) -> str:
        def placed(found: re.Match[str]) -> str:
            if found[0] not in self.connstrs:
                self.connstrs[found[0]] = self._real(found[0])
            return quote(self.connstrs[found[0]])

        return _CONNSTR.sub(placed, text)

    def _run_python(self, text: str, line: int) -> None:
        text = self._with_places(text, _in_double_quotes)
        named = FILE.match(text)
        with contextlib.redirect_stdout(self._stdout):
            if named:
                self._write(named[1], text)
                *folder, _ = module = Path(named[1]).with_suffix("").parts
                name = ".".join(module)
                self._files += [*folder, name]
                sys.modules.pop(name, None)
                importlib.invalidate_caches()
                vars(self.namespace).update(
                    (name, value)
                    for name, value in vars(importlib.import_module(name)).items()
                    if not name.startswith("__")
                )
                return
            code = compile("\n" * (line - 1) + text, str(self.path), "exec")
            exec(code, vars(self.namespace))

    def _run_text(self, text: str, line: int) -> None:
        written, self._stdout = self.shown(self._stdout.getvalue()), io.StringIO()
        self._compare(text, written, line)

    def _run_sql(self, text: str, line: int) -> None:
        if named := re.match(r"-- (\w+\.sql)\n", text):
            self._write(named[1], text)
            return
        first, _, _ = text.partition("\n")
        databases = self._named_databases(first)
        assert databases, f"line {line}: on which databases?"
        text = self._with_places(text, lambda real: real.replace("'", "''"))
        for dbname in databases:
            with self.connect(dbname) as conn:
                conn.execute(text.encode())

    def _named_databases(self, comment: str) -> list[str]:
        if "every partition" in comment:
            return [name for name in self._databases if re.fullmatch(r"part\d+", name)]
        if several := re.search(r"\b(\w+?)(\d+) to \1(\d+)\b", comment):
            prefix, first, last = several.groups()
            numbers = range(int(first), int(last) + 1)
            return [f"{prefix}{n:0{len(first)}}" for n in numbers]
        return [word for word in re.findall(r"\w+", comment) if word in self._databases]

    def _run_toml(self, text: str, line: int) -> None:
        named = FILE.match(text)
        assert named, f"line {line}: which file is it?"
        self._write(named[1], self._with_places(text, _in_double_quotes))
        if named[1] == "plproxy.toml":
            self._patch.setenv("PLPROXY_CONFIG", str(self.folder / named[1]))

    def _run_ini(self, text: str, line: int) -> None:
        """Leave it to the page's own test, which starts what it configures."""

    def _write(self, name: str, text: str) -> None:
        # In one step, as an operator should: a router may look at any moment.
        new = self.folder / f"{name}.new"
        new.parent.mkdir(exist_ok=True)
        new.write_text(text, encoding="utf-8")
        new.replace(self.folder / name)

    def _run_console(self, text: str, line: int) -> None:
        written = ""
        for command, shown in commands(text):
            if command == "echo $?":
                assert shown.strip() == str(self._status), f"line {line}: {command}"
                self._status = 0
                continue
            assert self._status == 0, f"line {line}: before {command}\n{written}"
            written = self._run_command(command)
            if shown:
                self._compare(shown, self.shown(written), line, exact=self.exact)
        assert self._status == 0, f"line {line}: {written}"

    def _run_command(self, command: str) -> str:
        real = self._with_places(command, _in_double_quotes)
        if real.startswith("plproxy ") and "|" not in real:
            words = shlex.split(real.replace("\\\n", " "))[1:]
            result = CliRunner().invoke(main, words, prog_name="plproxy")
            self._status = result.exit_code
            return result.output
        paths = [str(find_bindir()), str(Path(sys.executable).parent)]
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail\n{real}"],
            capture_output=True,
            encoding="utf-8",
            env={**os.environ, "PATH": os.pathsep.join([*paths, os.environ["PATH"]])},
            timeout=60,
        )
        self._status = done.returncode
        return done.stdout + done.stderr

    def _compare(
        self, shown: str, written: str, line: int, *, exact: bool = True
    ) -> None:
        pattern = re.escape(_squeezed(shown)).replace("…", ".*")
        if not exact:
            pattern = re.sub(r"\d+", r"\\d+", pattern)
        pattern = pattern.replace(re.escape("[...]\n"), "(?:.*\n)*")
        assert re.fullmatch(pattern, _squeezed(written)), (
            f"{self.path.name}, line {line}: shown\n{shown}\nwritten\n{written}"
        )


def _in_double_quotes(text: str) -> str:
    return json.dumps(text)[1:-1]


def _squeezed(text: str) -> str:
    lines = [re.sub(r" +", " ", line.strip()) for line in text.splitlines()]
    return "".join(f"{line}\n" for line in lines)


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a console block, and what stands below it."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines(keepends=True)
        end = next(n for n, one in enumerate(lines, 1) if not one.endswith("\\\n"))
        yield "".join(lines[:end]).strip(), "".join(lines[end:])
