"""`titans-seq completion`: the shell script that completes commands and options."""

from __future__ import annotations

import click


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell.

    \b
    bash:  eval "$(titans-seq completion bash)"      in ~/.bashrc
    zsh:   eval "$(titans-seq completion zsh)"       in ~/.zshrc
    fish:  titans-seq completion fish > ~/.config/fish/completions/titans-seq.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    maker = kind(ctx.find_root().command, {}, "titans-seq", "_TITANS_SEQ_COMPLETE")
    # click's bash class asks the installed bash for its version first; the script itself needs no bash here.
    click.echo(maker.source_template % maker.source_vars())
