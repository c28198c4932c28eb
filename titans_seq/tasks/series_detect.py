"""Anomaly scores, p-values and flags of a panel of series, carried on from table to table at a fixed size.

Every (series, channel) pair has a score and a conformal ring of its own. New rows cost what those rows cost, and a
table cut into any pieces, with `save_detector` and `load_detector` between them, gives what one pass gives.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from titans_seq.errors import InputFileError, RangeError, StateMismatchError
from titans_seq.tasks.series_surprise import build_anomaly_score
from titans_seq.tensor_files import load_tensors, read_metadata, save_tensors
from titans_seq.timeseries import Clock, Panel, Series, stamp_text
from titans_seq.timeseries.anomaly_scores import METHODS, AnomalyScore, ScoreSettings
from titans_seq.timeseries.conformal import ConformalP, ConformalSettings
from titans_seq.timeseries.standardise import Arrays, Rows

FORMAT: Final = "titans-seq detector"
VERSION: Final = 1
CALL: Final = 50_000
"""Rows between two words to whoever watches."""
LONGEST_GAP: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class DetectSettings:
    """All that decides a detector's numbers.

    Attributes
    ----------
    method
        A name of `METHODS`.
    score, conformal
        Numbers of the score and of the p-values.
    """

    method: str
    score: ScoreSettings
    conformal: ConformalSettings

    def words(self) -> dict[str, Any]:
        """The settings as plain values."""
        return asdict(self)


@dataclass(slots=True)
class Track:
    """Where one (series, channel) pair stands.

    Attributes
    ----------
    score, conformal
        What is carried.
    rows
        Rows read, missing ones included.
    position, tick
        Of the last row: its place on the clock, its stamp.
    """

    score: AnomalyScore
    conformal: ConformalP
    rows: int = 0
    position: int = -1
    tick: int = 0


@dataclass(frozen=True, slots=True)
class Scored:
    """The new rows of one (series, channel) pair.

    Attributes
    ----------
    name
        As in `Panel.track_ids`.
    ticks, values
        The rows, [T].
    scores, p_values
        NaN where the value is missing, [T]; p-values also while the score warms up.
    flags
        [T] bool.
    """

    name: str
    ticks: NDArray[np.int64]
    values: Rows
    scores: Rows
    p_values: Rows
    flags: NDArray[np.bool_]


@dataclass
class Detector:
    """Detect along a panel of series.

    Attributes
    ----------
    settings
        Fixed for the detector's life.
    clock, channels
        Time axis and target columns of the tables it reads.
    tracks
        By name; a new one begins when its first row comes.
    """

    settings: DetectSettings
    clock: Clock
    channels: tuple[str, ...]
    tracks: dict[str, Track] = field(default_factory=dict)

    def read(
        self, panel: Panel, *, keep: bool = True, progress: Callable[[int], None] = lambda rows: None
    ) -> Iterator[Scored]:
        """Score a panel's rows, pair by pair; ``progress`` is told of rows read.

        Parameters
        ----------
        keep
            False forgets where a new pair stands as soon as its rows are scored: many series in little RAM.

        Raises
        ------
        StateMismatchError
            Rows at or before the last one read.
        """
        for series in panel:
            for channel, name in enumerate(panel.tracks_of(series)):
                track = self.tracks.get(name) or self._begin()
                if keep:
                    self.tracks[name] = track
                yield self._read(track, name, series, series.values[:, channel], progress)

    def check(self, panel: Panel) -> None:
        """Refuse a panel with rows at or before the last ones read, before anything is read."""
        for series in panel:
            for name in panel.tracks_of(series):
                if name in self.tracks:
                    self._gap(self.tracks[name], name, series)

    def _begin(self) -> Track:
        return Track(
            build_anomaly_score(self.settings.method, self.settings.score), ConformalP(self.settings.conformal)
        )

    def _read(self, track: Track, name: str, series: Series, values: Rows, progress: Callable[[int], None]) -> Scored:
        gap = self._gap(track, name, series)
        if gap:
            self._advance(track, np.full(gap, np.nan))
        parts = []
        for first in range(0, values.size, CALL):
            part = values[first : first + CALL]
            parts.append(self._advance(track, part))
            progress(part.size)
        track.position = (track.position + values.size) if self.clock.unit == "row" else series.stop - 1
        track.tick = int(series.ticks[-1])
        scores, p_values, flags = (np.concatenate(column) for column in zip(*parts, strict=True))
        return Scored(name, series.ticks, values, scores, p_values, flags)

    def _advance(self, track: Track, values: Rows) -> tuple[Rows, Rows, NDArray[np.bool_]]:
        scores = track.score.update(values)
        p_values, flags = track.conformal.update(scores)
        track.rows += values.size
        return scores, p_values, flags

    def _gap(self, track: Track, name: str, series: Series) -> int:
        """Rows that are missing between the last one read and the first of ``series``."""
        if not track.rows:
            return 0
        uneven = self.clock.unit == "row"
        if int(series.ticks[0]) <= track.tick:
            raise StateMismatchError(
                f"rows out of order: the state has read {name!r} up to {stamp_text(track.tick, self.clock)}, and the "
                f"new rows begin at {stamp_text(int(series.ticks[0]), self.clock)}; give only later rows"
            )
        gap = 0 if uneven else series.start - track.position - 1
        if gap > LONGEST_GAP:
            raise RangeError(f"the rows of {name!r} begin {gap:,} rows behind the last one; begin a new state")
        return gap


def save_detector(path: Path, detector: Detector) -> None:
    """Write a detector as safetensors with a JSON header, whole or not at all."""
    header = {
        "format": FORMAT,
        "version": VERSION,
        "settings": detector.settings.words(),
        "clock": asdict(detector.clock),
        "channels": detector.channels,
        "tracks": [[name, t.rows, t.position, t.tick] for name, t in detector.tracks.items()],
    }
    tensors: dict[str, torch.Tensor] = {}
    for number, track in enumerate(detector.tracks.values()):
        for kind, arrays in (("score", track.score.arrays()), ("conformal", track.conformal.arrays())):
            tensors |= {f"{number}/{kind}/{name}": torch.as_tensor(array) for name, array in arrays.items()}
    save_tensors(path, tensors, metadata={"titans_seq": json.dumps(header, sort_keys=True)})


def load_detector(path: Path) -> Detector:
    """Read a detector back.

    Raises
    ------
    InputFileError
        Not a detector of ours, or of a newer version.
    """
    try:
        header = json.loads(read_metadata(path).get("titans_seq", "{}"))
    except json.JSONDecodeError as error:
        raise InputFileError(path, expected="a state of titans-seq detect", found=str(error)) from None
    if header.get("format") != FORMAT:
        raise InputFileError(path, expected="a state of titans-seq detect", found="a file of something else")
    if header["version"] > VERSION:
        raise InputFileError(
            path, expected=f"version {VERSION}", found=f"version {header['version']}", hint="update titans-seq"
        )
    tensors = load_tensors(path)
    try:
        return _restore(header, tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputFileError(path, problem=f"the state is damaged ({error!r})") from None


def _restore(header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Detector:
    words = header["settings"]
    settings = DetectSettings(words["method"], ScoreSettings(**words["score"]), ConformalSettings(**words["conformal"]))
    detector = Detector(settings, Clock(**header["clock"]), tuple(header["channels"]))
    arrays: dict[tuple[int, str], Arrays] = {}
    for key, tensor in tensors.items():
        number, kind, name = key.split("/", 2)
        arrays.setdefault((int(number), kind), {})[name] = tensor.numpy()
    for index, (name, rows, position, tick) in enumerate(header["tracks"]):
        score = build_anomaly_score(settings.method, settings.score)
        score.load(arrays[index, "score"])
        conformal = ConformalP(settings.conformal)
        conformal.load(arrays[index, "conformal"])
        detector.tracks[name] = Track(score, conformal, rows, position, tick)
    return detector


__all__ = ["METHODS", "DetectSettings", "Detector", "Scored", "Track", "load_detector", "save_detector"]
