"""The memory's arithmetic: its definition (`recurrent`), the fast form (`chunkwise`), and the four choices.

Imports torch only (and, in `ops.triton`, triton).
"""

from titans_seq.ops.biases import BIASES, AttentionalBias, make_bias
from titans_seq.ops.chunkwise import chunkwise
from titans_seq.ops.recurrent import recurrent
from titans_seq.ops.retention import GATES, RetentionGate, make_gate
from titans_seq.ops.rule import Gates, MemoryRule, MemoryState
from titans_seq.ops.structures import STRUCTURES, Structure
from titans_seq.ops.triton.split import Split

__all__ = [
    "BIASES",
    "GATES",
    "STRUCTURES",
    "AttentionalBias",
    "Gates",
    "MemoryRule",
    "MemoryState",
    "RetentionGate",
    "Split",
    "Structure",
    "chunkwise",
    "make_bias",
    "make_gate",
    "recurrent",
]
