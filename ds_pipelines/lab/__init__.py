"""What a data scientist imports: `from ds_pipelines import lab`.

    orders = lab.table("orders")                  # an extract, as a Polars LazyFrame
    lab.request("orders", since="2025-03-01", because="…")  # asks production for what is not published yet
    trees = lab.param("trees", 200)               # a setting that a run may change
    lab.metric("auc", 0.81)                       # a number it reached
    lab.progress(3, 10)                           # how far it is
    lab.figure(drawing, "gains")                  # a matplotlib figure
    lab.verdict("Do they?", y, predictions, …)    # is there a signal at all?
    lab.save(model, "repurchase", …)              # the model it offers, or a table
    lab.run("repurchase")                         # runs a script and records all of the above in MLflow

Any Python script below the experiments folder is an experiment. Importing this imports nothing heavy: each name is
looked up when it is first used, so that a script pays for what it uses and no more.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ds_pipelines.lab.notes import figure, metric, param, progress, verdict
    from ds_pipelines.lab.request import request
    from ds_pipelines.lab.run import Ran, run
    from ds_pipelines.lab.save import save
    from ds_pipelines.lab.table import table

__all__ = ["Ran", "figure", "metric", "param", "progress", "request", "run", "save", "table", "verdict"]

_OF_NOTES = dict.fromkeys(("figure", "metric", "param", "progress", "verdict"), "notes")
_MODULES = {**_OF_NOTES, "Ran": "run", "request": "request", "run": "run", "save": "save", "table": "table"}
"""Where each name is."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return value


class _Lab(ModuleType):
    """The package itself, in which the names above mean functions, also once modules of the same names are loaded."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _MODULES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Lab
