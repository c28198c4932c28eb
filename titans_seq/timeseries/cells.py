"""Text cells to time stamps and numbers; null where a cell cannot be read."""

from __future__ import annotations

from typing import Final

import polars as pl

MISSING: Final = ("", "na", "n/a", "nan", "null", "none", "nil", "-", "?", ".")
"""Words for a missing number, in lower case."""
LARGEST: Final = 1e100
"""Sums of squares of larger numbers leave double precision."""

_CLOCK: Final = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S%.f")
_DAY: Final = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%d-%b-%Y", "%b %d %Y", "%Y%m%d")
READINGS: Final[dict[str, tuple[str, ...]]] = {
    **{day: tuple(day + clock for clock in _CLOCK) for day in _DAY},
    "%Y-%m-%d with an offset": tuple("%Y-%m-%d" + clock + "%#z" for clock in _CLOCK[1:]),
    "%Y-%m": ("%Y-%m-%d",),
    "%Y%m%d%H%M": ("%Y%m%d%H%M", "%Y%m%d%H%M%S"),
}
"""Readings of a time column by name: the formats a single column may mix (a date and a date with a time)."""

_PLAIN_NUMBER: Final = r"^[+-]?(\d{1,7}|\d*[.,]\d*)$"
"""No stamp is written like this: the shortest one without a mark between its parts is 20240131."""
WITH_OFFSET: Final = "%Y-%m-%d with an offset"


def read_times(cells: pl.Series, reading: str) -> pl.Series:
    """Read text as microseconds since 1970 under one of `READINGS`, or under a format of the user's.

    Null where a cell is no such stamp.
    """
    text = pl.DataFrame({"cell": cells}).select(_stamp_text(reading)).to_series()
    first = text.drop_nulls().head(1)
    # The format of the first cell comes first: it mostly is that of all of them, and the others need no try.
    formats = sorted(_formats(reading), key=lambda form: first.str.to_datetime(form, strict=False).null_count())
    found = _parsed(text, formats[0])
    for form in formats[1:]:
        if found.null_count() == cells.null_count():
            break
        missing = found.is_null()
        found = found.scatter(missing.arg_true(), _parsed(text.filter(missing), form))
    return found


def _parsed(text: pl.Series, form: str) -> pl.Series:
    return text.str.to_datetime(form, time_unit="us", strict=False).dt.epoch("us")


def _formats(reading: str) -> tuple[str, ...]:
    if reading == WITH_OFFSET:
        return tuple(form.replace("%#z", " %:z") for form in READINGS[reading])
    return READINGS.get(reading, (reading,))


def _stamp_text(reading: str) -> pl.Expr:
    """Bring the column ``cell`` into the spelling of `_formats`; null where it cannot be."""
    stripped = pl.col("cell").str.strip_chars()
    if reading not in READINGS:
        return stripped
    text = stripped.str.replace("T", " ", literal=True)
    if reading == WITH_OFFSET:
        text = text.str.replace(r" ?([+-]\d\d):?(\d\d)?$", " ${1}:${2}").str.replace(r":$", ":00")
        return text.str.replace(r" ?Z$", " +00:00")
    if reading == "%Y-%m":
        return pl.when(text.str.contains(r"^\d{4}-\d{1,2}$")).then(text + "-01")
    if reading == "%Y%m%d":
        return pl.when(text.str.contains(r"^(1[6-9]|20)\d{6}( |$)")).then(text)
    if reading == "%Y%m%d%H%M":
        return pl.when(text.str.contains(r"^(1[6-9]|20)\d{10}(\d\d)?$")).then(text)
    return text


def readings_that_fit(cells: pl.Series) -> list[str]:
    """Name the readings under which every non-empty cell is a stamp."""
    known = cells.drop_nulls()
    known = known.filter(known.str.strip_chars() != "")
    if known.head(5).str.strip_chars().str.contains(_PLAIN_NUMBER).any():
        return []  # of a thousand columns most are numbers, and a dozen tries of each would cost a minute
    # Fewer rows first: most readings fail at once.
    fits = [name for name in READINGS if not read_times(known.head(5), name).null_count()]
    return [name for name in fits if not read_times(known, name).null_count()] if len(known) else []


def is_missing(cells: pl.Series) -> pl.Series:
    """Tell text cells that stand for a missing value."""
    return cells.is_null() | cells.str.strip_chars().str.to_lowercase().is_in(list(MISSING))


def read_numbers(cells: pl.Series, *, decimal_comma: bool) -> pl.Series:
    """Read cells as numbers, null where there is none; with ``decimal_comma``, the text ``1.234,5`` is 1234.5."""
    if cells.dtype != pl.String:
        return cells.cast(pl.Float64).fill_nan(None)
    text = cells.str.strip_chars()
    if decimal_comma:
        text = text.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
    return text.cast(pl.Float64, strict=False).fill_nan(None)


def unreadable(cells: pl.Series, numbers: pl.Series) -> pl.Series:
    """Tell cells that are neither missing nor a number whose square is one."""
    infinite = (numbers.abs() > LARGEST).fill_null(value=False)
    if not numbers.null_count():
        return infinite
    known = ~is_missing(cells) if cells.dtype == pl.String else cells.cast(pl.Float64).fill_nan(None).is_not_null()
    return infinite | (known & numbers.is_null())
