"""Which column is the id, the time, the targets: given by the user, or guessed from names and a look at some rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from titans_seq.errors import InputFileError, unknown_name
from titans_seq.timeseries.cells import is_missing, read_numbers, read_times, readings_that_fit

TIME_NAMES: Final = ("ds", "timestamp", "datetime", "date", "time", "date_time", "stamp")
ID_NAMES: Final = ("unique_id", "item_id", "series_id", "id", "series", "key")
TARGET_NAMES: Final = ("y", "target", "value", "values")
_INDEX_NAMES: Final = ("t", "step", "index", "period", "year", "day", "hour", "row")


@dataclass(frozen=True, slots=True)
class Columns:
    """The part each column plays.

    Attributes
    ----------
    id, time
        Name of the id column (None without one) and of the time column.
    targets, covariates
        Names of number columns.
    readings
        Ways to read the time column's text, best first; empty where it is no text.
    integers
        Whether the time column is an index of plain integers.
    ignored
        Columns that play no part.
    """

    id: str | None
    time: str
    targets: tuple[str, ...]
    covariates: tuple[str, ...]
    readings: tuple[str, ...]
    integers: bool
    ignored: tuple[str, ...]

    def describe(self) -> str:
        """Say in one sentence what was taken for what."""
        parts = [f"time {self.time!r}", f"id {self.id!r}" if self.id is not None else "one series per target column"]
        shown = ", ".join(map(repr, self.targets[:8])) + (" ..." if len(self.targets) > 8 else "")
        parts.append(f"target{'s' if len(self.targets) > 1 else ''} {shown}")
        if self.covariates:
            parts.append("covariates " + ", ".join(map(repr, self.covariates)))
        if self.ignored:
            parts.append("not used: " + ", ".join(map(repr, self.ignored)))
        return "columns: " + "; ".join(parts)


def choose_columns(
    sample: pl.DataFrame,
    path: Path,
    *,
    lines: pl.Series,
    id_col: str | None = None,
    time_col: str | None = None,
    target_cols: tuple[str, ...] = (),
    covariates: tuple[str, ...] = (),
    wide: bool = False,
    time_format: str | None = None,
    decimal_comma: bool = False,
) -> Columns:
    """Decide what each column is from the first rows of a table, which stand in ``lines`` of the file.

    Raises
    ------
    InputFileError
        No time column, or two that could be it; no numbers; several text columns that could be the id.
    UnknownNameError
        A column the user named is not there.
    """
    for name in (id_col, time_col, *target_cols, *covariates):
        if name is not None and name not in sample.columns:
            raise unknown_name(f"column of {path}:", name, sample.columns)
    taken = {name for name in (id_col, *target_cols, *covariates) if name is not None}
    time, readings, integers = _time_column(sample, path, lines, time_col, taken=taken, time_format=time_format)
    free = [name for name in sample.columns if name != time and name not in taken]
    numbers = [name for name in free if _looks_numeric(sample, name, decimal_comma=decimal_comma)]
    if id_col is None:
        id_col = _id_column(sample, path, [name for name in free if name not in numbers], numbers)
    numbers = [name for name in numbers if name != id_col]
    if not target_cols:
        target_cols = _targets(numbers, wide=wide or id_col is None)
    if not target_cols:
        raise InputFileError(
            path, expected="a column of numbers beside the time", found=_some(sample.columns),
            hint="give --decimal-comma if numbers are written 3,14, or name it by --target-col",
        )  # fmt: skip
    ignored = tuple(n for n in sample.columns if n not in {id_col, time, *target_cols, *covariates})
    return Columns(id_col, time, tuple(target_cols), tuple(covariates), readings, integers, ignored)


def _time_column(
    sample: pl.DataFrame, path: Path, lines: pl.Series, wanted: str | None, *, taken: set[str], time_format: str | None
) -> tuple[str, tuple[str, ...], bool]:
    """Find the time column and the ways to read it."""
    if wanted is not None:
        readings, integers = _reading_of(sample, wanted, time_format)
        if not readings and not integers and sample[wanted].dtype == pl.String:
            _refuse_stranger(sample, path, lines, [wanted], time_format)
            examples = ", ".join(map(repr, sample[wanted].drop_nulls().head(2).to_list()))
            raise InputFileError(
                path, problem=f"column {wanted!r}", expected="time stamps", found=examples,
                hint="give --time-format, e.g. '%d.%m.%y %H:%M'",
            )  # fmt: skip
        return wanted, readings, integers
    found = {}
    for name in sample.columns:
        if name in taken:
            continue
        readings, integers = _reading_of(sample, name, time_format)
        if readings or (sample[name].dtype.is_temporal() and not integers):
            found[name] = (readings, False)
        elif integers and name.lower() in (*TIME_NAMES, *_INDEX_NAMES):
            found[name] = ((), True)
    stamps = {name: how for name, how in found.items() if not how[1]} or found
    usual = [name for name in stamps if name.lower() in TIME_NAMES]
    # A column named `ds` wins over one named `date`, and any of them over one with a name of its own.
    names = usual if len(stamps) > 1 and usual else list(stamps)
    if len(names) > 1 and names[0].lower() == "ds":
        names = names[:1]
    if not names:
        free = [name for name in sample.columns if name not in taken and sample[name].dtype == pl.String]
        _refuse_stranger(sample, path, lines, free, time_format)
        hint = "correct --time-format" if time_format else "name it by --time-col (and --time-format)"
        if all(read_numbers(pl.Series([name]), decimal_comma=False).count() for name in sample.columns):
            hint = "the first line holds numbers: give the table a header and a column of times"
        raise InputFileError(
            path, problem="no time column", found=_some(sample.columns), hint=hint,
            expected="a column of dates or times" + (f" in the format {time_format!r}" if time_format else ""),
        )  # fmt: skip
    if len(names) > 1:
        raise InputFileError(
            path, problem=f"{' and '.join(map(repr, names[:3]))} could both be the time", hint="name one by --time-col"
        )
    return names[0], *stamps[names[0]]


def _refuse_stranger(
    sample: pl.DataFrame, path: Path, lines: pl.Series, names: list[str], time_format: str | None
) -> None:
    """Refuse the first cell that is no stamp in a column that begins with stamps; nothing where none does.

    Raises
    ------
    InputFileError
        With its line.
    """
    for name in names:
        cells = sample[name]
        readings = readings_that_fit(cells.head(2)) if time_format is None else [time_format]
        fits = [read_times(cells, reading).is_not_null() for reading in readings]
        # The reading that goes furthest: a day-first date fits the month-first one for a while.
        begun = [(int(fit.arg_min() or 0), reading) for fit, reading in zip(fits, readings, strict=True) if fit[0]]
        if begun:
            row, reading = max(begun)
            raise InputFileError(
                path, int(lines[row]), problem=f"column {name!r}", expected=f"a stamp like those before it ({reading})",
                found=repr(cells[row]),
                hint="mixed formats, or stamps with and without a zone, cannot be told apart",
            )  # fmt: skip


def _reading_of(sample: pl.DataFrame, name: str, time_format: str | None) -> tuple[tuple[str, ...], bool]:
    column = sample[name]
    if column.dtype.is_integer():
        return (), True
    if column.dtype != pl.String:
        return (), False
    if time_format is not None:
        fits = pl.Series(column.drop_nulls()).str.strip_chars().str.to_datetime(time_format, strict=False)
        return ((time_format,) if len(fits) and fits.is_not_null().all() else ()), False
    fits_of = tuple(readings_that_fit(column))
    cells = column.drop_nulls().str.strip_chars()
    if not fits_of and len(cells) and cells.str.contains(r"^-?\d{1,18}$").all():
        return (), True
    return fits_of, False


def _looks_numeric(sample: pl.DataFrame, name: str, *, decimal_comma: bool) -> bool:
    dtype = sample[name].dtype
    if dtype.is_numeric() or dtype == pl.Boolean:
        return True
    if dtype != pl.String:
        return False
    known = (~is_missing(sample[name])).sum()
    numbers = read_numbers(sample[name], decimal_comma=decimal_comma).count()
    return bool(2 * numbers >= known)


def _id_column(sample: pl.DataFrame, path: Path, texts: list[str], numbers: list[str]) -> str | None:
    for name in ID_NAMES[:3]:
        for column in (*texts, *numbers):
            if column.lower() == name:
                return column
    named = [name for name in texts if name.lower() in ID_NAMES]
    candidates = named[:1] or [name for name in texts if sample[name].dtype == pl.String]
    if len(candidates) > 1:
        raise InputFileError(
            path, problem=f"columns {', '.join(map(repr, candidates[:4]))} hold text",
            hint="name the one that tells the series apart by --id-col",
        )  # fmt: skip
    return candidates[0] if candidates else None


def _some(names: list[str]) -> str:
    """List names, at most ten of them."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10:,} more" if len(names) > 10 else "")


def _targets(numbers: list[str], *, wide: bool) -> tuple[str, ...]:
    named = [name for name in numbers if name.lower() in TARGET_NAMES]
    if named:
        return (named[0],)
    return tuple(numbers) if wide else tuple(numbers[:1])
