"""Scores and cheap baselines, each against arrays of targets and predictions."""
