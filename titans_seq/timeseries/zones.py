"""Wall time to UTC and back, the two hours a year at which they disagree included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from titans_seq.errors import ConfigError, InputFileError
from titans_seq.timeseries.clock import Clock, Ticks


def local_to_utc(
    ticks: Ticks, zone: str, *, lines: NDArray[np.int64], groups: NDArray[np.uint32] | None, path: Path
) -> Ticks:
    """Give the UTC of wall times.

    An hour that exists twice (clocks go back) is taken as the first one when it comes first in its series and as the
    second one when it comes again. An hour that does not exist (clocks go forward) is refused.

    Parameters
    ----------
    lines
        Line of each row in the file, for messages.
    groups
        A number for each row's series; None where there is one series.
    """
    wall = pl.DataFrame({"wall": ticks, "group": groups if groups is not None else np.zeros(len(ticks), np.uint32)})
    stamp = pl.col("wall").cast(pl.Datetime("us"))
    again = pl.col("wall").cum_count().over("group", "wall") > 1
    try:
        found = wall.select(
            pl.when(again)
            .then(stamp.dt.replace_time_zone(zone, ambiguous="latest", non_existent="null"))
            .otherwise(stamp.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null"))
            .dt.epoch("us")
            .alias("utc")
        )["utc"]
    except pl.exceptions.PolarsError:
        raise ConfigError(f"--time-zone {zone!r}: no such zone; expected a name such as Europe/Berlin or UTC") from None
    if found.null_count():
        at = int(found.is_null().arg_max() or 0)
        stamp_text = str(np.datetime64(int(ticks[at]), "us").astype("M8[s]")).replace("T", " ")
        raise InputFileError(
            path, int(lines[at]), problem=f"{stamp_text} does not exist in {zone} (clocks go forward there)",
            hint="correct the stamp, or leave --time-zone out",
        )  # fmt: skip
    return found.to_numpy()


def wall_time(ticks: Ticks, zone: str) -> Ticks:
    """Give the wall time in ``zone`` of UTC ticks, as ticks."""
    stamps = pl.Series(ticks).cast(pl.Datetime("us")).dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    return stamps.dt.replace_time_zone(None).dt.epoch("us").to_numpy()


def parse_moment(text: str, clock: Clock) -> int:
    """Read a moment as a tick of a clock: an integer, a date, or a date and time in the clock's zone.

    Raises
    ------
    ConfigError
        For text that is none of these.
    """
    if clock.unit == "integer":
        try:
            return int(text)
        except ValueError:
            raise ConfigError(f"--as-of {text!r}: expected an integer, as in the time column") from None
    try:
        tick = int(np.datetime64(text.strip().replace(" ", "T"), "us").astype(np.int64))
    except ValueError:
        raise ConfigError(f"--as-of {text!r}: expected a date or time such as 2024-05-01 or 2024-05-01 13:00") from None
    if clock.zone is None:
        return tick
    return int(local_to_utc(np.array([tick]), clock.zone, lines=np.array([1]), groups=None, path=Path("--as-of"))[0])
