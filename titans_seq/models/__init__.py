"""Encoders built from memories and windowed attention; torch only."""
