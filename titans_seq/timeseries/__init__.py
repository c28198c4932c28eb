"""Tables of series to tensors with time stamps, and tensors with time stamps to tables.

::

    read_table(path, TableOptions(...)) -> Panel     # long or wide, CSV or Parquet
    Panel: series (Series: id, start, ticks, values [T, channels], mask, covariates), clock, channels, track_ids()
    Clock: positions(ticks), ticks(positions), after(last_tick, last_position, count), name
"""

from titans_seq.timeseries.clock import Clock, Ticks, parse_frequency, stamp_text
from titans_seq.timeseries.panel import Names, Panel, Series, Values
from titans_seq.timeseries.table import TableOptions, check_same_channels, read_table

__all__ = [
    "Clock",
    "Names",
    "Panel",
    "Series",
    "TableOptions",
    "Ticks",
    "Values",
    "check_same_channels",
    "parse_frequency",
    "read_table",
    "stamp_text",
]
