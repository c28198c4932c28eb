"""When training ends."""

from __future__ import annotations

import pytest

from titans_seq.config.sections import BudgetSection
from titans_seq.training.budget import Budget, plan_budget


def test_epochs_are_steps() -> None:
    budget = plan_budget(BudgetSection(epochs=2), segments_per_epoch=100, accumulate=4)
    assert budget == Budget(steps=50, seconds=None)
    assert budget.progress(step=10, seconds=1e9) == 0.2


def test_minutes_and_epochs_end_with_what_is_reached_first() -> None:
    budget = plan_budget(BudgetSection(epochs=2, minutes=1), segments_per_epoch=100, accumulate=4)
    assert budget == Budget(steps=50, seconds=60.0)
    assert budget.progress(step=10, seconds=30) == 0.5
    assert budget.progress(step=40, seconds=30) == 0.8
    assert budget.spent(step=0, seconds=60)
    assert budget.spent(step=50, seconds=0)


@pytest.mark.parametrize("given", [{}, {"steps": 3, "minutes": 2}, {"steps": 3, "epochs": 2}])
def test_anything_else_is_refused(given: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected one of steps, epochs, minutes, or epochs and minutes"):
        BudgetSection(**given)
