"""Put a labelling task together from its configuration."""

from __future__ import annotations

from titans_seq.config import TrainRegionsConfig
from titans_seq.genomics import encode
from titans_seq.genomics.labels import LabelScheme
from titans_seq.genomics.open_frames import codon_numbers, genetic_code
from titans_seq.models import Encoder
from titans_seq.tasks.base_labels import BaseLabels


def build_base_labels(config: TrainRegionsConfig) -> BaseLabels:
    """Letters, an encoder with a memory that reads both strands, a head for states and one for gene starts."""
    scheme = LabelScheme(config.labels.classes, config.labels.frames)
    code = genetic_code(config.labels.translation_table, starts=config.labels.start_codons or None)
    starts = [int(codon_numbers(encode(codon))[0]) for codon in code.starts] if scheme.framed else []
    return BaseLabels(
        encoder=Encoder(**config.model.arguments()),
        d_model=config.model.d_model,
        n_states=len(scheme.states),
        patch=config.letters.patch,
        margin=config.blocks.margin,
        width=config.letters.width,
        table_width=config.letters.table_width,
        start_codons=starts,
        site_weight=config.letters.site_weight,
        noise=config.letters.noise,
        dropout=config.letters.dropout,
    )
