"""docs/cli.md shows the help of every command as it is.

After a change of the help, ``python -m tests.unit.test_cli_docs`` writes it anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import click
from click.testing import CliRunner

from plproxy_py.cli import main
from tests.snippets import ROOT

DOCUMENT = ROOT / "docs" / "cli.md"
BLOCK = re.compile(
    r"(?<=^```console\n)\$ plproxy ([^\n]*--help)\n.*?(?=^```$)", re.M | re.S
)


def with_real_help(text: str) -> str:
    """Return the document with each help as the command prints it."""
    return BLOCK.sub(lambda block: f"$ plproxy {block[1]}\n{help_of(block[1])}", text)


def help_of(arguments: str) -> str:
    result = CliRunner().invoke(
        main, arguments.split(), prog_name="plproxy", terminal_width=80
    )
    assert result.exit_code == 0
    return result.stdout


def test_the_document_shows_the_real_help() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text == with_real_help(text)


def commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield all commands with their words, those of groups as well."""
    for name, command in group.commands.items():
        yield f"{prefix}{name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")


def test_the_documents_have_every_command() -> None:
    """Those of a group stand on the page of their subject."""
    text = DOCUMENT.read_text(encoding="utf-8")
    text += (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    shown = {block[1] for block in BLOCK.finditer(text)}
    assert shown == {"--help", *(f"{words} --help" for words, _ in commands(main))}


def test_every_option_has_a_help() -> None:
    for words, command in [("", main), *commands(main)]:
        for option in command.params:
            if option.param_type_name == "option":
                assert getattr(option, "help", None), (words, option.name)


if __name__ == "__main__":
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(with_real_help(text), encoding="utf-8")
