"""Encoders over endless input: state kept, saved, loaded and packed."""

from titans_seq.streaming.model import DnaModel, open_dna_model
from titans_seq.streaming.place import Place
from titans_seq.streaming.readings import MemoryRecord, Readings
from titans_seq.streaming.session import Session
from titans_seq.streaming.snapshot import Encoder, EncoderState

__all__ = [
    "DnaModel",
    "Encoder",
    "EncoderState",
    "MemoryRecord",
    "Place",
    "Readings",
    "Session",
    "open_dna_model",
]
