"""Files into arrays with coordinates, and back. Knows neither model nor memory; imports numpy and errors only.

Coordinates are 0-based half-open everywhere (GFF3/GTF are 1-based only inside their files). Tokens are uint8:
``A C G T -> 0 1 2 3``, everything else ``-> 4`` (:data:`N_TOKEN`).

The contract with the rooms above (all names below are exported here)::

    # alphabet
    BASES = "ACGTN"; N_TOKEN = 4; VOCABULARY = 5
    encode(text: str | bytes) -> uint8[T]           decode(tokens) -> str
    complement(tokens) -> uint8[T]                  reverse_complement(tokens) -> uint8[T]

    # genome: the memory-mapped token store
    open_genome(path, *, cache_dir=None, progress=None) -> Genome         # FASTA, gzip, bgzip, "-", GenBank
    open_genomes(paths, *, cache_dir=None, progress=None) -> Genome       # duplicate names across files refused
        progress: Callable[[int, int | None], None]                       # (bytes read, bytes in file)
    Genome: .contigs: tuple[Contig, ...]  .names: tuple[str, ...]  .total: int (bases)  .checksum: str
            .paths: tuple[str, ...]       .letters: dict[str, int]  (letters other than A C G T, by letter)
            .number(name) -> int (in .contigs)
            .contig(name) -> Contig       .tokens(name, start=0, end=None) -> uint8 view [end - start]
            .n_runs(name) -> int64[R, 2]  .soft_runs(name) -> int64[R, 2]
            .soft_mask(name, start=0, end=None) -> bool[end - start]      .summary() -> dict (JSON-able)
            .release() (pages that were read go back to the system)
    Contig: .name .length .n_count .gc (share of A C G T) .soft_masked (bases) .offset

    # regions and annotation
    read_annotation(path, *, types=None) -> Features                      # GFF3, GTF, GenBank; plain or .gz
    Features: columns .seqid .type (str arrays) .start .end .strand (+1 -1 0) .phase (-1 none); len()
              .select(types=None, seqid=None) -> Features   .attributes(row) -> dict[str, list[str]]
    check_names(features, genome) -> None                                 # InputFileError with examples of both
    CLASS_NAMES = ("intergenic", "genic", "CDS", "repeat", "tRNA", "rRNA")     # a base is its highest class
    class_track(features, name, length) -> uint8[length]                  # values index CLASS_NAMES

    # splits
    Stretch(contig: str, start: int, end: int)
    Split(train: tuple[Stretch, ...], valid: tuple[Stretch, ...])         .to_json() -> dict
    split_by_contigs(genome, valid: Sequence[str]) -> Split
    split_by_fraction(genome, fraction=0.2, *, margin=0) -> Split         # last fraction of each contig

    # training streams (endless; epochs follow each other)
    BaseStreams(genome, stretches, *, batch, segment, border=1, gap_reset=10_000, both_strands=True, seed=0)
        next(streams) -> Segment;  .state_dict() -> dict (JSON-able);  .load_state_dict(dict)
        .segments_per_epoch: int (estimate)   .bases_per_epoch: int   .epoch: int   .fill: float (real tokens share)
    Segment: .tokens uint8[B, L]   .mask bool[B, L] (False: N or padding)   .reset bool[B] (before this segment)
             .targets uint8[B, L] (the next base of the same stream; N_TOKEN where none)
             .target_mask bool[B, L]   .contig int32[B] (index in genome.contigs)   .start int64[B]  .strand int8[B]
    stream_segments(genome, stretch, *, segment, strand=1) -> Iterator[Segment]   # one stretch, B = 1, to its end

``Segment.start`` is the forward coordinate of the row's first token; on strand ``-1`` coordinates run downwards.
"""

from titans_seq.genomics.alphabet import (
    BASES,
    N_TOKEN,
    VOCABULARY,
    complement,
    decode,
    encode,
    reverse_complement,
)
from titans_seq.genomics.genome import Contig, Genome
from titans_seq.genomics.gff import read_annotation
from titans_seq.genomics.regions import CLASS_NAMES, Features, check_names, class_track
from titans_seq.genomics.splits import Split, Stretch, split_by_contigs, split_by_fraction
from titans_seq.genomics.store import default_cache_dir, open_genome, open_genomes
from titans_seq.genomics.streams import BaseStreams, Segment, stream_segments

__all__ = [
    "BASES",
    "CLASS_NAMES",
    "N_TOKEN",
    "VOCABULARY",
    "BaseStreams",
    "Contig",
    "Features",
    "Genome",
    "Segment",
    "Split",
    "Stretch",
    "check_names",
    "class_track",
    "complement",
    "decode",
    "default_cache_dir",
    "encode",
    "open_genome",
    "open_genomes",
    "read_annotation",
    "reverse_complement",
    "split_by_contigs",
    "split_by_fraction",
    "stream_segments",
]
