"""Dagster's pages in a real browser: an engineer reviews the lineage, and materializes a day by clicking."""

from __future__ import annotations

import shutil
from datetime import date
from typing import TYPE_CHECKING

import polars as pl
import pytest

from ds_pipelines.settings import PROJECT
from ds_pipelines.snapshots.store import SnapshotStore
from ds_pipelines_tests.acceptance.stack import Stack, running
from ds_pipelines_tests.locations import GROUPS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

DAY = date(2025, 3, 3)
SECONDS = 1_000
WIDTH, HEIGHT, MARGIN = 3000, 2400, 10
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PICTURE = PROJECT / "docs" / "images" / "lineage.png"


@pytest.fixture
def stack(request: pytest.FixtureRequest) -> Stack:
    return running(request)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium on this machine (on Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=list(QUIET))
        yield started
        started.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[[str], Page]]:
    """Opens an address in a window that is large enough for the graph's names to be written out."""
    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT})
    context.set_default_timeout(60 * SECONDS)
    page = context.new_page()

    def opened(address: str) -> Page:
        page.goto(address)
        return page

    yield opened
    context.close()


def expand_all(page: Page) -> None:
    """Groups start collapsed; the graph's own menu opens them all."""
    page.locator("foreignObject.group").nth(len(GROUPS) - 1).wait_for()
    page.mouse.click(WIDTH / 2, HEIGHT * 0.9, button="right")  # the empty part of the graph
    page.get_by_role("menuitem", name="Expand all groups").click()


def test_the_lineage_shows_the_groups_of_both_locations_and_what_is_in_them(
    visit: Callable[[str], Page], stack: Stack
) -> None:
    page = visit(f"{stack.settings.webserver_base}/asset-groups")
    groups = page.locator("foreignObject.group")
    groups.nth(len(GROUPS) - 1).wait_for()
    for group in GROUPS:
        page.get_by_text(group, exact=True).first.wait_for()
    expand_all(page)
    page.get_by_text("repurchase_scores", exact=True).wait_for()
    page.reload()  # lays the open groups out anew, in the middle: what lies outside the window is not drawn
    page.get_by_text("orders", exact=True).nth(2).wait_for()
    assert page.get_by_text("orders", exact=True).count() == 3
    assert page.get_by_text("ticket_mood", exact=True).count() == 1


def test_a_day_of_an_extract_is_materialized_by_clicking(visit: Callable[[str], Page], stack: Stack) -> None:
    store = SnapshotStore(stack.settings.snapshots)
    assert "orders" not in store.tables()
    page = visit(f"{stack.settings.webserver_base}/assets/extract/orders")
    page.get_by_text("Never materialized").wait_for()
    page.get_by_role("button", name="Materialize…").click()
    dialog = page.get_by_role("dialog")
    days = dialog.get_by_placeholder("ex: 2025")
    days.fill(str(DAY))
    days.press("Enter")
    dialog.get_by_role("button", name="Launch 1 run").click()
    page.get_by_text("View", exact=True).click()
    page.wait_for_url("**/runs/*")
    page.get_by_text("Success", exact=True).first.wait_for(timeout=120 * SECONDS)

    visited = visit(f"{stack.settings.webserver_base}/assets/extract/orders?view=events")
    visited.get_by_text("Materialized").first.wait_for()
    assert visited.get_by_text(str(DAY), exact=True).count() > 0

    manifest = store.manifest("orders", DAY)
    assert pl.read_parquet(store.path(manifest.digest)).height == manifest.rows > 0


def test_picture_of_the_lineage_for_the_readme(visit: Callable[[str], Page], request: pytest.FixtureRequest) -> None:
    pages = request.config.getoption("--screenshots")
    if pages is None:
        pytest.skip("pictures are taken of pages that run after the demonstration: --screenshots URL")
    page = visit(f"{pages}/asset-groups")
    expand_all(page)
    page.get_by_text("repurchase_scores", exact=True).wait_for()
    page.reload()  # lays the open groups out anew, in the middle
    page.get_by_text("repurchase_scores", exact=True).wait_for()
    page.wait_for_timeout(5 * SECONDS)  # the status of every asset arrives by and by
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    drawn = [box for node in page.locator("foreignObject").all() if (box := node.bounding_box())]
    left, top = (min(box[corner] for box in drawn) - MARGIN for corner in ("x", "y"))
    right = max(box["x"] + box["width"] for box in drawn) + MARGIN
    bottom = max(box["y"] + box["height"] for box in drawn) + MARGIN
    page.screenshot(path=PICTURE, clip={"x": left, "y": top, "width": right - left, "height": bottom - top})
