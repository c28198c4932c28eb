"""AdamW and its schedule.

    rate(step, progress) = peak * min(1, (step + 1) / warmup) * (f + (1 - f) * (1 + cos(pi * progress)) / 2)

with ``f`` the share of the peak that is left at the end and ``progress`` the spent part of the budget, 0 to 1. Only
matrices of linear maps are decayed: look-up tables hold counts, and vectors, gains and the memory's first weights
have no scale to be pulled to.
"""

from math import cos, pi

import torch
from torch import nn

from titans_seq.config.sections import OptimiserSection


def build_optimiser(module: nn.Module, settings: OptimiserSection) -> torch.optim.AdamW:
    """Make AdamW with decay on the weights of `torch.nn.Linear` only."""
    matrices = {id(part.weight) for part in module.modules() if isinstance(part, nn.Linear)}
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if id(p) in matrices], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if id(p) not in matrices], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=1e-8,
        # One pass over memory instead of eight: the look-up tables of k-mers are most of the weights (4 ms for 35).
        fused=True,
    )


def learning_rate(settings: OptimiserSection, *, step: int, progress: float) -> float:
    """Give the rate of an optimiser step.

    With peak 1, warmup 10 and ``final_share`` 0.1: step 0 has 0.1, step 9 about 1, the last step 0.1.
    """
    rise = min(1.0, (step + 1) / settings.warmup) if settings.warmup else 1.0
    fall = settings.final_share + (1 - settings.final_share) * (1 + cos(pi * min(max(progress, 0.0), 1.0))) / 2
    return settings.learning_rate * rise * fall


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Put ``rate`` into every group."""
    for group in optimiser.param_groups:
        group["lr"] = rate
