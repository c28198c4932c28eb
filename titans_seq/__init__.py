"""titans-seq: sequence models whose memory learns while it reads.

The names below are the public door. They are imported on first use, so that `import titans_seq` (and with it
`titans-seq --help`) does not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from titans_seq.estimators import TitansEmbedder, TitansForecaster
    from titans_seq.memory import MemorySpec, NeuralMemory, memory_names, memory_spec
    from titans_seq.streaming import Encoder, EncoderState

__version__ = "0.1.0"

__all__ = [
    "Encoder",
    "EncoderState",
    "MemorySpec",
    "NeuralMemory",
    "TitansEmbedder",
    "TitansForecaster",
    "__version__",
    "memory_names",
    "memory_spec",
]

_HOME = {
    "Encoder": "titans_seq.streaming",
    "EncoderState": "titans_seq.streaming",
    "MemorySpec": "titans_seq.memory",
    "NeuralMemory": "titans_seq.memory",
    "TitansEmbedder": "titans_seq.estimators",
    "TitansForecaster": "titans_seq.estimators",
    "memory_names": "titans_seq.memory",
    "memory_spec": "titans_seq.memory",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'titans_seq' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
