"""Keeping the figures that a script shows, or leaves open, with matplotlib's pyplot.

What belongs here: noticing them. What does not: how a figure is kept (notes.py).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ds_pipelines.lab.notes import NAME, figure
from ds_pipelines.lab.seeds import named_as

if TYPE_CHECKING:
    from types import ModuleType

    from ds_pipelines.lab.imports import Watch
    from ds_pipelines.lab.notes import Notes

MOST = 100
"""Figures of one run that are kept without being asked for."""


def install(watch: Watch, notes: Notes) -> None:
    """Makes `plt.show()` keep what it would show; nobody looks at the screen of a run."""

    def pyplot(module: ModuleType) -> None:
        @named_as(module, "show")
        def show(*_: Any, **__: Any) -> None:
            keep_open(notes)

        module.show = show  # type: ignore[attr-defined]

    watch.after("matplotlib.pyplot", pyplot)


def keep_open(notes: Notes) -> None:
    """Keeps every open figure of pyplot's, by its label or a number, and closes it."""
    module = sys.modules.get("matplotlib.pyplot")
    if module is None:
        return
    for number in module.get_fignums():
        drawing = module.figure(number)
        if len(notes.figures) < MOST and (drawing.axes or drawing.texts):
            figure(drawing, _name(drawing.get_label(), notes))
        else:
            module.close(drawing)


def _name(label: str, notes: Notes) -> str:
    """The figure's label where it can name a file and does not yet; else the next free number."""
    if NAME.fullmatch(label) and label not in notes.figures:
        return label
    number = 1
    while f"figure {number}" in notes.figures:
        number += 1
    return f"figure {number}"
