"""The verdict as asset checks of its experiment, so that Dagster's pages show whether it holds.

What belongs here: which checks an experiment has, and their results from a run's verdict. What does not: judging.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    from ds_pipelines.evidence import Verdict

CALL = re.compile(r"\bverdict\s*\(")
"""A call of lab.verdict, whatever the name under which it was imported: in Python, in a notebook's text, or in R."""
CHECKS = {
    "split_is_valid": "The split holds and nothing that was looked for leaks.",
    "signal": "A model family does better than chance, by an amount that counts.",
    "first_look": "Nobody has looked at these held-out rows before.",
}
"""What each check says, by name; none blocks anything."""


def verdict_check_specs(asset: dg.AssetKey | Sequence[str], script: Path) -> list[dg.AssetCheckSpec]:
    """The checks of an experiment whose code calls lab.verdict; none of another."""
    try:
        calls = bool(CALL.search(script.read_text(encoding="utf-8", errors="replace")))
    except OSError:
        return []
    key = dg.AssetKey(list(asset)) if not isinstance(asset, dg.AssetKey) else asset
    return [dg.AssetCheckSpec(name, asset=key, description=text) for name, text in CHECKS.items() if calls]


def verdict_check_results(verdict: "Verdict | None", specs: Sequence[dg.AssetCheckSpec]) -> list[dg.AssetCheckResult]:
    """One result for each of the checks that were declared."""
    return [_result(verdict, spec) for spec in specs]


def _result(verdict: "Verdict | None", spec: dg.AssetCheckSpec) -> dg.AssetCheckResult:
    warning = dg.AssetCheckSeverity.WARN
    if verdict is None:
        return dg.AssetCheckResult(
            asset_key=spec.asset_key, check_name=spec.name, passed=False, severity=warning,
            description="The run asked for no verdict.",
        )  # fmt: skip
    passed = {
        "split_is_valid": verdict.answer != "invalid",
        "signal": verdict.answer == "signal",
        "first_look": verdict.look in (None, 1),
    }[spec.name]
    return dg.AssetCheckResult(
        asset_key=spec.asset_key,
        check_name=spec.name,
        passed=passed,
        severity=dg.AssetCheckSeverity.ERROR if spec.name == "split_is_valid" else warning,
        description=verdict.words,
        metadata=dict(_facts(verdict, spec.name)),
    )


def _facts(verdict: "Verdict", name: str) -> Iterator[tuple[str, Any]]:
    """The figures behind a check; absent ones are left out."""
    if name == "split_is_valid":
        yield from ((check.name, f"{check.standing}: {check.words}") for check in verdict.checks)
    elif name == "first_look":
        yield "look", "not counted" if verdict.look is None else verdict.look
        yield "largest p that counts", verdict.level
    else:
        figures = {"p": verdict.p, "effect": verdict.effect, "more rows": verdict.more_rows, "best": verdict.best}
        yield from ((key, value) for key, value in figures.items() if value is not None)
        yield "answer", verdict.answer
        for family in verdict.families:
            yield f"{family.name}: AUC", f"{family.auc:.3f} ({family.low:.3f} to {family.high:.3f})"
        for each in verdict.by_class:
            yield f"class {each.name}: AUC", f"{each.auc:.3f} ({each.low:.3f} to {each.high:.3f})"
