"""Is the split valid, and does anything leak? All checks of it, in the order in which a verdict makes them.

What belongs here: that order. What does not: any check itself. What none of them can see is said in the words of each,
and in docs/explanation/verdict.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ds_pipelines.lab.adversary import check_alike
from ds_pipelines.lab.giveaway import check_giveaway
from ds_pipelines.lab.preprocessing import check_preprocessing
from ds_pipelines.lab.split import crossings
from ds_pipelines.lab.twins import check_twins

if TYPE_CHECKING:
    from datetime import date

    import numpy as np

    from ds_pipelines.evidence import Check, Task
    from ds_pipelines.lab.split import Split


def examine(
    split: Split, task: Task, train_ends: date | None, test_begins: date | None, rng: np.random.Generator
) -> tuple[Check, ...]:
    """What each check saw; one that fails makes the verdict invalid."""
    declared = None
    if train_ends is not None and test_begins is not None and train_ends < test_begins:
        declared = f"Training ends on {train_ends}, the test begins on {test_begins}, as was declared."
    return (
        *crossings(split, declared),
        check_twins(split, rng),
        check_giveaway(split, task),
        check_preprocessing(split),
        check_alike(split, rng),
    )
