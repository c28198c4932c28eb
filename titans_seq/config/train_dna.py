"""Everything `titans-seq train-dna` can be told, as one frozen object."""

from typing import Literal

from pydantic import model_validator

from titans_seq.config.encoder import EncoderSection
from titans_seq.config.sections import (
    BudgetSection,
    EvaluationSection,
    InputSection,
    OptimiserSection,
    RunSection,
    Section,
    SplitSection,
    StreamsSection,
)
from titans_seq.config.table import TableSection


class TrainDnaConfig(Section):
    """Configuration of the `train_dna` pipeline; a preset is this in YAML.

    The `budget` has no default: a preset or a flag says when training ends.
    """

    pipeline: Literal["train_dna"]
    model: EncoderSection
    input: InputSection = InputSection()
    table: TableSection = TableSection()
    streams: StreamsSection = StreamsSection()
    split: SplitSection = SplitSection()
    optimiser: OptimiserSection = OptimiserSection()
    budget: BudgetSection
    evaluation: EvaluationSection = EvaluationSection()
    run: RunSection = RunSection()

    @model_validator(mode="after")
    def _segments_meet_borders(self) -> "TrainDnaConfig":
        border = self.model.border
        for key, length in (
            ("streams.length", self.streams.length),
            ("evaluation.window", self.evaluation.window),
            ("evaluation.lead_in", self.evaluation.lead_in),
            ("evaluation.piece", self.evaluation.piece),
        ):
            if length % border:
                msg = (
                    f"expected {key} to be a multiple of {border} (the border set by model.chunk_size"
                    f"{' and model.segment' if self.model.variant in ('mac', 'tnt') else ''}), found {length}"
                )
                raise ValueError(msg)
        return self
