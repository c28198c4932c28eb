"""`TitansEmbedder`: sequences, regions or series in, one vector per row out, as scikit-learn expects it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from titans_seq.config import TrainDnaConfig
from titans_seq.errors import ConfigError, RangeError, ShapeError, unknown_name
from titans_seq.estimators import inputs, saving
from titans_seq.estimators.sequences import STRANDS, Read, dna_config, embed_reads, region_read, train_on_sequences
from titans_seq.estimators.series import Scale, Series, check_series, patches, train_on_series
from titans_seq.estimators.series_reading import pool_series
from titans_seq.genomics import open_genome, reverse_complement
from titans_seq.genomics.bed import read_bed
from titans_seq.models import Encoder
from titans_seq.streaming import open_dna_model
from titans_seq.streaming.pool import POOLS
from titans_seq.tasks import NextBase
from titans_seq.tasks.build import build_next_base
from titans_seq.tasks.next_value import NextValue


class TitansEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """One vector per sequence, region or series, from an encoder whose memory learns while it reads.

    The memory begins empty for every row, so a row's vector depends on that row and the fitted weights alone: nothing
    leaks between rows, batches or folds. `titans_seq.estimators.inputs` lists what X may be.

    Parameters
    ----------
    model
        A run of ``titans-seq train-dna`` (folder or ``model.safetensors``), for sequences and regions. None: weights
        drawn from ``random_state``, trained for ``steps``.
    genome
        FASTA that regions are cut from; X is then a BED, a frame or tuples of regions.
    regions
        BED of the regions to embed where X is the path of a FASTA; None embeds its contigs.
    context
        Bases upstream of a region that the memory reads first; they are not part of the vector.
    strand
        ``+`` reads what is given (a region on ``-`` as its reverse complement), ``-`` the other strand, ``both`` gives
        the mean of the two vectors.
    pool
        ``mean``, ``max`` or ``last`` over the tokens of a row, for bases also ``attention``
        (`titans_seq.streaming.pool`); unknown bases and missing values are left out.
    layer
        -1 the encoder's output, 0 the embedded tokens, k after block k.
    memory, d_model, n_layers, chunk_size
        Of the encoder, where ``model`` is None; see `titans_seq.Encoder`.
    patch
        Time steps of a token, for series.
    scale
        Of series: ``fit`` by mean and deviation of each channel over the series of the fit, ``series`` by the series'
        own, ``past`` by those of its rows so far, ``none``.
    steps
        Optimiser steps of self-supervised training (next base, next value) on the X of ``fit``; 0 leaves the weights
        random, which is a fair baseline and often a useful one.
    batch_size
        Rows read side by side. Another value is another rounding.
    random_state
        Seed of weights and training order.
    device
        ``cpu``, ``cuda``, ...

    Attributes
    ----------
    task_ : the network. domain_ : ``dna`` or ``series``. n_features_in_, feature_names_in_ : of arrays and frames.

    Examples
    --------
    >>> from titans_seq import TitansEmbedder
    >>> TitansEmbedder(d_model=16).fit_transform(["ACGTACGTTAGC", "GGGCC"]).shape
    (2, 16)
    """

    def __init__(
        self,
        *,
        model: str | os.PathLike[str] | None = None,
        genome: str | os.PathLike[str] | None = None,
        regions: str | os.PathLike[str] | None = None,
        context: int = 0,
        strand: str = "+",
        pool: str = "mean",
        layer: int = -1,
        memory: str = "titans_lmm",
        d_model: int = 32,
        n_layers: int = 2,
        chunk_size: int = 16,
        patch: int = 1,
        scale: str = "fit",
        steps: int = 0,
        batch_size: int = 16,
        random_state: int | np.random.RandomState | None = 0,
        device: str = "cpu",
    ) -> None:
        self.model = model
        self.genome = genome
        self.regions = regions
        self.context = context
        self.strand = strand
        self.pool = pool
        self.layer = layer
        self.memory = memory
        self.d_model = d_model
        self.n_layers = n_layers
        self.chunk_size = chunk_size
        self.patch = patch
        self.scale = scale
        self.steps = steps
        self.batch_size = batch_size
        self.random_state = random_state
        self.device = device

    def fit(self, X: Any, y: Any = None) -> Self:
        """Make the network (read, draw or train it); ``y`` is not looked at.

        Raises
        ------
        ConfigError, UnknownNameError, RangeError
            A parameter that cannot be used.
        ShapeError, InputFileError
            An X that cannot be used, with the row or line.
        """
        self._check_parameters()
        kind = inputs.kind_of(X)
        self.domain_ = "dna" if kind in ("sequences", "fasta", "regions") else "series"
        seed = self.random_state
        number = seed if isinstance(seed, int) else int(check_random_state(seed).randint(2**31 - 1))
        # The caller's random numbers go on as if nothing had been drawn here.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(number)
            if self.domain_ == "dna":
                self._fit_dna(X, kind, seed=number)
            else:
                self._fit_series(X, kind, seed=number)
        return self

    def transform(self, X: Any) -> npt.NDArray[np.float32]:
        """Give the vectors of X, (rows, d_model) float32."""
        check_is_fitted(self, "task_")
        kind = inputs.kind_of(X)
        domain = "dna" if kind in ("sequences", "fasta", "regions") else "series"
        if domain != self.domain_:
            raise ShapeError(f"this embedder was fitted on {self.domain_}, but X is {domain}")
        if domain == "series":
            tokens = self._tokens(self._series(X, kind, first=False))
            whole = [np.array([[0, len(one)]]) for one in tokens]
            found = dict(pool_series(self.task_, tokens, whole, rows=self.batch_size, pool=self.pool, layer=self.layer))
            return np.concatenate([found[number] for number in range(len(tokens))])
        turns = {"+": [False], "-": [True], "both": [False, True]}[self.strand]
        vectors = [
            embed_reads(self.task_, reads, rows=self.batch_size, pool=self.pool, layer=self.layer)
            for reads in (self._reads(X, kind, turn=turn) for turn in turns)
        ]
        return vectors[0] if len(vectors) == 1 else (vectors[0] + vectors[1]) / np.float32(2)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write weights, parameters and scale as one safetensors file, for other machines and other years."""
        check_is_fitted(self, "task_")
        saving.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote; InputFileError for anything else."""
        return saving.load(cls, path)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        tags.input_tags.string = self.model is not None or self.genome is not None
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        width: int = self.task_.encoder.d_model
        return width

    def _check_parameters(self) -> None:
        for kind, name, known in (("pool", self.pool, POOLS), ("strand", self.strand, STRANDS)):
            if name not in known:
                raise unknown_name(kind, name, known)
        for name, least in (("context", 0), ("steps", 0), ("patch", 1), ("batch_size", 1)):
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or value < least:
                raise RangeError(f"{name}: expected a whole number from {least} on, found {value!r}")
        if self.model is not None and self.steps:
            raise ConfigError("steps trains from random weights, model is taken as it is: give one of them")

    def _fit_dna(self, X: Any, kind: inputs.Kind, *, seed: int) -> None:
        reads = self._reads(X, kind)
        task: NextBase
        if self.model is not None:
            opened = open_dna_model(inputs.existing(self.model, what="a run"), device=self.device)
            self.config_: TrainDnaConfig = opened.config
            task = opened.task
        else:
            self.config_ = dna_config(
                memory=self.memory, d_model=self.d_model, n_layers=self.n_layers, chunk_size=self.chunk_size,
                rows=self.batch_size, steps=self.steps, seed=seed, device=self.device,
            )  # fmt: skip
            task = build_next_base(self.config_).to(self.device).eval()
        if self.steps:
            train_on_sequences(task, [one.tokens[one.context :] for one in reads], self.config_, steps=self.steps)
        self.task_: Any = task

    def _fit_series(self, X: Any, kind: inputs.Kind, *, seed: int) -> None:
        if self.model is not None:
            raise ShapeError("model reads bases, but X is numeric; give sequences, or leave model out")
        if self.pool == "attention":
            raise unknown_name("pool of series", self.pool, [name for name in POOLS if name != "attention"])
        series = self._series(X, kind, first=True)
        self.scale_ = Scale.of(self.scale, series)
        self.task_ = self.build_series(channels=series[0].shape[1])
        if self.steps:
            train_on_series(
                self.task_, self._tokens(series), steps=self.steps, rows=self.batch_size, seed=seed, device=self.device
            )

    def build_series(self, *, channels: int) -> NextValue:
        encoder = Encoder(
            variant="lmm", memory=self.memory, d_model=self.d_model, n_layers=self.n_layers, chunk_size=self.chunk_size
        )
        return NextValue(encoder=encoder, values=self.patch * channels).to(self.device).eval()

    def _series(self, X: Any, kind: inputs.Kind, *, first: bool) -> list[Series]:
        """X as series (T, C); an array or frame keeps scikit-learn's book of features."""
        if kind == "table":
            series = inputs.table_of(X)
        elif kind == "ragged":
            series = inputs.ragged_of(X)
        else:
            checked = validate_data(
                self, X, reset=first, dtype=np.float64, allow_nd=True, ensure_all_finite="allow-nan"
            )
            series = inputs.array_series(checked)
        check_series(series, channels=None if first else len(self.scale_.centre))
        return series

    def _tokens(self, series: Sequence[Series]) -> list[npt.NDArray[np.float32]]:
        return [patches(self.scale_.apply(one), self.patch) for one in series]

    def _reads(self, X: Any, kind: inputs.Kind, *, turn: bool = False) -> list[Read]:
        """X as streams to be read, each on the strand that was given or, with ``turn``, on the other."""
        if kind == "sequences":
            found = inputs.sequences_of(X)
            return [Read(reverse_complement(tokens) if turn else tokens) for tokens in found]
        if self.genome is None and kind == "regions":
            raise ConfigError("X holds regions, so genome must be the path of the FASTA they are cut from")
        genome = open_genome(X if self.genome is None else self.genome)
        if kind == "regions":
            rows = inputs.regions_of(X)
        elif (path := self.regions if self.genome is None else X) is not None:
            bed = read_bed(Path(path), genome)
            names = [genome.names[number] for number in bed.contig]
            strands = ["-" if strand < 0 else "+" for strand in bed.strand]
            rows = list(zip(names, bed.start.tolist(), bed.end.tolist(), strands, strict=True))
        else:
            rows = [(contig.name, 0, contig.length, "+") for contig in genome.contigs]
        other = {"+": "-", "-": "+"}
        return [
            region_read(genome, contig, start, end, other[strand] if turn else strand, context=self.context)
            for contig, start, end, strand in rows
        ]
