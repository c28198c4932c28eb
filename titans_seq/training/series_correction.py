"""Train a memory on what a ridge leaves over of many series, and let series it has not seen decide whether it ships.

The ridge beneath is solved again from the learned series alone, so that the held-out ones are new to all of it. Two
nets of equal layers and steps are trained: one with the memory, its twin with attention alone. Whichever is better on
the held-out series ships if it saves more than two standard errors over series there.
"""

from __future__ import annotations

import copy
import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from titans_seq.config.correction import CorrectionSection
from titans_seq.config.sections import OptimiserSection, RunSection
from titans_seq.config.train_series import SeriesSection
from titans_seq.errors import ConfigError
from titans_seq.models import Encoder
from titans_seq.tasks.series_correction import Arm, SeriesCorrection
from titans_seq.tasks.series_recipe import Recipe
from titans_seq.tasks.series_residual import SeriesResidual
from titans_seq.tasks.series_state import Array
from titans_seq.tasks.series_tokens import Tokens, patches_of, token_width
from titans_seq.tasks.series_tracks import Track, lay_out
from titans_seq.timeseries import Panel
from titans_seq.training.budget import Budget
from titans_seq.training.checkpoint import Progress
from titans_seq.training.deadline import Deadline
from titans_seq.training.loop import Fitting, fit
from titans_seq.training.ranks import launched_ranks
from titans_seq.training.residual_streams import ResidualRows, ResidualStreams, residual_rows
from titans_seq.training.runtime import choose_runtime
from titans_seq.training.series_fit import Fitted, Watch, build_model, calibrate, fit_series

_log = logging.getLogger(__name__)

GATES: Final = np.linspace(0, 1, 11)
ARMS: Final[tuple[Arm, ...]] = ("carried", "reset", "off")
LARGEST_STATE: Final = 2_000_000_000
"""Bytes of all series' memories together beyond which none is tried."""
_MOST_NUMBERS: Final = 60_000_000
"""Targets that are laid out at once; of a larger table some series are learned from."""


@dataclass(frozen=True)
class Judged:
    """What a net is worth on the held-out series.

    Attributes
    ----------
    gate
        The share of the correction that they like best.
    error
        Mean absolute error with it, in the standardised units of the series (a mean seasonal difference).
    saved, spread
        Against the forecast beneath, and the standard error of that over series.
    """

    gate: float
    error: float
    saved: float
    spread: float

    @property
    def passes(self) -> bool:
        """Whether it saves more than two standard errors."""
        return self.saved > 2 * self.spread


@dataclass(frozen=True)
class Trial:
    """What came of training a correction.

    Attributes
    ----------
    learned, held
        Series (or channels) that were learned from, and that decided.
    beneath
        Error without a correction on the latter.
    nets
        By ``memory`` and, where there was time for it, ``twin``.
    arms
        Error of the net with the memory, by arm.
    ships
        ``memory``, ``twin``, or nothing.
    steps
        At which each net was at its best.
    """

    learned: int
    held: int
    beneath: float
    nets: dict[str, Judged]
    arms: dict[str, float]
    ships: str | None
    steps: dict[str, int]


def fit_corrected(
    panel: Panel, settings: SeriesSection, *, watch: Watch = lambda stage, done, total, note: None
) -> tuple[Fitted, Trial | None]:
    """Fit a forecaster and, where it is asked for and there are enough series, a correction to it.

    Both together take ``settings.minutes`` at most.
    """
    deadline = Deadline(60 * settings.minutes)
    fitted = fit_series(panel, settings, watch=watch, deadline=deadline)
    reason = why_not(panel, fitted, settings.correction)
    if reason is None and deadline.passed(0.7):
        reason = "the ridge left no time for it (--minutes)"
    if reason is not None:
        _log.debug("no correction: %s", reason)
        return fitted, None
    return add_correction(panel, fitted, settings.correction, deadline=deadline, watch=watch)


def describe_trial(trial: Trial | None) -> list[str]:
    """Say what a correction was worth, and whether it ships; nothing where none was tried."""
    if trial is None:
        return []
    beneath, lines = trial.beneath, []
    for kind, net in trial.nets.items():
        name = {"memory": "a memory carried from each series' first row", "twin": "its twin with attention alone"}[kind]
        lines.append(
            f"{name}, trained on {trial.learned} series: mean absolute error {net.error:.4f} seasonal differences on "
            f"{trial.held} others, without it {beneath:.4f} (saves {net.saved:.4f} +- {net.spread:.4f})"
        )
    others = ", ".join(f"{arm} {error:.4f}" for arm, error in trial.arms.items())
    lines.append(f"the memory by arm: {others}")
    lines.append({
        None: "no correction ships: it saves no more than two standard errors on series it has not seen",
        "memory": "the memory ships: it reads every series from its first row, new ones too",
        "twin": "the twin ships, attention without a memory: it is the better one",
    }[trial.ships])  # fmt: skip
    return lines


def why_not(panel: Panel, fitted: Fitted, settings: CorrectionSection) -> str | None:
    """Say why a correction is not tried; None where it is."""
    recipe = fitted.model.recipe
    tracks = sum(len(series) > _shortest(recipe) for series in panel) * len(panel.channels)
    if settings.tried == "never":
        return "not asked for"
    if settings.tried == "auto" and tracks < settings.fewest_series:
        return f"{tracks} series are few for a memory to be pretrained on: it begins to pay at {settings.fewest_series}"
    problem = None
    if tracks < 2 * settings.held_out:
        problem = (
            f"{tracks} series of more than {_shortest(recipe)} rows are too few to hold some out; it needs "
            f"{2 * settings.held_out}"
        )
    elif recipe.foreknown:
        problem = "the forecast looks at covariates of coming rows, which a token of the past does not have"
    elif launched_ranks()[0] > 1:
        problem = "it is trained by one process; call without torchrun"
    else:
        size = Encoder(**settings.encoder.arguments()).initial_state(1).nbytes * len(panel.track_ids())
        if size > LARGEST_STATE:
            problem = (
                f"a memory of each of {len(panel.track_ids()):,} series would take {size / 1e9:.1f} GB; take a smaller "
                "encoder"
            )
    if problem is not None and settings.tried == "always":
        raise ConfigError(f"series.correction: {problem}")
    return problem


def add_correction(
    panel: Panel, fitted: Fitted, settings: CorrectionSection, *, deadline: Deadline,
    watch: Watch = lambda stage, done, total, note: None,
) -> tuple[Fitted, Trial]:  # fmt: skip
    """Train a correction, judge it on held-out series, and ship it with its forecaster where it passes.

    Raises
    ------
    ConfigError
        It is asked for and cannot be had; see `why_not`.
    """
    before, recipe = fitted.model, fitted.model.recipe
    tracks = lay_out(panel, recipe, mean=before.mean, deviation=before.deviation)
    tracks = _some([track for track in tracks if len(track) > _shortest(recipe)], recipe.horizon)
    learned, held = _split(panel, tracks, settings.held_out)
    stops = [len(track) for track in learned]
    beneath = build_model(
        panel, recipe, learned, stops, method=before.method, every=0, mean=before.mean, deviation=before.deviation
    )
    patch = patches_of(recipe.horizon, settings.patches)
    rows = residual_rows(beneath, panel, [*learned, *held], patch=patch)
    data = Data(rows[: len(learned)], rows[len(learned) :], patch=patch, reach=recipe.reach, settings=settings)
    features = token_width(horizon=recipe.horizon, patch=patch, seasons=recipe.seasons)
    # What ships is read once more over all rows; training has most of the time that is left.
    begun = deadline.spent / deadline.seconds
    nets: dict[str, SeriesCorrection] = {}
    steps: dict[str, int] = {}
    for kind, share in (("memory", 0.4), ("twin", 0.8)):
        enough = partial(deadline.passed, begun + share * (1 - begun))
        if nets and enough():
            break
        nets[kind], steps[kind] = train_net(data, features, kind=kind, enough=enough, watch=watch)
    judged = {kind: data.judge(net) for kind, net in nets.items()}
    best = min(judged, key=lambda kind: judged[kind].error)
    arms: dict[str, float] = {arm: data.error(nets["memory"].with_arm(arm), judged["memory"].gate) for arm in ARMS}
    trial = Trial(
        len(learned), len(held), beneath=data.error(nets["memory"], 0.0), nets=judged, arms=arms, steps=steps,
        ships=best if judged[best].passes else None,
    )  # fmt: skip
    if trial.ships is None:
        return fitted, trial
    correction = replace(nets[best], gate=judged[best].gate)
    model = replace(beneath, correction=correction, tracks=before.tracks)
    # Widths settle while a series is young, so its last third tells what they are worth.
    splits = [max(recipe.reach, 2 * len(track) // 3) for track in held]
    quantiles, _ = calibrate(model, panel, held, splits)
    model = replace(model, quantiles=quantiles)
    return replace(fitted, model=model, state=model.advance(model.begin(panel), panel)), trial


def _shortest(recipe: Recipe) -> int:
    """Rows of which a series needs more: a whole lookback, and two horizons to be judged on."""
    return recipe.reach + 2 * recipe.horizon


def _split(panel: Panel, tracks: Sequence[Track], held_out: int) -> tuple[list[Track], list[Track]]:
    """Hold out one of every so many series with all its channels, or of channels where series are few."""
    groups = [track.index // len(panel.channels) for track in tracks]
    if len(set(groups)) < 2 * held_out:
        groups = [track.index for track in tracks]
    chosen = set(sorted(set(groups))[held_out // 2 :: held_out])
    pairs = list(zip(tracks, groups, strict=True))
    return [t for t, group in pairs if group not in chosen], [t for t, group in pairs if group in chosen]


def _some(tracks: Sequence[Track], horizon: int) -> list[Track]:
    """Take tracks evenly until their targets fill the room there is."""
    numbers = sum(len(track) for track in tracks) * horizon
    step = -(-numbers // _MOST_NUMBERS)
    return list(tracks[::step])


class Data:
    """Learned and held-out series, laid out as tokens.

    Parameters
    ----------
    learned, held
        A token at every row.
    patch
        Rows between two tokens.
    reach
        Rows up to the first origin that is judged: there the lookback is whole.
    """

    def __init__(
        self, learned: list[ResidualRows], held: list[ResidualRows], *, patch: int, reach: int,
        settings: CorrectionSection,
    ) -> None:  # fmt: skip
        self.learned, self.held, self.patch, self.reach, self.settings = learned, held, patch, reach, settings

    def streams(self, *, border: int) -> ResidualStreams:
        """Give the learned series as endless segments."""
        longest = max(len(rows) for rows in self.learned) // self.patch
        length = -(-min(self.settings.length, longest) // border) * border
        stops = [len(rows) - rows.residuals.shape[1] for rows in self.learned]
        return ResidualStreams(
            self.learned, stops, patch=self.patch, length=length, batch=self.settings.rows, seed=self.settings.seed
        )  # fmt: skip

    def judge(self, net: SeriesCorrection) -> Judged:
        """Choose the gate of a net on the held-out series, and say what it saves there."""
        errors = self.errors(net, GATES)
        best = int(np.argmin(errors.mean(axis=1)))
        saved = errors[0] - errors[best]
        spread = float(saved.std(ddof=1) / np.sqrt(len(saved))) if len(saved) > 1 else float("inf")
        return Judged(float(GATES[best]), float(errors[best].mean()), float(saved.mean()), spread)

    def error(self, net: SeriesCorrection, gate: float) -> float:
        """Mean absolute error on the held-out series."""
        return float(self.errors(net, np.array([gate])).mean())

    def errors(self, net: SeriesCorrection, gates: Array) -> Array:
        """Mean absolute error of each held-out series, (gates, series)."""
        tokens = max(len(rows) for rows in self.held) // self.patch
        at = [np.minimum(self.patch * np.arange(1, tokens + 1) - 1, len(rows) - 1) for rows in self.held]
        laid = Tokens(*(np.stack([getattr(r, name)[i] for r, i in zip(self.held, at, strict=True)])
                        for name in ("features", "scale", "known")))  # fmt: skip
        every = np.arange(len(self.held))
        made = net.read(net.begin(len(every)), every, 0, laid)[:, net.kept :]
        found = np.full((len(gates), len(every)), np.nan)
        for series, (rows, origins) in enumerate(zip(self.held, at, strict=True)):
            count = len(rows) // self.patch
            some = np.arange(count)[origins[:count] >= self.reach - 1]
            left = rows.residuals[origins[some]]
            if np.isfinite(left).any():
                for number, gate in enumerate(gates):
                    found[number, series] = np.nanmean(np.abs(left - gate * made[series, some]))
        return found[:, np.isfinite(found[0])]


def train_net(
    data: Data, features: int, *, kind: str, enough: Callable[[], bool], watch: Watch
) -> tuple[SeriesCorrection, int]:
    """Train one net; gives it, ungated, as it was at its best on the held-out series, and the step of that."""
    settings = data.settings
    run = RunSection(seed=settings.seed, device="cpu", precision="float32", checkpoint_steps=10**9)
    runtime = choose_runtime(run)
    words: dict[str, Any] = settings.encoder.arguments() | ({"memory": "none"} if kind == "twin" else {})
    encoder = Encoder(**words)
    horizon = data.learned[0].residuals.shape[1]
    task = SeriesResidual(encoder=encoder, features=features, horizon=horizon, dropout=settings.dropout, huber=True)
    net = SeriesCorrection(task, patch=data.patch, gate=1.0)
    best: dict[str, Any] = {"error": np.inf, "step": 0}

    def look(progress: Progress) -> bool:
        over = enough()
        if progress.step % settings.look_steps == 0 or progress.step == settings.steps or over:
            error = data.judge(SeriesCorrection(task.eval(), patch=data.patch, gate=1.0)).error
            if error < best["error"]:
                best.update(error=error, step=progress.step, weights=copy.deepcopy(task.state_dict()))
            watch(f"training the {kind}", progress.step, settings.steps, f"held-out series {error:.4f}")
        return over

    optimiser = OptimiserSection(learning_rate=settings.learning_rate, warmup=min(20, settings.steps // 4))
    with tempfile.TemporaryDirectory() as folder:
        fitting = Fitting(Path(folder), Budget(settings.steps, None), optimiser, run, enough=look)
        fit(task, data.streams(border=encoder.border), fitting=fitting, runtime=runtime)
    task.load_state_dict(best["weights"])
    task.eval()
    return net, best["step"]
