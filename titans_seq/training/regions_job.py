"""A labelling job: genomes with their annotations, read and checked before anything is written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from titans_seq.config import TrainRegionsConfig, parse_config, preset_text
from titans_seq.config.overrides import apply_overrides
from titans_seq.errors import ConfigError, InputFileError, StateMismatchError
from titans_seq.genomics import Features, Genome, check_names, open_genome, open_genomes
from titans_seq.genomics.bed_features import read_labels
from titans_seq.genomics.labels import (
    INTRON,
    LabelCounts,
    LabelScheme,
    LabelTracks,
    check_classes,
    label_tracks,
    transcripts,
)
from titans_seq.genomics.open_frames import GeneticCode, genetic_code
from titans_seq.training.dna_job import describe
from titans_seq.training.regions_split import Parts, hold_out
from titans_seq.training.run_folder import check_same, open_run, refuse_existing

_log = logging.getLogger(__name__)

Watch = Callable[[str, float, float, str], None]
Interval = tuple[int, int, int]
DEFAULT_PRESET = "regions-small"
_GENBANK = (".gb", ".gbk", ".gbff", ".genbank")
_TABLES = (".gff", ".gff3", ".gtf", ".bed")
SPLICED_LIMIT = 0.02
"""Share of spliced features up to which a class is decoded as open frames."""


@dataclass(frozen=True)
class ContigGenes:
    """Annotated genes of the class with frames on one contig, 0-based half-open.

    Attributes
    ----------
    whole
        In one piece, with a stop, not marked as a pseudogene, of whole codons: they should be found.
    others
        Every other row of the class: a prediction there is not wrong.
    spliced
        All genes that are not pseudogenes, with introns or without: strand and coding parts.
    """

    whole: tuple[Interval, ...]
    others: tuple[Interval, ...]
    spliced: tuple[tuple[int, tuple[tuple[int, int], ...]], ...] = ()


@dataclass(frozen=True)
class RegionsJob:
    """What is to be done.

    Attributes
    ----------
    config, genome, scheme, code
        Settings; all contigs; what a base can be; start and stop codons.
    tracks, genes
        Labels and genes by contig, for contigs that the annotation knows.
    parts
        What is trained on, what the decoder is fitted on, what is held out.
    decode
        How genes are put together; None where they are not.
    out, inputs, resume
        As in `DnaJob`.
    start
        A run of train-regions whose weights this one begins with.
    """

    config: TrainRegionsConfig
    genome: Genome
    scheme: LabelScheme
    code: GeneticCode
    tracks: dict[str, LabelTracks]
    genes: dict[str, ContigGenes]
    parts: Parts
    decode: Literal["orf", "spliced"] | None
    out: Path
    inputs: dict[str, Any]
    resume: bool
    start: Path | None = None


def prepare(
    *,
    files: Sequence[str],
    preset: str | None = None,
    out: Path | None = None,
    overrides: Sequence[str] = (),
    resume: bool = False,
    start: Path | None = None,
    watch: Watch = lambda stage, done, total, note: None,
) -> RegionsJob:
    """Read and check everything; nothing is written but the token store's cache.

    Parameters
    ----------
    files
        ``GENOME ANNOTATION [GENOME ANNOTATION ...]``; a GenBank file stands for both.
    start
        A run to begin with the weights of.

    Raises
    ------
    ConfigError, InputFileError, UnknownNameError, RangeError
        What does not fit, in one line.
    """
    if resume:
        if out is None:
            raise ConfigError("expected the run folder to go on with; give it as --out")
        before, inputs = open_run(out, TrainRegionsConfig)
        if preset is None:
            data = apply_overrides(before.model_dump(mode="json"), overrides, kind=TrainRegionsConfig)
            config = TrainRegionsConfig.model_validate(data)
        else:
            config = parse_config(TrainRegionsConfig, preset_text(preset), source=preset, overrides=overrides)
        check_same(before, config, path=out)
        pairs = _pairs(files) if files else [tuple(pair) for pair in inputs["files"]]
        start = Path(inputs["from"]) if inputs.get("from") else None
        return _open(config, pairs, inputs=inputs, out=out, resume=True, start=start, watch=watch)
    preset = preset or DEFAULT_PRESET
    config = parse_config(TrainRegionsConfig, preset_text(preset), source=preset, overrides=overrides)
    pairs = _pairs(files)
    out = out or Path("runs") / f"{Path(pairs[0][0]).name.split('.')[0]}-{Path(preset).stem}"
    refuse_existing(out)
    inputs = {
        "files": [[str(Path(name).absolute()) for name in pair] for pair in pairs],
        "from": None if start is None else str(start.absolute()),
    }
    return _open(config, pairs, inputs=inputs, out=out, resume=False, start=start, watch=watch)


def _pairs(files: Sequence[str]) -> list[tuple[str, str]]:
    """``a.fa a.gff3 b.gb`` is ``[(a.fa, a.gff3), (b.gb, b.gb)]``."""
    pairs: list[tuple[str, str]] = []
    rest = list(files)
    while rest:
        genome = rest.pop(0)
        if _ends(genome, _TABLES):
            raise ConfigError(f"expected a genome in front of the annotation {genome}; see titans-seq train-regions -h")
        following = bool(rest) and not _ends(genome, _GENBANK)
        if not following and not _ends(genome, _GENBANK):
            raise ConfigError(f"expected an annotation (GFF3, GTF, GenBank or BED) behind the genome {genome}")
        pairs.append((genome, rest.pop(0) if following else genome))
    if not pairs:
        raise ConfigError("expected GENOME ANNOTATION, found neither; see titans-seq train-regions --help")
    return pairs


def _open(
    config: TrainRegionsConfig,
    pairs: Sequence[tuple[str, str]],
    *,
    inputs: dict[str, Any],
    out: Path,
    resume: bool,
    start: Path | None,
    watch: Watch,
) -> RegionsJob:
    def reading(done: int, total: int | None) -> None:
        watch("reading", done, total or max(done, 1), f"{done / 1e6:,.1f} MB")

    settings = config.labels
    genome = open_genomes([pair[0] for pair in pairs], progress=reading)
    if resume and genome.checksum != inputs["checksum"]:
        raise StateMismatchError(f"{out}: was trained on another genome; give the same files, or another --out")
    describe(genome)
    scheme = LabelScheme(settings.classes, settings.frames)
    code = genetic_code(settings.translation_table, starts=settings.start_codons or None)
    tracks: dict[str, LabelTracks] = {}
    genes: dict[str, ContigGenes] = {}
    numbers: list[int] = []
    spliced = total = 0
    for number, (path, annotation) in enumerate(pairs):
        own = open_genome(path)
        numbers += [number] * len(own)
        features = _labelled(annotation, own, scheme)
        counts = LabelCounts()
        for name in dict.fromkeys(features.seqid.tolist()):
            if name in own:
                tracks[name] = label_tracks(features, name, own.contig(name).length, scheme, counts)
                genes[name] = annotated_genes(features, name, scheme)
        counts.tell(annotation)
        for kind in scheme.frames:
            parts_of = [len(t.parts) for name in own.names for t in transcripts(features.select(seqid=name), kind)]
            spliced, total = spliced + sum(count > 1 for count in parts_of), total + len(parts_of)
    missing = [name for name in genome.names if name not in tracks]
    if missing:
        _log.info("%d contigs without a feature are left out, such as %s", len(missing), missing[0])
    parts = hold_out(genome, list(tracks), config.split, files=numbers)
    decode = _decoding(settings.decode, scheme, spliced=spliced > SPLICED_LIMIT * total)
    inputs = {**inputs, "checksum": genome.checksum}
    return RegionsJob(config, genome, scheme, code, tracks, genes, parts, decode, out, inputs, resume, start)


def _decoding(asked: str, scheme: LabelScheme, *, spliced: bool) -> Literal["orf", "spliced"] | None:
    """How genes are put together, given what was asked for and whether some have introns."""
    able = scheme.framed is not None and INTRON in scheme.classes
    if asked == "spliced" and not able:
        raise ConfigError(f"decode=spliced needs the classes CDS and {INTRON}; found {', '.join(scheme.classes)}")
    if scheme.framed is None or asked == "none":
        return None
    if asked == "orf" or (asked == "auto" and not spliced):
        return "orf"
    return "spliced" if able else None


def _labelled(annotation: str, genome: Genome, scheme: LabelScheme) -> Features:
    features = read_labels(annotation)
    check_names(features, genome)
    check_classes(features, scheme)
    if not any(name in genome for name in set(features.select(scheme.classes).seqid.tolist())):
        raise InputFileError(annotation, expected="features of the classes on a contig of the genome", found="none")
    return features


def annotated_genes(features: Features, name: str, scheme: LabelScheme) -> ContigGenes:
    """The genes of the class with frames on one contig."""
    whole: list[Interval] = []
    others: list[Interval] = []
    spliced = []
    for feature in transcripts(features.select(seqid=name), scheme.framed) if scheme.framed else []:
        if len(feature.parts) == 1 and not feature.pseudo and feature.length % 3 == 0 and feature.strand:
            whole.append((feature.start, feature.end, feature.strand))
        else:
            others += [(start, end, feature.strand) for start, end in feature.parts]
        if not feature.pseudo and feature.length % 3 == 0 and feature.strand:
            spliced.append((feature.strand, feature.parts))
    return ContigGenes(tuple(whole), tuple(others), tuple(spliced))


def _ends(name: str, suffixes: tuple[str, ...]) -> bool:
    bare = name.lower().removesuffix(".gz").removesuffix(".bgz")
    return bare.endswith(suffixes)
