"""Encoders over endless input: state kept, saved, loaded and packed."""

from titans_seq.streaming.model import DnaModel, open_dna_model
from titans_seq.streaming.snapshot import Encoder, EncoderState

__all__ = ["DnaModel", "Encoder", "EncoderState", "open_dna_model"]
