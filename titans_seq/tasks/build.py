"""Put a task together from its configuration."""

from __future__ import annotations

from titans_seq.config import TrainDnaConfig
from titans_seq.memory.table_layout import TableSpec
from titans_seq.models import Encoder
from titans_seq.tasks.base_context import BaseContext
from titans_seq.tasks.mixing import TableMixing
from titans_seq.tasks.next_base import NextBase

LONGEST_CHUNK = 64


def build_next_base(config: TrainDnaConfig) -> NextBase:
    """Recent bases, an encoder with a memory, a head with four logits, and a table where one is asked for."""
    context = BaseContext(
        d_model=config.model.d_model,
        window=config.input.window,
        kmers=config.input.kmers,
        kmer_width=config.input.kmer_width,
    )
    encoder = Encoder(**config.model.arguments())
    return NextBase(
        encoder=encoder, context=context, d_model=config.model.d_model, mixing=_build_mixing(config, encoder.border)
    )


def _build_mixing(config: TrainDnaConfig, border: int) -> TableMixing | None:
    """The table for bases on two strands, or none where it may take no memory."""
    table = config.table
    if not table.megabytes:
        return None
    # Rows are reset at the encoder's borders, and there a chunk of the table must end, too.
    chunk = next(size for size in range(min(border, LONGEST_CHUNK), 0, -1) if border % size == 0)
    spec = TableSpec(
        orders=table.orders,
        copies=table.copies,
        tolerance=table.tolerance,
        store=table.store,
        chunk=chunk,
        megabytes=table.megabytes,
    )
    return TableMixing(spec, d_model=config.model.d_model, rate=table.rate, drop=table.drop)
