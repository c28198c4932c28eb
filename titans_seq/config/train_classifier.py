"""Everything `titans-seq train-classifier` can be told, as one frozen object."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from titans_seq.config.encoder import EncoderSection
from titans_seq.config.sections import (
    BudgetSection,
    Fraction,
    InputSection,
    NonNegative,
    OptimiserSection,
    Positive,
    RunSection,
    Section,
)


class LabelledSection(Section):
    """How labelled sequences are read and parted.

    Attributes
    ----------
    sequence_column, label_column, name_column
        Columns of a table; of a BED file the label's column as a number from 1, or its name.
    columns
        Names of all columns of a table without a header line.
    split_column
        Column that says train, dev or test; null where there is none.
    positive
        With two classes the one that AUROC and AUPRC speak of; null takes the last in order of the labels, and of two
        FASTA files the first.
    conflicts
        What to do with a sequence that has two labels.
    dev_fraction, test_fraction
        Share of each class that is held out where no file is given for it.
    drop_seen
        Leave out of training what stands in a held-out part as well.
    """

    sequence_column: str = "sequence"
    label_column: str = "label"
    name_column: str = "name"
    columns: tuple[str, ...] = ()
    split_column: str | None = None
    positive: str | None = None
    conflicts: Literal["refuse", "drop"] = "refuse"
    dev_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    drop_seen: bool = True


class ClassifierSection(Section):
    """What stands around the encoder.

    Attributes
    ----------
    front
        ``conv``: convolutions and a coarser grid; ``context``: one token a base, as in `train-dna` (taken
        by itself when a pretrained run is given).
    width, stride, layers
        Of ``conv``: bases that a filter sees, bases that become one token, convolutions in all.
    parts
        Equal parts of a sequence that are told apart, for anchored sequences; 0 for none.
    positions
        Places, counted from the start, whose bases also go straight to the output; null takes those of the longest
        training sequence (at most 2000), 0 none.
    content
        Lengths of k-mers (1 to 6) whose counts, wherever they stand, go straight to the output as well.
    both_ways
        Of ``conv``: read the tokens from the right as well.
    reverse_complement
        ``none``, ``augment``, ``average`` or ``equivariant``; see `titans_seq.tasks.classify`.
    dropout, mask_bases, label_smoothing
        Regularisation.
    frozen
        Train the head only: of a pretrained run, or of random weights.
    members
        Models trained from consecutive seeds; predictions are their mean, and the spread is reported.
    """

    front: Literal["conv", "context"] = "conv"
    width: Positive = 15
    stride: Positive = 8
    layers: Positive = 2
    parts: NonNegative = 16
    positions: NonNegative | None = None
    content: tuple[Annotated[int, Field(ge=1, le=6)], ...] = ()
    both_ways: bool = True
    reverse_complement: Literal["none", "augment", "average", "equivariant"] = "none"
    dropout: Fraction = 0.3
    mask_bases: Fraction = 0.1
    label_smoothing: Fraction = 0.05
    frozen: bool = False
    members: Positive = 3

    @model_validator(mode="after")
    def _front_allows(self) -> "ClassifierSection":
        if self.width % 2 == 0:
            raise ValueError(f"expected classifier.width to be odd, found {self.width}")
        if self.front == "context" and self.both_ways:
            raise ValueError(
                "classifier.both_ways needs classifier.front=conv; for both strands of a context front set "
                "classifier.reverse_complement=equivariant"
            )
        return self


class BatchSection(Section):
    """How the training part is gone through.

    Attributes
    ----------
    size
        Sequences of a step.
    patience
        Training ends when the cost on the dev part has not fallen for this many passes; null never ends it early.
    """

    size: Positive = 64
    patience: Positive | None = 5


class ClassificationSection(Section):
    """How the test part is scored.

    Attributes
    ----------
    window
        Tokens after which the arm ``reset`` begins its memory anew; a multiple of the encoder's border.
    rows
        Sequences scored side by side.
    baselines
        Cheap opponents printed beside; an empty list leaves them out.
    cnn_epochs
        Passes that the small CNN is trained for; 0 leaves it out.
    """

    window: Positive = 16
    rows: Positive = 256
    baselines: tuple[str, ...] = ("majority", "length only", "GC only", "k-mer LR", "one-hot LR")
    cnn_epochs: NonNegative = 15


class TrainClassifierConfig(Section):
    """Configuration of the `train_classifier` pipeline; a preset is this in YAML."""

    pipeline: Literal["train_classifier"]
    model: EncoderSection
    input: InputSection = InputSection()
    classifier: ClassifierSection = ClassifierSection()
    data: LabelledSection = LabelledSection()
    batches: BatchSection = BatchSection()
    optimiser: OptimiserSection = OptimiserSection()
    budget: BudgetSection
    evaluation: ClassificationSection = ClassificationSection()
    run: RunSection = RunSection()

    @model_validator(mode="after")
    def _windows_meet_borders(self) -> "TrainClassifierConfig":
        if self.evaluation.window % self.model.border:
            msg = (
                f"expected evaluation.window to be a multiple of {self.model.border} (the border set by "
                f"model.chunk_size), found {self.evaluation.window}"
            )
            raise ValueError(msg)
        return self
