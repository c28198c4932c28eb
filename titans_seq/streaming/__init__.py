"""Encoders over endless input: state kept, saved, loaded and packed."""

from titans_seq.streaming.model import DnaModel, open_dna_model
from titans_seq.streaming.passages import Passage, in_blocks, parse_context, whole_contig
from titans_seq.streaming.place import Place
from titans_seq.streaming.reader import Part, PassageReader, read_passages
from titans_seq.streaming.readings import MemoryRecord, Readings
from titans_seq.streaming.session import Session
from titans_seq.streaming.snapshot import Encoder, EncoderState

__all__ = [
    "DnaModel",
    "Encoder",
    "EncoderState",
    "MemoryRecord",
    "Part",
    "Passage",
    "PassageReader",
    "Place",
    "Readings",
    "Session",
    "in_blocks",
    "open_dna_model",
    "parse_context",
    "read_passages",
    "whole_contig",
]
