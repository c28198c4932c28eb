"""The training loop, written once: optimiser, schedule, checkpoints, log."""
