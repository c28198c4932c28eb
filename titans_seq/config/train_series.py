"""Everything `titans-seq train-series` can be told, as one frozen object."""

from typing import Annotated, Literal

from pydantic import Field

from titans_seq.config.correction import CorrectionSection
from titans_seq.config.sections import NonNegative, Positive, Section

PartName = Literal["profile", "level", "calendar", "year"]


class SeriesSection(Section):
    """What the forecaster may be made of; the validation rows decide what it is made of.

    Attributes
    ----------
    horizon
        Rows forecast at once.
    lookbacks
        Window lengths to choose from, in rows; null takes a spread that fits the clock and the history.
    max_lookback
        Longest of those that null gives.
    parts
        What may be carried beside the lookback: seasonal profiles, levels, the calendar, the same rows a year ago. A
        cycle enters only where the training rows hold it twice, and a part ships only where it helps by more than the
        spread.
    seasons
        Cycles in rows, shortest first; null takes those of the clock, or finds one where stamps tell nothing.
    valid_fraction
        Rows at the end of the history on which choices are made.
    refit_every
        Rows after which the weights are solved again from everything realised by then; 0 never does.
    minutes
        What training may take at most; when they are up the best found so far ships.
    correction
        A memory pretrained on many series, on what the ridge leaves over.
    """

    horizon: Positive = 96
    lookbacks: tuple[Positive, ...] | None = None
    max_lookback: Positive = 512
    parts: tuple[PartName, ...] = ("profile", "level", "calendar", "year")
    seasons: tuple[Positive, ...] | None = None
    valid_fraction: Annotated[float, Field(gt=0, lt=0.9)] = 0.2
    refit_every: NonNegative = 256
    minutes: Annotated[float, Field(gt=0)] = 10.0
    correction: CorrectionSection = CorrectionSection()


class TrainSeriesConfig(Section):
    """Configuration of the `train_series` pipeline; a preset is this in YAML."""

    pipeline: Literal["train_series"]
    series: SeriesSection = SeriesSection()
