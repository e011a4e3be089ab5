"""The weekly report as an asset: the picture in Dagster's pages, and the page as a file.

What belongs here: that asset. What does not: gathering and drawing.
"""

import base64
from collections.abc import Collection
from typing import Any

import dagster as dg

from ds_pipelines.scoring.job import ScoringJob
from ds_pipelines.settings import load_settings


def weekly_report(jobs: Collection[ScoringJob]) -> dg.AssetsDefinition:
    """`report/weekly`: the seven days that end with the last that can be extracted."""

    @dg.asset(
        key=["report", "weekly"],
        deps=[dg.AssetDep(["serving", job.table]) for job in jobs],
        description=(
            "What was delivered in the last seven days, how scores and features moved, what went wrong, and whether "
            "releases keep their promises. Aggregates only."
        ),
        owners=["team:platform-engineering"],
        group_name="watch",
        kinds={"matplotlib", "html"},
        tags={"dagster/max_runtime": "900"},
    )
    def weekly() -> dg.MaterializeResult[Any]:
        from ds_pipelines.watch.weekly import gather, write
        from ds_pipelines.watch.weekly_plot import plot

        settings = load_settings()
        report = gather(jobs, settings)
        picture = plot(report)
        drawn = base64.b64encode(picture).decode()
        lines = [f"**{week.job.name}**: {line}" for week in report.jobs for line in week.words]
        troubles = [each.words for each in report.troubles] or ["no problem"]
        return dg.MaterializeResult(
            metadata={
                "week": f"{report.first} to {report.last}",
                "picture": dg.MetadataValue.md(f"![](data:image/png;base64,{drawn})"),
                "words": dg.MetadataValue.md("\n".join(f"- {line}" for line in [*lines, *troubles])),
                "page": dg.MetadataValue.path(str(write(report, picture, settings))),
                "problems": len(report.troubles),
            }
        )

    return weekly
