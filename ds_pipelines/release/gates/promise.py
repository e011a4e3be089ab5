"""Gates over what the release says of production: the code that runs there, and what consumers were promised.

What belongs here: comparing the candidate with the code and the contract of today, and with the champion's. What does
not: whether a day's rows keep the contract (`trial`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ds_pipelines.release.gates.case import answer
from ds_pipelines.release.manifest import code_of, contract_of, independent_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ds_pipelines.evidence import GateResult
    from ds_pipelines.release.gates.case import Case
    from ds_pipelines.release.manifest import Contract, ContractColumn


def code(case: Case) -> GateResult:
    """Production runs the very module that was reviewed and offered."""
    manifest, now = case.manifest, code_of(case.job)
    refused = None
    if (manifest.name, manifest.kind) != (case.job.name, case.job.kind):
        refused = f"the manifest is of a {manifest.kind} {manifest.name}"
    elif (manifest.code.file, manifest.code.sha256) != (now.file, now.sha256):
        refused = f"{now.file} is not the module that was offered"
    elif manifest.independent != independent_of(case.job):
        refused = "the independent definition is not the one that was offered"
    return answer(
        "code",
        f"the {case.job.kind} {case.job.name}, and its module as production has it, by its SHA-256",
        refused,
        f"{now.file} is what production runs",
        file=now.file,
        sha256=now.sha256,
    )


def contract(case: Case) -> GateResult:
    """The contract is the job's of today, and promises consumers no less than the release in use."""
    offered = case.manifest.contract
    refused = None if offered == contract_of(case.job) else "the contract that was offered is not the job's of today"
    if refused is None and case.champion is not None:
        narrower = list(_narrower(case.champion.manifest.contract, offered))
        refused = f"narrower than what consumers have: {'; '.join(narrower)}" if narrower else None
    against = case.champion.manifest.file_name if case.champion else "nothing, as no release is in use"
    return answer(
        "contract",
        "the job's contract, with every column that consumers have now, in its type and no wider bounds",
        refused,
        f"{len(offered.columns)} columns, none of them less than promised",
        columns=len(offered.columns),
        compared_with=against,
    )


def _narrower(before: Contract, after: Contract) -> Iterator[str]:
    """What consumers of one contract would miss in the other, a phrase each."""
    if (before.table, before.key) != (after.table, after.key):
        yield f"table {after.table} by {', '.join(after.key)}, not {before.table} by {', '.join(before.key)}"
    there = {column.name: column for column in after.columns}
    for column in before.columns:
        if column.name not in there:
            yield f"{column.name} is gone"
        elif there[column.name].type != column.type:
            yield f"{column.name} is of type {there[column.name].type}, not {column.type}"
        elif _wider(column, there[column.name]):
            yield f"{column.name} may lie outside its bounds"


def _wider(before: ContractColumn, after: ContractColumn) -> bool:
    """Whether values are allowed that were not."""
    below = before.least is not None and (after.least is None or after.least < before.least)
    above = before.most is not None and (after.most is None or after.most > before.most)
    return below or above
