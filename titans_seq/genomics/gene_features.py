"""What is known of each candidate gene, as a row of numbers: the input of the decoder's few weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from titans_seq.genomics.alphabet import Tokens, encode
from titans_seq.genomics.codon_scores import StrandScores
from titans_seq.genomics.open_frames import OpenFrames
from titans_seq.genomics.start_sites import COLUMNS, StartSites

Matrix = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CLIP: Final = 4.0
"""Largest log-odds that one base may add: a sure network does not drown the other evidence."""
BEFORE: Final = 45
"""Bases in front of a start whose coding score speaks against it."""
_CODONS: Final = ("GTG", "TTG")
_STRETCHES: Final = ("coding", "before", "first")


def candidate_columns(
    tokens: Tokens, frames: OpenFrames, scores: StrandScores, stops: Sequence[str], sites: StartSites | None = None
) -> dict[str, npt.NDArray[np.float64]]:
    """The named columns, float64 [K] each; a track's name follows a slash.

    ``coding`` and ``before`` sum the clipped frame score over the candidate and over `BEFORE` bases in front of it (per
    hundred bases); ``mean`` is per base; ``first`` covers its first 60 bases; ``length`` is the log of
    the stops that as many codons of random letters would hold: where G and C are few, a long open frame says more.
    With `sites`, their columns too.
    """
    phase = frames.start % 3
    bases = (frames.end - frames.start).astype(np.float64)
    letter, opened = tokens[frames.start], frames.open_start
    columns = {
        "one": np.ones(len(frames)),
        "GTG": np.where(opened, 0.0, letter == 2),
        "TTG": np.where(opened, 0.0, letter == 3),
        "length": np.log(bases / 3 * _stop_rate(tokens, stops)),
    }
    for name, track in scores.coding.items():
        sums = np.zeros((3, tokens.size + 1))
        np.cumsum(np.clip(track, -CLIP, CLIP), axis=1, out=sums[:, 1:])
        at = sums[phase, frames.start]
        coding = sums[phase, frames.end] - at
        columns[f"coding/{name}"] = coding / 100
        columns[f"mean/{name}"] = coding / bases
        columns[f"before/{name}"] = (at - sums[phase, np.maximum(frames.start - BEFORE, 0)]) / 100
        columns[f"first/{name}"] = (sums[phase, np.minimum(frames.start + 60, frames.end)] - at) / 100
    for name, track in scores.start.items():
        columns[f"start/{name}"] = np.where(opened, 0.0, np.clip(track[frames.start], -20, 20))
    return columns if sites is None else {**columns, **sites.columns(tokens, frames)}


def start_names(scores: StrandScores, *, sites: bool) -> tuple[str, ...]:
    """Columns that choose among the starts of a frame; tables of start sites stand for its letters and codons."""
    coding = (f"{what}/{name}" for name in scores.coding for what in (("coding",) if sites else _STRETCHES))
    return (*_tracks(scores, sites), *coding, *_at_start(sites), "length")


def gene_names(scores: StrandScores, *, sites: bool) -> tuple[str, ...]:
    """Columns that say whether a frame holds a gene."""
    coding = (f"{what}/{name}" for name in scores.coding for what in ("coding", "mean"))
    return ("one", *coding, *_tracks(scores, sites), "length", *_at_start(sites))


def of_start(name: str) -> bool:
    """Whether a column looks at the start itself, so that it says nothing of a gene that begins off the sequence."""
    return name.startswith(("start/", "site/")) or name in _CODONS


def _tracks(scores: StrandScores, sites: bool) -> tuple[str, ...]:
    return tuple(f"start/{name}" for name in scores.start if not (sites and name == "letters"))


def _at_start(sites: bool) -> tuple[str, ...]:
    return COLUMNS if sites else _CODONS


def _stop_rate(tokens: Tokens, stops: Sequence[str]) -> float:
    """-log(1 - p), with p the chance that three random letters of this composition are a stop codon."""
    counts = np.bincount(tokens, minlength=5)[:4] + 1.0
    share = counts / counts.sum()
    p = sum(float(np.prod(share[encode(codon)])) for codon in stops)
    return -float(np.log1p(-p))
