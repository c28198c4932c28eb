"""Encoders over endless input: state kept, saved, loaded and packed."""

from titans_seq.streaming.snapshot import Encoder, EncoderState

__all__ = ["Encoder", "EncoderState"]
