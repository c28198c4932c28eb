"""Memory layers with a learned start: structure, bias, retention gate and algorithm, by name or by part.

Beside them the `Table`, an associative memory that holds a whole chromosome. Imports torch only.
"""

from titans_seq.memory.neural import NeuralMemory, Reading
from titans_seq.memory.spec import MemorySpec, memory_names, memory_spec
from titans_seq.memory.table import Table, TableReading
from titans_seq.memory.table_layout import TableSpec
from titans_seq.memory.table_state import TableState

__all__ = [
    "MemorySpec",
    "NeuralMemory",
    "Reading",
    "Table",
    "TableReading",
    "TableSpec",
    "TableState",
    "memory_names",
    "memory_spec",
]
