"""From a fitted ridge and its rows to the tokens and targets of `titans_seq.tasks.series_residual`, and to streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from titans_seq.tasks.series_errors import SCALE_RATE
from titans_seq.tasks.series_moments import design
from titans_seq.tasks.series_recipe import centre
from titans_seq.tasks.series_residual import ResidualSegment
from titans_seq.tasks.series_ridge import SeriesModel
from titans_seq.tasks.series_tracks import Track

_BLOCK: Final = 2048
_CLIP: Final = 8.0


@dataclass(frozen=True)
class ResidualRows:
    """Tokens and targets at every origin row of one track.

    Attributes
    ----------
    first
        Row of the first origin.
    features
        (origins, F) float32.
    residuals
        Actual minus path in standardised units, (origins, H) float32; NaN where the actual is unknown.
    scale
        Carried scale of realised errors at each origin, (origins,).
    """

    first: int
    features: NDArray[np.float32]
    residuals: NDArray[np.float32]
    scale: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scale)


def residual_rows(model: SeriesModel, track: Track, *, patch: int, waves: NDArray[np.float64]) -> ResidualRows:
    """Lay out a track.

    Parameters
    ----------
    model
        Fitted on rows before those that will be judged.
    patch
        Rows of a token, P; must divide the horizon.
    waves
        Calendar features of every row, (rows, any).
    """
    horizon, first = model.recipe.horizon, model.recipe.reach - 1
    origins = np.arange(first, len(track))
    paths, means, residuals = _paths(model, track, origins)
    scale = _running_scale(residuals, horizon)
    # Errors of the forecast made P rows ago (its first P steps) and H rows ago (means of its patches): all realised.
    late = np.zeros((len(origins), patch), np.float32)
    late[patch:] = residuals[:-patch, :patch]
    whole = np.zeros((len(origins), horizon // patch), np.float32)
    whole[horizon:] = _patch_means(residuals[:-horizon], patch)
    values = track.numbers[origins[:, None] + np.arange(1 - patch, 1), 0] - means
    ahead = _patch_means(paths, patch) - means
    parts = [
        values,
        means,
        late / scale[:, None],
        whole / scale[:, None],
        ahead,
        np.log(scale)[:, None],
        waves[origins],
    ]
    features = np.nan_to_num(np.concatenate(parts, axis=1)).astype(np.float32)
    return ResidualRows(first, np.clip(features, -_CLIP, _CLIP), residuals, scale)


def _paths(
    model: SeriesModel, track: Track, origins: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float32]]:
    """Paths, means of the lookback, and residuals, at every origin."""
    horizon, windows = model.recipe.horizon, model.recipe.windows
    paths = np.empty((len(origins), horizon), np.float32)
    means = np.empty((len(origins), 1))
    actual = np.where(track.known, track.numbers[:, 0], np.nan).astype(np.float32)
    actual = np.concatenate([actual, np.full(horizon, np.nan, np.float32)])
    residuals = np.empty_like(paths)
    for at in range(0, len(origins), _BLOCK):
        some = origins[at : at + _BLOCK]
        x, mean = centre(design(track.numbers, some, windows), windows)
        means[at : at + _BLOCK] = mean
        paths[at : at + _BLOCK] = x @ model.weights + mean
        residuals[at : at + _BLOCK] = actual[some[:, None] + np.arange(1, horizon + 1)] - paths[at : at + _BLOCK]
    return paths, means, residuals


def _running_scale(residuals: NDArray[np.float32], horizon: int) -> NDArray[np.float32]:
    """The scale of `SeriesModel`: a running mean of the absolute errors of forecasts, each once it is realised."""
    known = np.isfinite(residuals)
    sizes = np.where(known, np.abs(residuals), 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    scale, now, seen = np.empty(len(sizes), np.float32), 1.0, 0
    for at in range(len(sizes)):
        if at >= horizon and known[at - horizon].any():
            seen += 1
            now += max(SCALE_RATE, 1 / seen) * (float(sizes[at - horizon]) - now)
        scale[at] = max(now, 1e-3)
    return scale


def _patch_means(paths: NDArray[np.float32], patch: int) -> NDArray[np.float32]:
    return np.asarray(paths.reshape(len(paths), -1, patch).mean(axis=2))


class ResidualStreams:
    """Endless segments: each row of the batch reads a track from its start with an offset of its own, again and again.

    Parameters
    ----------
    tracks
        What is learned from.
    stops
        Origins of each track that may be learned from: those below.
    patch, length
        Rows between tokens; tokens of a segment, a multiple of the encoder's border.
    batch
        Rows of the batch.
    """

    def __init__(
        self, tracks: list[ResidualRows], stops: list[int], *, patch: int, length: int, batch: int, seed: int
    ) -> None:
        self.tracks, self.stops, self.patch, self.length = tracks, stops, patch, length
        self.places = [(t, offset) for t in range(len(tracks)) for offset in range(patch)]
        self.batch, self.seed = batch, seed
        self.segment, self.epoch = 0, 0
        self.segments = max(1, max(stop // patch for stop in stops) // length)

    def __next__(self) -> ResidualSegment:
        rng = np.random.default_rng([self.seed, self.epoch])
        chosen = rng.permutation(len(self.places))[np.arange(self.batch) % len(self.places)]
        parts = [self._part(*self.places[place]) for place in chosen]
        features, targets, mask = (np.stack(column) for column in zip(*parts, strict=True))
        reset = np.full(self.batch, self.segment == 0)
        self.segment += 1
        if self.segment == self.segments:
            self.segment, self.epoch = 0, self.epoch + 1
        return ResidualSegment(features, targets, mask, reset)

    def _part(self, track: int, offset: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
        return cut(
            self.tracks[track], offset + self.patch * self.length * self.segment, self.length, self.patch,
            stop=self.stops[track],
        )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """Give the cursor."""
        return {"segment": self.segment, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a cursor."""
        self.segment, self.epoch = int(state["segment"]), int(state["epoch"])


def cut(
    rows: ResidualRows, begin: int, tokens: int, patch: int, *, stop: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Give features, targets and mask of ``tokens`` tokens from origin ``begin`` on; past ``stop`` there are none."""
    origins = begin + patch * np.arange(tokens)
    mask = origins < stop
    origins = np.minimum(origins, max(stop - 1, 0))
    targets = rows.residuals[origins] / rows.scale[origins, None]
    targets[~mask] = np.nan
    return rows.features[origins], targets, mask
