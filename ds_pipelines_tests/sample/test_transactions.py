"""A shop around real transactions: what becomes of each kind of row, and that none goes missing."""

import gzip
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from ds_pipelines.errors import MissingTransactionColumnsError, UnreadableTransactionsError
from ds_pipelines.sample import Shop, from_transactions
from ds_pipelines.sample.schema import COLUMNS

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
GOOD = [
    "536365,85123A,WHITE HANGING HEART T-LIGHT HOLDER,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom",
    "536365,71053,WHITE METAL LANTERN,6,2010-12-01 08:26:00,3.39,17850.0,United Kingdom",
]
DIRT = [
    *GOOD,
    GOOD[1],
    # the same product with other letters, another description, odd spacing
    "536366,85123a,WHITE HANGING HEART T-LIGHT HOLDER,12,2010-12-02 09:00:00,2.55,17850.0,United Kingdom",
    "536366,85123A,CREAM  HANGING HEART,1,2010-12-02 09:01:00,2.95,17850.0,France",
    "536366,71053,,2,2010-12-02 09:00:00,3.39,17850.0,United Kingdom",
    # a guest; no product; fractions of a penny; a gift; a customer without the decimal point
    "536367,DOT,DOTCOM POSTAGE,1,2010-12-02 10:00:00,4.965,,United Kingdom",
    "536368,71053,WHITE METAL LANTERN,1,2010-12-02 11:00:00,0.0,12345,Germany",
    # returns, with and without the letter
    "C536369,71053,WHITE METAL LANTERN,-2,2010-12-04 12:00:00,3.39,17850.0,United Kingdom",
    "536370,71053,WHITE METAL LANTERN,-1,2010-12-04 12:30:00,3.39,12345.0,Germany",
    # one invoice, two customers
    "536371,71053,WHITE METAL LANTERN,3,2010-12-04 13:00:00,3.39,17850.0,United Kingdom",
    "536371,71053,WHITE METAL LANTERN,4,2010-12-04 13:00:00,3.39,12345.0,Germany",
    # the hour that the clock skips
    "536372,71053,WHITE METAL LANTERN,1,2011-03-27 01:30:00,3.39,12345.0,Germany",
    # set aside
    "A536373,B,Adjust bad debt,1,2010-12-04 14:00:00,100.0,,United Kingdom",
    "536374,71053,damaged,-5,2010-12-04 14:00:00,0.0,,United Kingdom",
    "536375,71053,WHITE METAL LANTERN,1,2010-12-04 14:00:00,-3.39,17850.0,United Kingdom",
    "536376,71053,WHITE METAL LANTERN,0,2010-12-04 14:00:00,3.39,17850.0,United Kingdom",
    "C536377,71053,WHITE METAL LANTERN,7,2010-12-04 14:00:00,3.39,17850.0,United Kingdom",
    "invoice,71053,WHITE METAL LANTERN,1,2010-12-04 14:00:00,3.39,17850.0,United Kingdom",
    "536378,,WHITE METAL LANTERN,1,2010-12-04 14:00:00,3.39,17850.0,United Kingdom",
    "536378,71053,WHITE METAL LANTERN,one,2010-12-04 14:00:00,3.39,17850.0,United Kingdom",
    "536378,71053,WHITE METAL LANTERN,1,2010-13-04 14:00:00,3.39,17850.0,United Kingdom",
    "536378,71053,WHITE METAL LANTERN,1,2010-12-04 14:00:00,free,17850.0,United Kingdom",
    "536378,71053,WHITE METAL LANTERN,1,2010-12-04 14:00:00,3.39,someone,United Kingdom",
    "536378,71053,WHITE, METAL LANTERN,1,2010-12-04 14:00:00,3.39,17850.0,United Kingdom",
    "",
    '536378,71053,"WHITE METAL',
    'LANTERN",1,2010-12-04 14:00:00,3.39,17850.0,United Kingdom',
]
FATES = {
    "blank line": 1,
    "other number of fields": 1,
    "field that runs on": 2,
    "InvoiceNo that cannot": 1,
    "StockCode that cannot": 1,
    "Quantity that cannot": 1,
    "InvoiceDate that cannot": 1,
    "UnitPrice that cannot": 1,
    "CustomerID that cannot": 1,
    "exact copy": 1,
    "InvoiceNo with another letter": 1,
    "UnitPrice below 0": 1,
    "UnitPrice 0 and no": 1,
    "Quantity 0": 1,
    "InvoiceNo with C, for": 1,
    "InvoiceNo with C, or": 2,
    "any other row": 10,
}
DETAILS = {
    "InvoiceNo with several": 1,
    "InvoiceDate that the clock": 1,
    "InvoiceDate later": 1,
    "CustomerID with": 10,
    "Country other": 1,
    "StockCode with": 1,
    "Description with": 1,
    "Description other": 2,
    "UnitPrice with": 1,
    "no CustomerID": 1,
    "UnitPrice 0 with": 1,
    "StockCode of": 1,
    "days, not rows": 113,
}


def write(folder: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path = folder / "transactions.csv"
    path.write_bytes("\n".join([HEADER, *lines, ""]).encode(encoding))
    return path


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return from_transactions(write(tmp_path_factory.mktemp("dirt"), *DIRT), seed=3)


def counted(shop: Shop, text: str) -> int:
    (found,) = (entry for entry in shop.accounting if entry.rule.startswith(text))
    return found.rows


def total(shop: Shop, fate: str) -> int:
    return sum(entry.rows for entry in shop.accounting if entry.fate == fate)


@pytest.mark.parametrize(("rule", "rows"), [*FATES.items(), *DETAILS.items()])
def test_rule_counts_its_rows(shop: Shop, rule: str, rows: int) -> None:
    assert counted(shop, rule) == rows


def test_no_row_vanishes_unexplained(shop: Shop) -> None:
    assert total(shop, "read") == len(DIRT) == total(shop, "kept") + total(shop, "set aside")
    assert shop.rows["order_lines"] == total(shop, "kept")


def test_tables_have_the_columns_and_types_of_the_schema(shop: Shop) -> None:
    assert {name: dict(frame.schema) for name, frame in shop.tables.items()} == COLUMNS


def test_customers_are_those_of_the_file_at_home_where_most_rows_are(shop: Shop) -> None:
    customers = shop.tables["customers"]
    assert dict(customers.select("customer_id", "country").iter_rows()) == {12345: "Germany", 17850: "United Kingdom"}
    assert customers["registered_at"][1] < datetime(2010, 12, 1, 8, 26, tzinfo=UTC)


def test_an_order_is_what_one_customer_bought_or_brought_back_under_one_number(shop: Shop) -> None:
    orders = shop.tables["orders"].select("order_id", "customer_id", "kind")
    assert orders.rows() == [
        (536365, 17850, "sale"),
        (536366, 17850, "sale"),
        (536367, None, "sale"),
        (536368, 12345, "sale"),
        (536369, 17850, "return"),
        (536370, 12345, "return"),
        (536371, 17850, "sale"),
        (536373, 12345, "sale"),
        (536372, 12345, "sale"),
    ]


def test_lines_keep_quantities_and_prices_exactly(shop: Shop) -> None:
    lines = shop.tables["order_lines"]
    first = lines.filter(pl.col("order_id") == 536365).select("quantity", "unit_price", "discount", "tax_rate")
    assert first.rows() == [
        (6, Decimal("2.55"), Decimal("0.000"), Decimal("0.200")),
        (6, Decimal("3.39"), Decimal("0.000"), Decimal("0.200")),
    ]
    postage = lines.filter(pl.col("order_id") == 536367)
    assert postage["unit_price"].to_list() == [Decimal("4.96")]


def test_an_order_is_placed_when_its_first_line_was_in_london_time(shop: Shop) -> None:
    placed = dict(shop.tables["orders"].select("order_id", "placed_at").iter_rows())
    assert placed[536366] == datetime(2010, 12, 2, 9, 0, tzinfo=UTC)
    assert placed[536372] == datetime(2011, 3, 27, 1, 30, tzinfo=UTC)  # 02:30 in London
    lines = shop.tables["order_lines"].filter(pl.col("order_id") == 536366)
    assert lines["placed_at"].unique().to_list() == [placed[536366]]


def test_products_are_named_by_their_most_frequent_description_and_sorted_by_keywords(shop: Shop) -> None:
    products = shop.tables["products"].join(
        shop.tables["categories"].rename({"name": "category"}), on="category_id", maintain_order="left"
    )
    assert products.select("stock_code", "name", "category", "list_price", "is_product").rows() == [
        ("71053", "WHITE METAL LANTERN", "Lighting & Candles", Decimal("3.39"), True),
        ("85123A", "WHITE HANGING HEART T-LIGHT HOLDER", "Lighting & Candles", Decimal("2.55"), True),
        ("DOT", "DOTCOM POSTAGE", "Not a product", Decimal("4.96"), False),
    ]


def test_days_are_those_of_the_orders_that_are_kept(shop: Shop) -> None:
    assert (shop.first_day, shop.last_day) == (date(2010, 12, 1), date(2011, 3, 27))


def test_nothing_is_claimed_to_be_planted(shop: Shop) -> None:
    assert shop.truth["customer_id"].to_list() == [12345, 17850]
    assert shop.truth.drop("customer_id").null_count().sum_horizontal().item() == 3 * 2


def test_a_shop_of_guests_only_has_no_tickets(tmp_path: Path) -> None:
    guest = GOOD[0].replace("17850.0", "")
    rows = from_transactions(write(tmp_path, guest)).rows
    assert (rows["customers"], rows["orders"], rows["tickets"]) == (0, 1, 0)


def test_gzip_windows_text_and_american_dates_are_read(tmp_path: Path) -> None:
    line = "536365,85123A,VOUCHER £10,6,12/1/2010 8:26,2.55,17850,United Kingdom"
    path = write(tmp_path, line, encoding="cp1252")
    path.write_bytes(gzip.compress(path.read_bytes()))
    shop = from_transactions(path)
    assert shop.tables["products"]["name"].to_list() == ["VOUCHER £10"]
    assert shop.first_day == date(2010, 12, 1)
    assert counted(shop, "file that is not UTF-8") == 1


def test_columns_may_come_in_another_order_and_with_others(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text(
        "\ufeffExtra," + ",".join(reversed(HEADER.split(","))) + "\nx," + ",".join(reversed(GOOD[0].split(",")))
    )
    assert from_transactions(path).rows["order_lines"] == 1


def test_missing_columns_are_named_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "short.csv"
    path.write_text(HEADER.replace("Quantity,", "").replace(",Country", "") + "\n")
    with pytest.raises(MissingTransactionColumnsError, match=r"short\.csv lack the columns Country, Quantity\."):
        from_transactions(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"PK\x03\x04\0\0\0", "it is not text"),
        (b"\x1f\x8b\x08\0broken", "compression is damaged"),
        (HEADER.encode() + b"\n", "none of its rows"),
        (HEADER.encode() + b'\n1,"' + b"x" * 200_000, "line 2 is not CSV"),
        (None, "no such file"),
    ],
)
def test_an_unusable_file_is_refused_by_name(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "bad.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableTransactionsError, match=rf"bad\.csv cannot be read: .*{reason}"):
        from_transactions(path)


def test_the_real_file_is_accounted_for_row_by_row(shared_data: Path) -> None:
    path = shared_data / "retail" / "online_retail_until_2011-08.csv.gz"
    shop = from_transactions(path)
    raw = pl.read_csv(path, infer_schema=False)
    assert total(shop, "read") == raw.height == total(shop, "kept") + total(shop, "set aside")
    assert shop.rows["order_lines"] == total(shop, "kept")
    assert counted(shop, "exact copy") == raw.height - raw.unique().height
    assert shop.rows["customers"] == raw["CustomerID"].n_unique() - 1
    assert (shop.first_day, shop.last_day) == (date(2010, 12, 1), date(2011, 8, 31))
    other = shop.tables["categories"].filter(pl.col("name") == "Other")
    assert shop.tables["products"].join(other, on="category_id", how="semi").height < 0.35 * shop.rows["products"]
    again = from_transactions(path)
    assert all(again.tables[name].equals(frame) for name, frame in shop.tables.items())
