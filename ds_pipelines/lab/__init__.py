"""What a data scientist imports: `from ds_pipelines import lab`.

    orders = lab.table("orders")                  # an extract, as a Polars LazyFrame
    lab.request("orders", since="2025-03-01", because="…")  # asks production for what is not published yet
    trees = lab.param("trees", 200)               # a setting that a run may change
    lab.metric("auc", 0.81)                       # a number it reached
    lab.figure(drawing, "gains")                  # a matplotlib figure
    lab.verdict("Do they?", y, predictions, …)    # is there a signal at all?
    lab.save(model, "repurchase", …)              # the model it offers, or a table
    lab.run("repurchase")                         # runs a script and records all of the above in MLflow

Any Python script below the experiments folder is an experiment. Importing this imports nothing heavy.
"""

from ds_pipelines.lab.notes import figure, metric, param
from ds_pipelines.lab.request import request
from ds_pipelines.lab.run import Ran, run
from ds_pipelines.lab.save import save
from ds_pipelines.lab.table import table
from ds_pipelines.lab.verdict import verdict

__all__ = ["Ran", "figure", "metric", "param", "request", "run", "save", "table", "verdict"]
