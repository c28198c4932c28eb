"""What a model is asked to do: heads, losses and their scores."""

from titans_seq.tasks.base_context import BaseContext
from titans_seq.tasks.next_base import BITS_PER_NAT, NextBase, NextBaseState, nats_per_base
from titans_seq.tasks.scoring import Piece, score_pieces
from titans_seq.tasks.trainable import CarriedState, Cost, Trainable, Units

__all__ = [
    "BITS_PER_NAT",
    "BaseContext",
    "CarriedState",
    "Cost",
    "NextBase",
    "NextBaseState",
    "Piece",
    "Trainable",
    "Units",
    "nats_per_base",
    "score_pieces",
]
