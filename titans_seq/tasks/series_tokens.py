"""The tokens that a correction reads: what is known of a track at an origin row, whatever the size of its numbers.

With o the origin, m the mean and u the deviation of its lookback, path_o the forecast beneath, P the patch, w_o the
width that realised errors give at o (`series_errors`), and e_a(b) = v_b - path_a(b) a *realised* error,

    token_o = [ (v_{o-P+1..o} - m) / u,  (path_o - m) / u,           the last patch; the path beneath, patch by patch
                e_{o-P}(o-P+1..o) / w_o,  e_{o-H}(o-H+1..o) / w_o,   the forecast of P rows ago; that of H rows ago, ...
                log(w_o / u),  sin and cos of each season ]

Nothing of a row behind o enters, and a series times a constant plus a constant has the same tokens. Every filter looks
back by H rows and a lookback at most, which is what a `SeriesState` keeps anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from titans_seq.tasks.series_state import Array

_CLIP: Final = 8.0
_LEAST: Final = 1e-3

Paths = Callable[[NDArray[np.int64]], tuple[Array, Array, Array]]
"""From places of origins to paths (tracks, n, horizon), and means and deviations of the lookbacks (tracks, n, 1)."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of several tracks.

    Attributes
    ----------
    features
        (tracks, n, F) float32.
    sizes
        What a correction is in units of, (tracks, n).
    known
        False where the whole patch is missing: such a token writes nothing, (tracks, n).
    """

    features: NDArray[np.float32]
    sizes: Array
    known: NDArray[np.bool_]


def patches_of(horizon: int, patch: int) -> int:
    """Count the patches of a path; the last may be shorter."""
    return -(-horizon // patch)


def token_width(*, horizon: int, patch: int, seasons: tuple[int, ...]) -> int:
    """Count the numbers of a token."""
    return 2 * patch + 2 * patches_of(horizon, patch) + 1 + 2 * len(_cycles(seasons))


def lay_tokens(
    paths: Paths, values: Array, known: NDArray[np.bool_], origins: NDArray[np.int64], *, own: NDArray[np.int64],
    positions: NDArray[np.int64], widths: Array, horizon: int, patch: int, seasons: tuple[int, ...],
) -> Tokens:  # fmt: skip
    """Lay out the tokens of some origins.

    Parameters
    ----------
    paths
        The forecaster beneath.
    values, known
        Of the rows, standardised and filled, and where they were known, (tracks, rows).
    origins
        Places among those rows, (n,).
    own, positions
        Number of each origin row since its track's first, and its place on the clock, (tracks, n).
    widths
        w_o, (tracks, n); 0 where no error has been realised yet.
    """
    now, mean, deviation = paths(origins)
    unit = np.maximum(deviation, _LEAST)
    sizes = np.where(widths > 0, np.maximum(widths, _LEAST), np.maximum(deviation[..., 0], _LEAST))
    actual = np.where(known, values, np.nan)

    def realised(steps: int) -> Array:
        """The first errors of the forecast made ``steps`` rows before each origin, 0 where there are none."""
        before = origins - steps
        error = actual[:, before[:, None] + np.arange(1, steps + 1)] - paths(before)[0][..., :steps]
        error[own < steps] = 0.0
        return np.nan_to_num(error) / sizes[..., None]

    cycles = _cycles(seasons)
    phase = 2 * np.pi * (positions[..., None] % np.array(cycles, np.int64)) / np.array(cycles, np.float64)
    patched = origins[:, None] + np.arange(1 - patch, 1)
    parts = [
        (values[:, patched] - mean) / unit,
        _patch_means(now - mean, patch) / unit,
        realised(patch),
        _patch_means(realised(horizon), patch),
        np.log(sizes[..., None] / unit),
        np.sin(phase),
        np.cos(phase),
    ]
    features = np.clip(np.concatenate(parts, axis=2), -_CLIP, _CLIP).astype(np.float32)
    return Tokens(features, sizes, np.asarray(known[:, patched].any(axis=2)))


def _cycles(seasons: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(season for season in seasons if season > 1)


def _patch_means(paths: Array, patch: int) -> Array:
    edges = np.arange(0, paths.shape[-1], patch)
    lengths = np.diff(np.append(edges, paths.shape[-1]))
    return np.add.reduceat(paths, edges, axis=-1) / lengths
