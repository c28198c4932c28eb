"""Commands that read genomes and tables of series alike: which of the two was given, and which options go with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click
from click.core import ParameterSource

from titans_seq.cli.series_options import table_options

TABLES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".pq", ".parq")
_OF_TABLES = (
    "id_col", "time_col", "target_cols", "wide", "freq", "time_zone", "time_format", "decimal_comma", "duplicates",
    "off_clock", "train",
)  # fmt: skip


def series_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of tables, and the one that trains on one."""
    train = click.option("--train", type=click.IntRange(0), default=0, metavar="STEPS",
                         help="Train on the table first, and write the model to --model.")  # fmt: skip
    return table_options(train(command))


def is_table(names: Sequence[str]) -> bool:
    """Whether a table of series was given, by the name's ending."""
    return len(names) == 1 and names[0].lower().endswith(TABLES)


def take_series(ctx: click.Context, options: dict[str, Any], *, of_genomes: Sequence[str]) -> bool:
    """Whether a table was given; the options that belong to the other kind of input are taken out.

    Raises
    ------
    ConfigError
        One of them was given, or a genome without a model.
    """
    from titans_seq.errors import ConfigError

    series = is_table(options["inputs"])
    foreign = of_genomes if series else _OF_TABLES
    for parameter in ctx.command.params:
        name = parameter.name or ""
        if name in foreign and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            kind = "a table of series" if series else "a genome"
            raise ConfigError(f"{parameter.opts[-1]} says nothing about {kind} ({', '.join(options['inputs'])})")
    for name in foreign:
        del options[name]
    if not series and options["model"] is None:
        raise ConfigError("a genome needs --model, a run of train-dna")
    return series
