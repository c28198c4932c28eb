"""`titans-seq presets`: list, show and copy the configurations that ship with the package."""

from __future__ import annotations

from pathlib import Path

import click


@click.group("presets")
def command() -> None:
    """List, show or copy presets."""


@command.command("ls")
def list_presets() -> None:
    """List the presets, with what each is for."""
    from titans_seq.config import preset_header, preset_names, preset_text

    names = preset_names()
    width = max(map(len, names), default=0)
    for name in names:
        header = preset_header(preset_text(name))
        click.echo(f"{name:<{width}}  {header[0].partition(': ')[2] or header[0] if header else ''}")


@command.command("show")
@click.argument("name")
def show_preset(name: str) -> None:
    """Print a preset as it ships."""
    from titans_seq.config import preset_text

    click.echo(preset_text(name), nl=False)


@command.command("cp")
@click.argument("name")
@click.argument("target", type=click.Path(path_type=Path))
def copy(name: str, target: Path) -> None:
    """Copy a preset to TARGET, to be edited and given to --preset."""
    from titans_seq.config import copy_preset

    click.echo(copy_preset(name, target))
