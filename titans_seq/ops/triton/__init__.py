"""Triton kernels of the chunk form. Only `limits` may be imported without triton; `dispatch` imports the rest late."""
