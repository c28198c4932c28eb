"""Read new rows into a state file, at the cost of those rows; or take earlier reads back.

Question: what does the forecaster know once these rows are read?

Inputs: a state file of `titans-seq forecast --state` or `train-series`, and a table of rows that are newer.
Outputs: the state file, replaced; what it held before stays beside it for ``--undo``.
Launch: ``titans-seq observe new.csv --state plant.state``
Cost: under 5 ms for a row, whatever the history; `tests/benchmarks/series_state.py` measures it.
"""

from __future__ import annotations

from pathlib import Path

from titans_seq.errors import ConfigError, InputFileError
from titans_seq.tasks.series_files import Snapshot
from titans_seq.timeseries import TableOptions, read_table, stamp_text
from titans_seq.timeseries.zones import parse_moment
from titans_seq.training.series_rows import known_options, newer_rows
from titans_seq.training.series_undo import save_with_undo, undo

__all__ = ["run", "take_back"]


def run(
    data: Path, state: Path, *, table: TableOptions | None = None, as_of: str | None = None, skip_known: bool = False,
    keep: int = 8,
) -> str:  # fmt: skip
    """Read the rows of ``data`` into ``state``.

    Parameters
    ----------
    as_of
        Rows later than this moment are left for another time.
    skip_known
        Leave out rows that the state has read already, instead of refusing them.
    keep
        How many earlier states stay for `take_back`.
    """
    if not state.exists():
        raise InputFileError(
            state, problem="no such state", hint=f"titans-seq forecast {data} --state {state} begins one"
        )
    snapshot = Snapshot.load(state)
    model = snapshot.model
    newest = int(snapshot.state.tick.max()) if skip_known else None
    options = known_options(table or TableOptions(), model, snapshot.names)
    panel = read_table(data, options, clock=model.clock, newer_than=newest)
    if as_of is not None:
        panel = panel.until(parse_moment(as_of, model.clock))
    if skip_known:
        panel = newer_rows(panel, snapshot)
    if not panel.rows:
        raise ConfigError(f"{data}: no row is newer than the state and not later than --as-of")
    model.advance(snapshot.state, panel)
    save_with_undo(state, snapshot, keep=keep)
    return f"{panel.rows:,} rows read; {_where(snapshot)}"


def take_back(state: Path, count: int) -> str:
    """Go back by ``count`` calls of `run`."""
    if not state.exists():
        raise InputFileError(state, problem="no such state")
    return f"{count} taken back; {_where(undo(state, count))}"


def _where(snapshot: Snapshot) -> str:
    newest = stamp_text(int(snapshot.state.tick.max()), snapshot.model.clock)
    return f"the state stands at {newest} ({snapshot.state.nbytes / 1e6:.1f} MB, whatever the history)"
