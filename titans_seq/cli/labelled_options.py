"""The options by which three commands say how labelled sequences are read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

_OPTIONS = (
    click.option("--genome", metavar="FASTA", help="Read the sources as BED intervals of this genome."),
    click.option("--sequence-column", metavar="NAME", help="Column of the sequence.  [default: sequence]"),
    click.option("--label-column", metavar="NAME", help="Column of the label; of BED a number from 1, or its name."),
    click.option("--name-column", metavar="NAME", help="Column of the name.  [default: name]"),
    click.option("--columns", metavar="A,B,...", help="Columns of a table that has no header line."),
    click.option("--split-column", metavar="NAME", help="Column that says train, dev or test."),
    click.option("--positive", metavar="CLASS", help="Of two classes the one that is looked for."),
    click.option("--conflicts", type=click.Choice(["refuse", "drop"]), help="Sequences with two labels."),
)


def labelled_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of `data_overrides`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def data_overrides(options: dict[str, Any]) -> list[str]:
    """Write the options that were given as assignments: ``--label-column y`` is ``data.label_column="y"``."""
    keys = ("sequence_column", "label_column", "name_column", "split_column", "positive", "conflicts")
    found = [f"data.{key}={json.dumps(options[key])}" for key in keys if options[key] is not None]
    if options["columns"] is not None:
        names = [name.strip() for name in options["columns"].split(",")]
        found.append(f"data.columns={json.dumps(names)}")
    return found
