"""The cell magic `%%experiment`, by which a cell of a notebook runs as an experiment.

What belongs here: turning a cell into a script, and showing what came of it. What does not: running it (run.py).

    %load_ext ds_pipelines.lab

    %%experiment repurchase
    from ds_pipelines import lab
    lab.metric("orders", lab.table("orders").collect().height)

A cell runs by itself, as a script of its own does: it sees nothing of the notebook's variables, so that its record is
whole. Its text is kept below `cells` in the home, and with the run.
"""

from __future__ import annotations

import re
from typing import Any

from ds_pipelines.errors import DsPipelinesError
from ds_pipelines.lab.run import run
from ds_pipelines.lab.scripts import LONGEST_NAME
from ds_pipelines.settings import load_settings

UNNAMED = "cell"


def register(shell: Any) -> None:
    """Gives a shell of IPython's the magic."""
    shell.register_magic_function(experiment, "cell", "experiment")


def experiment(line: str, cell: str) -> None:
    """Runs the cell as an experiment of this name; without one, of the name `cell`."""
    from IPython.core.error import UsageError
    from IPython.display import Image, display

    name = re.sub(r"[^\w]", "_", line.strip())[:LONGEST_NAME].lstrip("_") or UNNAMED
    settings = load_settings()
    script = settings.home / "cells" / f"{name}.py"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(cell, encoding="utf-8")
    try:
        ran = run(script, settings=settings)
    except DsPipelinesError as error:
        raise UsageError(str(error)) from None  # shown as one sentence, without a traceback through our code
    words = f"{ran.record.experiment}: {ran.record.verdict or 'done'} after {ran.record.seconds:.0f} s"
    display({"text/plain": f"{words}\n{ran.record.url}"}, raw=True)
    for png in ran.figures.values():
        display(Image(png))
