"""Experiments that run by themselves, because their header says when.

What belongs here: turning a header's `schedule` into one of Dagster's. What does not: which schedules are possible
(`lab.header`), and the daily work of production.
"""

import dagster as dg

from ds_pipelines.lab.scripts import discover
from ds_pipelines.settings import Settings


def experiment_schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """One schedule an experiment that asks for one and can be run; on from the start, by the business's clock."""
    return [
        dg.ScheduleDefinition(
            name=f"experiment_{script.name}",
            target=dg.AssetSelection.assets(dg.AssetKey(["experiments", script.name])),
            cron_schedule=script.header.schedule,
            execution_timezone=settings.zone,
            description=f"Runs experiments/{script.name}, as the header of its file says.",
            default_status=dg.DefaultScheduleStatus.RUNNING,
        )
        for script in discover(settings.experiments, settings)
        if script.header.schedule is not None and script.problem is None
    ]
