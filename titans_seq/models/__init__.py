"""Encoders built from memories and windowed attention, and the state they carry; torch only."""

from titans_seq.models.encoder import VARIANTS, Encoder
from titans_seq.models.state import StreamState

__all__ = ["VARIANTS", "Encoder", "StreamState"]
