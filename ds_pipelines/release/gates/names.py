"""The names of the gates in their order, and what each asks: light enough for a code location to read when it loads.

What belongs here: names. What does not: asking (`every`).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LOADING_NOTHING: Mapping[str, str] = MappingProxyType(
    {
        "evidence": "A signal, a signed methodology review and a reproduction, of this very run, not stale, or waived.",
        "hashes": "Every file that the manifest names has its SHA-256, and there is no other.",
        "format": "The model's bytes are of a format on the platform's own list, of parts on our list; never pickle.",
        "environment": "It is tried in acceptance, which can write neither the shop nor what production serves.",
        "code": "Production runs the very module that was reviewed and offered.",
        "contract": "The contract is the job's of today, and promises consumers no less than the release in use.",
        "tests": "A test of the project takes the job, and asserts something of what it computes.",
        "owners": "Somebody answers for the release, somebody reviews its module, somebody reads what it delivers.",
    }
)
"""All of them are asked, so that every mistake is told at once."""

WORKING: Mapping[str, str] = MappingProxyType(
    {
        "no skew": "The same rows give the same features by the extract's and by the scoring's path.",
        "no leak": "A day's rows are the same whether or not rows of later days are there.",
        "independent": "A computation gives exactly the rows of its independent definition in SQL.",
        "budget": "A day takes no more time and memory than the release declares.",
        "delivery": "A day's rows keep the contract, and are delivered whole with their receipt.",
        "faithful": "From the experiment's snapshots, production gives the experiment's predictions.",
        "backtest": "On recent days it beats the champion, or the baseline, by the margin that it declares.",
    }
)
"""They read production, and from `budget` on load the model; asked one after the other, until one refuses."""

GATES: Mapping[str, str] = MappingProxyType({**LOADING_NOTHING, **WORKING})


def check_name(gate: str) -> str:
    """As Dagster names the check of a gate."""
    return gate.replace(" ", "_")
