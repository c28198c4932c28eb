"""How a forecaster's rows become the tokens of its correction, and what the correction says at the last row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from titans_seq.tasks.series_state import Array, SeriesState
from titans_seq.tasks.series_tokens import Tokens, lay_tokens

if TYPE_CHECKING:
    from titans_seq.tasks.series_correction import SeriesCorrection
    from titans_seq.tasks.series_ridge import SeriesModel


def corrections(model: SeriesModel, state: SeriesState, correction: SeriesCorrection) -> Array:
    """Give what is added to the path of each track's last row, (tracks, horizon), in standardised units.

    Where that row closed a token it is what the token said; elsewhere the encoder is asked by a token of that row.
    """
    found = state.memory["corrections"][:, -1].copy()
    number, beyond = np.divmod(state.rows, correction.patch)
    last = np.array([state.numbers.shape[1] - 1])
    for had in np.unique(number[beyond > 0]):
        some = np.flatnonzero((number == had) & (beyond > 0))
        tokens = tokens_at(
            model, state, some, numbers=state.numbers[some], known=state.known[some], origins=last,
            widths=state.past_scales[some, -1:], patch=correction.patch,
        )  # fmt: skip
        found[some] = correction.ask(state.memory, some, int(had), tokens)
    return found


def read_tokens(
    model: SeriesModel, state: SeriesState, correction: SeriesCorrection, tracks: NDArray[np.int64], *,
    numbers: Array, known: NDArray[np.bool_], errors: Array, past: Array,
) -> Array:  # fmt: skip
    """Read the tokens that new rows close; gives the errors of corrected paths, (tracks, n, horizon).

    NaN at rows that end a path made between tokens.

    Parameters
    ----------
    numbers, known
        Kept rows and the n new ones, which ``state.rows`` counts already, (tracks, kept + n, sources).
    errors
        Of the paths beneath that each new row ends, (tracks, n, horizon).
    past
        Widths, from `follow_errors`.
    """
    count, patch, horizon = errors.shape[1], correction.patch, model.recipe.horizon
    corrected = np.full(errors.shape, np.nan)
    before = state.rows[tracks] - count
    for had in np.unique(before):
        some = np.flatnonzero(before == had)
        number = int(had) // patch
        at = np.arange((number + 1) * patch - 1 - int(had), count, patch)
        made = state.memory["corrections"][tracks[some]]
        if len(at):
            tokens = tokens_at(
                model, state, tracks[some], numbers=numbers[some], known=known[some], patch=patch,
                origins=numbers.shape[1] - count + at, widths=past[some][:, horizon + at],
            )  # fmt: skip
            made = correction.read(state.memory, tracks[some], number, tokens)
        token = np.arange(made.shape[1]) + number - correction.kept
        ends = (token + 1) * patch - 1 + horizon - int(had)  # the new rows that end their paths
        held = np.flatnonzero((token >= 0) & (ends >= 0) & (ends < count))
        corrected[some[:, None], ends[held]] = errors[some[:, None], ends[held]] - made[:, held]
    return corrected


def tokens_at(
    model: SeriesModel, state: SeriesState, tracks: NDArray[np.int64], *, numbers: Array, known: NDArray[np.bool_],
    origins: NDArray[np.int64], widths: Array, patch: int,
) -> Tokens:  # fmt: skip
    """Lay out the tokens of origins among rows of which the last is where the state stands; see `lay_tokens`."""

    def paths(places: NDArray[np.int64]) -> tuple[Array, Array, Array]:
        x, mean = model.design(state, tracks, numbers, places)
        lookback = x[..., : model.recipe.lookback]
        return x @ state.weights + mean, mean, lookback.std(axis=2, keepdims=True)

    back = numbers.shape[1] - 1 - origins
    return lay_tokens(
        paths, numbers[..., 0], known, origins, own=state.rows[tracks, None] - 1 - back,
        positions=state.position[tracks, None] - back, widths=widths, horizon=model.recipe.horizon, patch=patch,
        seasons=model.recipe.seasons,
    )  # fmt: skip
