"""Tables of series to tensors with time stamps, and tensors with time stamps to tables."""
