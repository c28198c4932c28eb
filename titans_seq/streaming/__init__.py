"""Encoders over endless input: state kept, saved, loaded and packed."""
