"""Put a task together from its configuration."""

from __future__ import annotations

from titans_seq.config import TrainDnaConfig
from titans_seq.models import Encoder
from titans_seq.tasks.base_context import BaseContext
from titans_seq.tasks.next_base import NextBase


def build_next_base(config: TrainDnaConfig) -> NextBase:
    """Recent bases, an encoder with a memory, a head with four logits."""
    context = BaseContext(
        d_model=config.model.d_model,
        window=config.input.window,
        kmers=config.input.kmers,
        kmer_width=config.input.kmer_width,
    )
    encoder = Encoder(**config.model.arguments())
    return NextBase(encoder=encoder, context=context, d_model=config.model.d_model)
