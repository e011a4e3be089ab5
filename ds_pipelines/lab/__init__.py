"""What a data scientist imports: `from ds_pipelines import lab`.

    orders = lab.table("orders")                  # an extract, as a Polars LazyFrame
    lab.request("orders", since="2025-03-01", because="…")  # asks production for what is not published yet
    trees = lab.param("trees", 200)               # a setting that a run may change
    lab.metric("auc", 0.81)                       # a number it reached
    lab.progress(3, 10)                           # how far it is
    lab.figure(drawing, "gains")                  # a matplotlib figure
    lab.verdict("Do they?", y, predictions, …)    # is there a signal at all?
    lab.forecast(fit, table)                      # how long, how much memory, before the whole is run
    lab.save(model, "repurchase", …)              # the model it offers, or a table
    lab.run("repurchase")                         # runs a script and records all of the above in MLflow

Any Python script, notebook or R script below the experiments folder is an experiment. Importing this imports nothing
heavy: each name is looked up when it is first used, so that a script pays for what it uses and no more.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ds_pipelines.lab.forecast import Forecast, forecast
    from ds_pipelines.lab.notes import figure, metric, param, progress
    from ds_pipelines.lab.request import request
    from ds_pipelines.lab.run import Ran, run
    from ds_pipelines.lab.save import save
    from ds_pipelines.lab.table import table
    from ds_pipelines.lab.verdict import verdict

__all__ = [
    "Forecast", "Ran", "figure", "forecast", "metric", "param", "progress", "request", "run", "save", "table",
    "verdict",
]  # fmt: skip

_NAMES = {
    "forecast": ("Forecast", "forecast"),
    "notes": ("figure", "metric", "param", "progress"),
    "request": ("request",),
    "run": ("Ran", "run"),
    "save": ("save",),
    "table": ("table",),
    "verdict": ("verdict",),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}
"""Where each name is."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return value


def load_ipython_extension(shell: "InteractiveShell") -> None:
    """`%load_ext ds_pipelines.lab`: the cell magic `%%experiment`."""
    from ds_pipelines.lab.magics import register

    register(shell)


class _Lab(ModuleType):
    """The package itself, in which the names above mean functions, also once modules of the same names are loaded."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _MODULES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Lab
