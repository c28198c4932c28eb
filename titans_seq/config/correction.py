"""The `series.correction` section: a memory pretrained on many series, on what the ridge leaves over."""

from typing import Literal

from titans_seq.config.encoder import EncoderSection
from titans_seq.config.sections import Fraction, NonNegative, Positive, PositiveReal, Section


class CorrectionSection(Section):
    """Whether and how an encoder is trained on many series at once.

    Attributes
    ----------
    tried
        ``auto`` where a table has enough series; ``always``; ``never``. It ships only where it saves more than two
        standard errors on series that it was not trained on.
    fewest_series
        What ``auto`` takes for enough.
    held_out
        Of every so many series one is not learned from but decides.
    patches
        Tokens in a horizon; a token is closed every ``horizon / patches`` rows, rounded up.
    steps, look_steps
        Optimiser steps, and after how many the held-out series are looked at; the best weights stay.
    rows, length
        Streams trained side by side, and tokens of each between two steps.
    learning_rate, dropout, seed
        Of the training.
    encoder
        The encoder, with its memory. A state holds one for every series: 45 kB of ``gated_deltanet``, 405 kB of
        ``titans_lmm``.
    """

    tried: Literal["auto", "always", "never"] = "never"
    fewest_series: Positive = 32
    held_out: Positive = 6
    patches: Positive = 4
    steps: Positive = 400
    look_steps: Positive = 50
    rows: Positive = 32
    length: Positive = 80
    learning_rate: PositiveReal = 2e-3
    dropout: Fraction = 0.1
    seed: NonNegative = 0
    encoder: EncoderSection = EncoderSection(variant="mag", memory="gated_deltanet", chunk_size=8, window=8)
