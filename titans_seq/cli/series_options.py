"""The options with which every command reads a table of series."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from titans_seq.timeseries import TableOptions

_OPTIONS = (
    click.option("--id-col", help="Column that tells the series apart."),
    click.option("--time-col", help="Column of the time stamps."),
    click.option("--target-col", "target_cols", multiple=True, help="Column of numbers to model; may be repeated."),
    click.option("--wide", is_flag=True, help="Every column of numbers is a series."),
    click.option("--freq", help="Step of the clock: 15m, 1h, 1d, 1bd, 1w, 1mo, 1q, 1y; rows counts rows instead."),
    click.option("--time-zone", help="Zone of stamps written without one, e.g. Europe/Berlin."),
    click.option("--time-format", help="Format of the stamps, e.g. '%d.%m.%y %H:%M'."),
    click.option("--decimal-comma", is_flag=True, help="Numbers are written 3,14."),
    click.option(
        "--duplicates",
        type=click.Choice(["refuse", "first", "last", "mean"]),
        default="refuse",
        show_default=True,
        help="Two rows of the same series and time.",
    ),
    click.option(
        "--off-clock",
        type=click.Choice(["refuse", "nearest", "drop"]),
        default="refuse",
        show_default=True,
        help="Rows that stand beside the clock: move each to its nearest row, or leave them out.",
    ),
)
_NAMES = (
    "id_col", "time_col", "target_cols", "wide", "freq", "time_zone", "time_format", "decimal_comma", "duplicates",
    "off_clock",
)  # fmt: skip


def learning_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of commands that learn from a table: columns known in advance, and how much is looked at."""
    most = click.option(
        "--max-rows",
        type=click.IntRange(min=0),
        default=1_000_000,
        show_default=True,
        help="Newest rows of all series together that are looked at; 0 for all.",
    )
    covariate = click.option(
        "--covariate",
        "covariates",
        multiple=True,
        help="Column known in advance, or the same throughout a series; may be repeated.",
    )
    minutes = click.option(
        "--minutes",
        type=click.FloatRange(min=0, min_open=True),
        help="What training may take at most; then the best found so far ships.  [default: 10]",
    )
    return covariate(most(minutes(command)))


def table_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def take_table(options: dict[str, Any]) -> TableOptions:
    """Take the options out of a command's keywords and give them as one object."""
    from titans_seq.timeseries import TableOptions

    given = {name: options.pop(name) for name in (*_NAMES, "covariates", "max_rows") if name in options}
    return TableOptions(**given)
