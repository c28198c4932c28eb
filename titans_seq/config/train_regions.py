"""Everything `titans-seq train-regions` can be told, as one frozen object."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from titans_seq.config.encoder import EncoderSection
from titans_seq.config.sections import (
    BudgetSection,
    Fraction,
    NonNegative,
    NonNegativeReal,
    OptimiserSection,
    Positive,
    RunSection,
    Section,
)


class LabelsSection(Section):
    """What a base can be.

    Attributes
    ----------
    classes
        Feature types of the annotation, the most important first: where two overlap on a strand, the first wins.
        ``intron`` is derived from exons or CDS parts.
    frames
        Those of them whose codon position is learned too; with one of them, starts are learned and genes are decoded.
    translation_table
        NCBI number, for start and stop codons.
    start_codons
        Codons at which a gene may begin; an empty list takes ATG, GTG and TTG as far as the table has them, and ATG
        alone for genes with introns.
    decode
        Join bases to genes: ``orf`` for genes without introns, ``spliced`` for genes with them (``intron`` must be
        among the classes), ``none`` to leave it at labels. ``auto``, where a class has frames, takes ``orf`` if hardly
        any of its features is spliced, and else ``spliced`` if it can.
    """

    classes: Annotated[tuple[str, ...], Field(min_length=1)] = ("CDS", "tRNA", "rRNA")
    frames: tuple[str, ...] = ("CDS",)
    translation_table: Positive = 11
    start_codons: tuple[str, ...] = ()
    decode: Literal["auto", "orf", "spliced", "none"] = "auto"

    @model_validator(mode="after")
    def _frames_are_classes(self) -> "LabelsSection":
        foreign = [kind for kind in self.frames if kind not in self.classes]
        if foreign or len(self.frames) > 1:
            found = ", ".join(self.frames)
            msg = f"expected frames of at most one of the classes {', '.join(self.classes)}; found {found}"
            raise ValueError(msg)
        return self


class LettersSection(Section):
    """What stands between the letters and the encoder.

    Attributes
    ----------
    patch
        Bases of an encoder token; a multiple of three, so that codon frames survive.
    width, table_width
        Channels of a base, and of a row of the table of hexamers.
    site_weight
        Weight of the cost of gene starts.
    noise, dropout
        Share of the letters that training replaces by others, and of the encoder's input and output that it leaves out:
        for genomes of a million bases, which are learned by heart without.
    """

    patch: Positive = 12
    width: Positive = 32
    table_width: Positive = 16
    site_weight: NonNegativeReal = 1.0
    noise: Fraction = 0.0
    dropout: Fraction = 0.0

    @model_validator(mode="after")
    def _whole_codons(self) -> "LettersSection":
        if self.patch % 3:
            msg = f"expected patch to be a multiple of 3, found {self.patch}"
            raise ValueError(msg)
        return self


class BlocksSection(Section):
    """How genomes are laid out as parallel streams of blocks.

    Attributes
    ----------
    rows
        Streams trained side by side.
    length, margin
        Bases of a block, and bases that are read on either side of it. ``length + 2 margin`` must be a multiple of the
        patch times the encoder's border.
    rare
        Windows around a base of a rare class (under one base in a hundred) that every row reads beside its block;
        probabilities stay what they are, see `titans_seq.tasks.base_labels`.
    gap_reset
        A run of more than this many unknown bases ends a stream.
    """

    rows: Positive = 4
    length: Positive = 5376
    margin: NonNegative = 384
    rare: NonNegative = 1
    gap_reset: NonNegative = 10_000


class HoldOutSection(Section):
    """Which bases are held out for the report, and which for the decoder.

    Attributes
    ----------
    by
        ``region``: the last ``valid_fraction`` of every contig; ``contig``: the contigs named, or from the last one
        backwards until ``valid_fraction`` of the bases is held out; ``file``: the last genome file.
    valid_fraction
        Between 0 and 1.
    valid_contigs
        Names, for ``by: contig``.
    margin
        Bases left out of training in front of the held-out part of a contig.
    decoder_fraction
        The last part of each training stretch, on which the decoder's weights are learned and the network is not.
    """

    by: Literal["region", "contig", "file"] = "region"
    valid_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    valid_contigs: tuple[str, ...] = ()
    margin: NonNegative = 1000
    decoder_fraction: Fraction = 0.1


class DecoderSection(Section):
    """How genes are put together.

    Attributes
    ----------
    min_length
        Of a gene, in bases, stop codon included.
    max_overlap
        Bases that two genes may share.
    train_bases
        Bases of the training part that the decoder's weights are learned from too; the network has seen them.
    """

    min_length: Annotated[int, Field(ge=30)] = 90
    max_overlap: NonNegative = 60
    train_bases: NonNegative = 1_000_000


class RegionsEvaluationSection(Section):
    """How the held-out part is scored.

    Attributes
    ----------
    arms
        ``carried``: the memory goes along the held-out part; ``reset``: it begins afresh in each block, several blocks
        side by side and so several times as fast; ``off``: its reads are zero.
    carry_bases
        Bases read in front of the held-out part in the arm that carries its memory; null reads all of the contig.
    min_gene
        Genes shorter than this, in bases, count neither as found nor as missed in the table of genes.
    baseline_windows
        Bases that the regressions (on GC, k-mers, letters, and what the untrained network gives) learn from, and as
        many that they are scored on; 0 leaves them out.
    cnn_steps
        Steps that the small CNN is trained for, each of ``blocks.rows`` blocks; 0 leaves it out.
    stretch
        Bases drawn in the picture of a region.
    """

    arms: Annotated[tuple[Literal["carried", "reset", "off"], ...], Field(min_length=1)] = ("carried", "reset", "off")
    carry_bases: NonNegative | None = None
    min_gene: NonNegative = 300
    baseline_windows: NonNegative = 60_000
    cnn_steps: NonNegative = 300
    stretch: Positive = 12_000


class TrainRegionsConfig(Section):
    """Configuration of the `train_regions` pipeline; a preset is this in YAML.

    The `budget` has no default: a preset or a flag says when training ends.

    Attributes
    ----------
    members
        Models trained from consecutive seeds, each in a folder of its own; tables are means with their spread.
    """

    pipeline: Literal["train_regions"]
    model: EncoderSection
    labels: LabelsSection = LabelsSection()
    letters: LettersSection = LettersSection()
    blocks: BlocksSection = BlocksSection()
    split: HoldOutSection = HoldOutSection()
    decoder: DecoderSection = DecoderSection()
    optimiser: OptimiserSection = OptimiserSection()
    budget: BudgetSection
    evaluation: RegionsEvaluationSection = RegionsEvaluationSection()
    run: RunSection = RunSection()
    members: Positive = 1

    @model_validator(mode="after")
    def _blocks_meet_borders(self) -> "TrainRegionsConfig":
        patch, border = self.letters.patch, self.model.border
        whole = self.blocks.length + 2 * self.blocks.margin
        for key, value, unit in (
            ("blocks.length + 2 blocks.margin", whole, patch * border),
            ("blocks.length", self.blocks.length, patch),
            ("blocks.margin", self.blocks.margin, patch),
        ):
            if value % unit:
                msg = f"expected {key} to be a multiple of {unit}, found {value}"
                raise ValueError(msg)
        return self
