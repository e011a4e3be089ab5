"""Production's tables for the scoring: by the same policy and the same transformation as the extract, with real keys.

What belongs here: that one reading. What does not: publishing; nothing of it may be stored where data scientists read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ds_pipelines.extract import policy as policies
from ds_pipelines.extract import pseudonyms, tombstones
from ds_pipelines.extract.fitting import fitted
from ds_pipelines.extract.masking import Masker
from ds_pipelines.extract.reading import opened
from ds_pipelines.extract.transform import transform

if TYPE_CHECKING:
    from datetime import date

    import polars as pl

    from ds_pipelines.postgres import Role
    from ds_pipelines.settings import Settings


def transformed(
    table: str, settings: Settings, role: Role = "scoring", *, until: date | None = None, since: date | None = None
) -> pl.DataFrame:
    """A table as the extract has it, except that identifiers are the real ones; rows in the order of their key.

    Rows of erased persons are left out.

    Args:
        table: A table of the policy.
        settings: Where production and the policy are.
        role: Who reads.
        until: For a table by day, the last business day, included; None: to the end. A table of current state has no
            history: it comes whole and as it is now.
        since: For a table by day, the first business day; None: from the beginning.

    Raises:
        PolicyError: the policy cannot be used.
        MissingSecretError: the policy moves dates or adds noise, or somebody was erased, and the secret for it cannot
            be used.
        HeldBackError: production is not to be read now.
        The errors of `source`, `fitting` and `transform`.
    """
    policy = policies.load(settings.policies / policies.SHOP)
    with opened(role, settings, policy, table, first=since, last=until) as production:
        readable = production.session.readable(policy, table)
        decisions = fitted(policy, readable, production.session, settings)
        masker = Masker.of(policy, readable, production.session)
        frame = production.session.read(readable, since=since, until=until)
    frame, _ = tombstones.load(settings).without_erased(frame, readable.policy, None)
    keys = pseudonyms.load(settings) if decisions.keyed else None
    made = transform(frame, decisions, keys, zone=settings.zone, keep_keys=True, masker=masker)
    return made.sort(decisions.order)
