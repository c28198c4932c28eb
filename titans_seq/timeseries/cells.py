"""Text cells to time stamps and numbers, as polars expressions that leave null where a cell cannot be read."""

from __future__ import annotations

from typing import Final

import polars as pl

MISSING: Final = ("", "na", "n/a", "nan", "null", "none", "nil", "-", "?", ".")
"""Words for a missing number, in lower case."""

_CLOCK: Final = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S%.f")
_DAY: Final = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%d-%b-%Y", "%b %d %Y", "%Y%m%d")
READINGS: Final[dict[str, tuple[str, ...]]] = {
    **{day: tuple(day + clock for clock in _CLOCK) for day in _DAY},
    "%Y-%m-%d with an offset": tuple("%Y-%m-%d" + clock + "%#z" for clock in _CLOCK[1:]),
    "%Y-%m": ("%Y-%m-%d",),
    "%Y%m%d%H%M": ("%Y%m%d%H%M", "%Y%m%d%H%M%S"),
}
"""Readings of a time column by name: the formats a single column may mix (a date and a date with a time)."""

WITH_OFFSET: Final = "%Y-%m-%d with an offset"


def time_cells(column: str, reading: str) -> pl.Expr:
    """Read text as microseconds since 1970 under one of `READINGS`, or under a format of the user's."""
    text = pl.col(column).str.strip_chars().str.replace("T", " ", literal=True)
    if reading == WITH_OFFSET:
        text = text.str.replace(r" ?([+-]\d\d):?(\d\d)?$", " ${1}:${2}").str.replace(r":$", ":00")
        text = text.str.replace(r" ?Z$", " +00:00")
        formats: tuple[str, ...] = tuple(form.replace("%#z", " %:z") for form in READINGS[reading])
    elif reading == "%Y-%m":
        text = pl.when(text.str.contains(r"^\d{4}-\d{1,2}$")).then(text + "-01")
        formats = READINGS[reading]
    elif reading == "%Y%m%d":
        text = pl.when(text.str.contains(r"^(1[6-9]|20)\d{6}( |$)")).then(text)
        formats = READINGS[reading]
    elif reading == "%Y%m%d%H%M":
        text = pl.when(text.str.contains(r"^(1[6-9]|20)\d{10}(\d\d)?$")).then(text)
        formats = READINGS[reading]
    else:
        formats = READINGS.get(reading, (reading,))
        if reading not in READINGS:
            text = pl.col(column).str.strip_chars()
    parsed = [text.str.to_datetime(form, time_unit="us", strict=False) for form in formats]
    return pl.coalesce([cell.dt.epoch("us") for cell in parsed])


def readings_that_fit(cells: pl.Series) -> list[str]:
    """Name the readings under which every non-empty cell is a stamp."""
    frame = pl.DataFrame({"cell": cells.drop_nulls()}).filter(pl.col("cell").str.strip_chars() != "")
    if frame.is_empty():
        return []
    fits = []
    for reading in READINGS:
        # Fewer rows first: most readings fail at once.
        if frame.head(5).select(time_cells("cell", reading).is_not_null().all()).item() and frame.select(
            time_cells("cell", reading).is_not_null().all()
        ).item():  # fmt: skip
            fits.append(reading)
    return fits


def is_missing(column: str) -> pl.Expr:
    """Tell cells that stand for a missing value."""
    text = pl.col(column).str.strip_chars().str.to_lowercase()
    return pl.col(column).is_null() | text.is_in(list(MISSING))


def number_cells(column: str, *, decimal_comma: bool) -> pl.Expr:
    """Read text as numbers; with ``decimal_comma``, ``1.234,5`` is 1234.5."""
    text = pl.col(column).str.strip_chars()
    if decimal_comma:
        text = text.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
    return pl.when(is_missing(column)).then(None).otherwise(text.cast(pl.Float64, strict=False))
