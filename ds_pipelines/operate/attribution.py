"""Who launched a run: the user whom the proxy in front of Dagster's pages names, or nobody in particular.

What belongs here: writing that name on a run as it is submitted. What does not: knowing users, which is the proxy's, or
what a name is used for (the requests of `exploration.tables` carry it).

Dagster itself knows no users, and whoever launches a run can put any tag on it. So the tag is always written anew here:
from the header that `DS_WEBSERVER_USER_HEADER` names, and as *shared* without one, as for runs of schedules and
backfills, which the daemon submits for everybody; for whom production's sensor launched one, another tag of the run
says (`production.sensors`). The header is as trustworthy as the proxy: it must replace what a
browser sends, and be the only way to the pages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster import QueuedRunCoordinator

from ds_pipelines.exploration.tables import USER
from ds_pipelines.gateway import users
from ds_pipelines.settings import load_settings

if TYPE_CHECKING:
    from dagster import DagsterRun, SubmitRunContext


class AttributingRunCoordinator(QueuedRunCoordinator):
    """Dagster's queue, in which every run says who launched it."""

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Queues a run with the tag of its user."""
        header = load_settings().webserver_user_header
        named = (context.get_request_header(header) or "") if header else ""
        self._instance.add_run_tags(context.dagster_run.run_id, {USER: users.name(named) or users.SHARED})
        return super().submit_run(context)
