"""A training job on genomes: its inputs, read and checked before anything is written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from titans_seq.config import TrainDnaConfig, is_path, parse_config, preset_text
from titans_seq.config.overrides import apply_overrides
from titans_seq.errors import ConfigError, StateMismatchError
from titans_seq.genomics import (
    CLASS_NAMES,
    Features,
    Genome,
    Split,
    check_names,
    class_track,
    open_genomes,
    read_annotation,
    split_by_contigs,
    split_by_fraction,
)
from titans_seq.training.arms import Held, limit
from titans_seq.training.run_folder import check_same, open_run, refuse_existing

_log = logging.getLogger(__name__)

Watch = Callable[[str, float, float, str], None]
DEFAULT_PRESET = "dna-small"
_GENBANK = (".gb", ".gbk", ".gbff", ".genbank")
_SHOWN = 8


@dataclass(frozen=True)
class DnaJob:
    """What is to be done.

    Attributes
    ----------
    config
        Resolved settings.
    genome, split, features
        What is read, what of it is held out, and the annotation if there is one.
    out
        The run folder; made only when training begins.
    inputs
        What ``run.json`` records: paths and the genome's checksum.
    resume
        Whether the folder holds a run that goes on.
    """

    config: TrainDnaConfig
    genome: Genome
    split: Split
    features: Features | None
    out: Path
    inputs: dict[str, Any]
    resume: bool

    @cached_property
    def held(self) -> list[Held]:
        """The held-out stretches that are scored, with the gaps that restart a memory."""
        stretches = [Held(s.contig, s.start, s.end) for s in self.split.valid if s.end - s.start > 1]
        kept = limit(stretches, self.config.evaluation.max_bases)
        return [replace(stretch, gaps=self._gaps(stretch.contig)) for stretch in kept]

    def classes(self, held: Sequence[Held]) -> NDArray[np.uint8] | None:
        """Give the class of each base of ``held``, laid end to end; None without an annotation."""
        if self.features is None:
            return None
        tracks = {
            name: class_track(self.features, name, self.genome.contig(name).length)
            for name in {stretch.contig for stretch in held}
        }
        return np.concatenate([tracks[stretch.contig][stretch.start : stretch.stop] for stretch in held])

    def _gaps(self, contig: str) -> tuple[tuple[int, int], ...]:
        runs = self.genome.n_runs(contig)
        long = runs[(runs[:, 1] - runs[:, 0]) > self.config.streams.gap_reset]
        return tuple((int(left), int(right)) for left, right in long)


def prepare(
    *,
    genomes: Sequence[str],
    preset: str | None = None,
    out: Path | None = None,
    annotation: Path | None = None,
    overrides: Sequence[str] = (),
    resume: bool = False,
    watch: Watch = lambda stage, done, total, note: None,
) -> DnaJob:
    """Read and check everything; nothing is written but the token store's cache.

    Parameters
    ----------
    genomes
        Paths; when a run goes on they may be left out.
    preset
        Name of a preset or path of a YAML file; `DEFAULT_PRESET` for None.
    out
        The run folder; for None ``runs/GENOME-PRESET``.
    annotation
        A GenBank genome is its own annotation when this is None.
    overrides
        ``key=value`` on top of the preset.
    resume
        Go on with the run in ``out``.
    """
    if resume:
        return _prepare_again(genomes, preset=preset, out=out, annotation=annotation, overrides=overrides, watch=watch)
    preset = preset or DEFAULT_PRESET
    config = parse_config(TrainDnaConfig, preset_text(preset), source=preset, overrides=overrides)
    if not genomes:
        raise ConfigError("expected the path of a genome, found none; see titans-seq train-dna --help")
    out = out or Path("runs") / f"{_stem(genomes[0])}-{_stem(preset)}"
    refuse_existing(out)
    if annotation is None and len(genomes) == 1 and _bare(genomes[0]).endswith(_GENBANK):
        annotation = Path(genomes[0])
    paths = [name if name == "-" else str(Path(name).absolute()) for name in genomes]
    inputs = {"genomes": paths, "annotation": str(annotation.absolute()) if annotation else None}
    return _open(config, inputs, out=out, resume=False, watch=watch)


def _prepare_again(
    genomes: Sequence[str],
    *,
    preset: str | None,
    out: Path | None,
    annotation: Path | None,
    overrides: Sequence[str],
    watch: Watch,
) -> DnaJob:
    if out is None:
        raise ConfigError("expected the run folder to go on with; give it as --out")
    before, inputs = open_run(out, TrainDnaConfig)
    if preset is None:
        data = apply_overrides(before.model_dump(mode="json"), overrides, kind=TrainDnaConfig)
        config = TrainDnaConfig.model_validate(data)
    else:
        config = parse_config(TrainDnaConfig, preset_text(preset), source=preset, overrides=overrides)
    check_same(before, config, path=out)
    if genomes:
        inputs = {**inputs, "genomes": [name if name == "-" else str(Path(name).absolute()) for name in genomes]}
    if annotation is not None:
        inputs = {**inputs, "annotation": str(annotation.absolute())}
    return _open(config, inputs, out=out, resume=True, watch=watch)


def _open(config: TrainDnaConfig, inputs: dict[str, Any], *, out: Path, resume: bool, watch: Watch) -> DnaJob:
    def reading(done: int, total: int | None) -> None:
        watch("reading", done, total or max(done, 1), f"{done / 1e6:,.1f} MB")

    genome = open_genomes(inputs["genomes"], progress=reading)
    if resume and genome.checksum != inputs["checksum"]:
        raise StateMismatchError(
            f"{out}: was trained on another genome (checksum {inputs['checksum'][:12]}, now {genome.checksum[:12]}); "
            "give the same files, or another --out"
        )
    describe(genome)
    split = (
        split_by_contigs(genome, config.split.valid_contigs)
        if config.split.valid_contigs
        else split_by_fraction(genome, config.split.valid_fraction, margin=config.split.margin)
    )
    features = None
    if inputs["annotation"] is not None:
        features = read_annotation(inputs["annotation"])
        check_names(features, genome)
    inputs = {**inputs, "checksum": genome.checksum}
    return DnaJob(config, genome, split, features, out, inputs, resume)


def describe(genome: Genome) -> None:
    """Log what was read: a line for each contig, or one for all where there are many."""
    for contig in genome.contigs[:_SHOWN]:
        share = contig.soft_masked / contig.length if contig.length else 0.0
        _log.info(
            "%s: %s bases, %s N, GC %.1f %%, %.1f %% soft-masked",
            contig.name, f"{contig.length:,}", f"{contig.n_count:,}", 100 * contig.gc, 100 * share,
        )  # fmt: skip
    if len(genome.contigs) > _SHOWN:
        rest = genome.contigs[_SHOWN:]
        _log.info("and %s more contigs with %s bases", f"{len(rest):,}", f"{sum(c.length for c in rest):,}")
    if genome.letters:
        found = ", ".join(f"{count:,} {letter}" for letter, count in sorted(genome.letters.items()))
        _log.info("letters beside A C G T, read as N unless U: %s", found)


def class_names() -> tuple[str, ...]:
    """Give the names that `DnaJob.classes` counts in."""
    return CLASS_NAMES


def _stem(name: str) -> str:
    bare = _bare(Path(name).name) if name != "-" else "stdin"
    return Path(bare).stem if is_path(bare) or "." in bare else bare


def _bare(name: str) -> str:
    """Leave out a suffix of compression: ``a.fa.gz`` is ``a.fa``."""
    for suffix in (".gz", ".bgz"):
        name = name.removesuffix(suffix)
    return name
