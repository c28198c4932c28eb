"""Memory layers with a learned start: structure, bias, retention gate and algorithm, by name or by part.

Imports torch only.
"""

from titans_seq.memory.neural import NeuralMemory, Reading
from titans_seq.memory.spec import MemorySpec, memory_names, memory_spec

__all__ = ["MemorySpec", "NeuralMemory", "Reading", "memory_names", "memory_spec"]
