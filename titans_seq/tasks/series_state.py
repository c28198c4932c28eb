"""All that is carried along a panel of series: fixed in size, a dictionary of arrays, safe to cut, fork and save."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from titans_seq.tasks.series_solve import SlicedSolve

Array = NDArray[np.float64]
Counts = NDArray[np.int64]
Carried = dict[str, NDArray[Any]]
"""Arrays by name, tracks first."""


@dataclass(slots=True)
class SeriesState:
    """Where a panel's tracks ((series, channel) pairs) stand.

    Attributes
    ----------
    tracks
        Names, as in `Panel.track_ids`.
    rows
        Rows each track has had since its first known value, (tracks,).
    position
        Clock position of each track's last row, -1 before the first, (tracks,).
    tick
        Stamp of each track's last row, (tracks,).
    numbers
        The sources' last rows, standardised, the newest at the end, (tracks, kept, sources).
    known
        Where the value was known, (tracks, kept).
    mean, deviation
        What standardises each track, (tracks,); the mean is NaN before the first number of a track that had none.
    scale, scored
        Running mean of the absolute error of realised forecasts, and how many it has seen, (tracks,).
    quick, tried
        The same of the first few steps of forecasts, which are known sooner, (tracks,).
    past_scales
        The width of intervals, made of both, behind each of the last ``horizon`` rows, (tracks, horizon).
    stretch
        What widens or narrows the intervals, so that realised ones have held what they promised, (tracks,).
    gram, cross
        Sums of feature and of feature-target products over realised origins, (F, F) and (F, horizon).
    learned
        Clock position behind the last origin of each track in those sums, (tracks,).
    weights
        The present solution, (F, horizon).
    memory
        What a correction carries (`series_correction`); empty where there is none.
    portion
        Number of the portion of a refit block that the clock is in (`series_solve.Portions`), -1 before the first row.
    solving
        The solution under way in this portion, made again from the sums where it is missing; not part of a file.
    """

    tracks: tuple[str, ...]
    rows: Counts
    position: Counts
    tick: Counts
    numbers: Array
    known: NDArray[np.bool_]
    mean: Array
    deviation: Array
    scale: Array
    scored: Counts
    quick: Array
    tried: Counts
    past_scales: Array
    stretch: Array
    gram: Array
    cross: Array
    learned: Counts
    weights: Array
    memory: Carried = field(default_factory=dict)
    portion: int = -1
    solving: SlicedSolve | None = None

    @property
    def clock_position(self) -> int:
        """Clock position of the newest row of any track; -1 before the first."""
        return int(self.position.max(initial=-1))

    @property
    def empty(self) -> list[str]:
        """Tracks that have had no number yet."""
        return [name for name, rows in zip(self.tracks, self.rows, strict=True) if not rows]

    def standing(self) -> tuple[Counts, Counts]:
        """Give tick and clock position of each track's last row, (tracks,); the newest of all where it has had none."""
        newest = int(np.argmax(self.position))
        none = self.rows == 0
        return np.where(none, self.tick[newest], self.tick), np.where(none, self.position[newest], self.position)

    @property
    def nbytes(self) -> int:
        """Size in bytes; it does not grow."""
        return sum(value.nbytes for value in self.arrays().values())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Name every array."""
        found = {name: getattr(self, name) for name in _ARRAYS}
        found |= {_MEMORY + name: array for name, array in self.memory.items()}
        return found | {"portion": np.array([self.portion])}

    def clone(self) -> SeriesState:
        """Fork: a copy that goes its own way."""
        return self.from_arrays(self.tracks, self.arrays())

    @classmethod
    def from_arrays(cls, tracks: tuple[str, ...], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Undo `arrays`; the arrays are copied."""
        own: dict[str, Any] = {name: np.array(arrays[name]) for name in _ARRAYS}
        memory = {
            name.removeprefix(_MEMORY): np.array(array) for name, array in arrays.items() if name.startswith(_MEMORY)
        }
        return cls(tracks=tracks, **own, memory=memory, portion=int(np.asarray(arrays["portion"])[0]))


_MEMORY: Final = "memory."
_NO_ARRAYS: Final = ("tracks", "memory", "portion", "solving")
_ARRAYS: Final = tuple(field.name for field in fields(SeriesState) if field.name not in _NO_ARRAYS)
