"""``completion``: the script that a shell loads."""

from __future__ import annotations

import click


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of a shell.

    \b
      bash:  productsearch completion bash >> ~/.bashrc
      zsh:   productsearch completion zsh > "${fpath[1]}/_productsearch"
      fish:  productsearch completion fish > ~/.config/fish/completions/productsearch.fish
    """
    from click.shell_completion import get_completion_class

    from productsearch.cli.main import PROGRAM, cli

    script = get_completion_class(shell)
    if script is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(script(cli, {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE").source())
