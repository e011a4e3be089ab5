"""The service keeps to its own description: whatever is sent, Schemathesis finds no answer that it does not allow."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import hypothesis
import pytest
import schemathesis

from ds_pipelines.gateway import grants
from ds_pipelines.gateway.grants import Kind, Wanted

if TYPE_CHECKING:
    from ds_pipelines.settings import Settings

EXAMPLES = 12
KINDS: tuple[Kind, ...] = ("extracts", "scores", "metrics")


@pytest.fixture(scope="module")
def tokens(served: Settings) -> dict[Kind, str]:
    """A token of each kind, with limits that are not reached."""
    tables = {"extracts": None, "scores": frozenset({"top_sellers"}), "metrics": None}
    return {
        kind: grants.create(Wanted(f"contract {kind}", kind, tables[kind], timedelta(hours=1), 10**7, 10**12), served)
        for kind in KINDS
    }


@pytest.fixture
def described(served: Settings) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{served.gateway_base}/openapi.json")


api = schemathesis.pytest.from_fixture("described")


@api.parametrize()
@hypothesis.settings(
    max_examples=EXAMPLES, derandomize=True, database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)  # fmt: skip
def test_nothing_that_is_sent_gets_an_answer_that_is_not_described(
    case: schemathesis.Case, tokens: dict[Kind, str]
) -> None:
    needed: dict[str, Kind] = {"/v1/scores": "scores", "/metrics": "metrics"}
    kind = next((kind for path, kind in needed.items() if case.path.startswith(path)), "extracts")
    case.call_and_validate(headers={"Authorization": f"Bearer {tokens[kind]}"})
