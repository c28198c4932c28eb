"""`titans-seq workflows`: list the Snakemake workflows that ship with the package, and copy one out."""

from __future__ import annotations

from pathlib import Path

import click


@click.group("workflows")
def command() -> None:
    """List or copy Snakemake workflows, for many genomes or tables at once."""


@command.command("ls")
def list_workflows() -> None:
    """List the workflows, with what each is for."""
    from titans_seq.config.workflows import workflow_names, workflow_purpose

    names = workflow_names()
    width = max(map(len, names), default=0)
    for name in names:
        click.echo(f"{name:<{width}}  {workflow_purpose(name)}")


@command.command("cp")
@click.argument("name")
@click.argument("target", type=click.Path(path_type=Path))
def copy(name: str, target: Path) -> None:
    """Copy a workflow to the new folder TARGET, to be configured and run there.

    \b
    titans-seq workflows cp annotate_genomes project
    cd project && snakemake --profile workflow/profiles/local
    """
    from titans_seq.config.workflows import copy_workflow

    folder = copy_workflow(name, target)
    click.echo(f"{folder}: edit config/config.yaml, then snakemake --profile workflow/profiles/local")
