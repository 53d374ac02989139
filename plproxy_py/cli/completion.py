"""The command that prints a shell's completion script."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_NAME = "plproxy"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands in a shell.

    Commands, options, and the names of clusters and functions in the config file are
    completed. The script calls plproxy, and opens no connection. It goes here:

    \b
    bash   plproxy completion bash > ~/.local/share/bash-completion/completions/plproxy
           with the package bash-completion; without it, a line in ~/.bashrc:
           eval "$(plproxy completion bash)"
    zsh    plproxy completion zsh > ~/.zfunc/_plproxy
           and in ~/.zshrc: fpath+=~/.zfunc; autoload -Uz compinit; compinit
    fish   plproxy completion fish > ~/.config/fish/completions/plproxy.fish

    A shell that is open already knows of it once it is started anew.
    """
    kind = get_completion_class(shell)
    assert kind is not None
    made = kind(ctx.find_root().command, {}, _NAME, f"_{_NAME.upper()}_COMPLETE")
    # Not source(), which warns where the bash of this machine is too old: the script
    # may be for another.
    click.echo(made.source_template % made.source_vars())
