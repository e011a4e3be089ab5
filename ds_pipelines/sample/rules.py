"""What becomes of each row of real transactions: the rules for their dirt, stated, applied in order and counted.

What belongs here: reading the fields of a row, and deciding on it by itself or within its invoice. What does not: the
shop that is built from the rows that are kept.

Each row has exactly one fate. Rules further up win.
"""

from dataclasses import dataclass
from datetime import date

import polars as pl

from ds_pipelines.sample.clock import skipped
from ds_pipelines.sample.reading import COLUMNS
from ds_pipelines.sample.shop import Accounted, Fate

DATE_FORMATS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%m/%d/%Y %H:%M")
"""The first as UCI's spreadsheet exports, the last as copies of it on the web have it."""

PRODUCT_CODE = r"^(\d{5}[A-Z]*|DCGS.*)$"
"""Stock codes of things; others are postage, fees, vouchers, manual entries."""


@dataclass(frozen=True)
class Rule:
    """A fate and the rows that meet it."""

    text: str
    fate: Fate
    met: pl.Expr


def _unreadable(column: str, parsed: str) -> Rule:
    expected = {
        "InvoiceNo": "digits with at most one letter before them",
        "StockCode": "a code",
        "Quantity": "a whole number of up to 9 digits",
        "InvoiceDate": "a date and time from 1990 to 2099",
        "UnitPrice": "a number below 100 million",
    }
    return Rule(f"{column} that cannot be read: not {expected[column]}", "set aside", pl.col(parsed).is_null())


FATES = (
    _unreadable("InvoiceNo", "number"),
    _unreadable("StockCode", "code"),
    _unreadable("Quantity", "quantity"),
    _unreadable("InvoiceDate", "at"),
    _unreadable("UnitPrice", "price"),
    Rule(
        "CustomerID that cannot be read: not a whole number, as 17850 or 17850.0",
        "set aside",
        pl.col("CustomerID").is_not_null() & pl.col("customer").is_null(),
    ),
    Rule("exact copy of an earlier row", "set aside", ~pl.struct(COLUMNS).is_first_distinct()),
    Rule("InvoiceNo with another letter than C: an entry of the ledger, no order", "set aside",
         ~pl.col("letter").is_in(["", "C"])),
    Rule("UnitPrice below 0: the correction of an account, no order", "set aside", pl.col("price") < 0),
    Rule("UnitPrice 0 and no CustomerID: a count or loss of stock, no order", "set aside",
         (pl.col("price") == 0) & pl.col("customer").is_null()),
    Rule("Quantity 0: nothing changed hands", "set aside", pl.col("quantity") == 0),
    Rule("InvoiceNo with C, for a cancellation, and yet a Quantity above 0", "set aside",
         (pl.col("letter") == "C") & (pl.col("quantity") > 0)),
    Rule("InvoiceNo with C, or Quantity below 0: a line of a return", "kept", pl.col("quantity") < 0),
    Rule("any other row: a line of a sale", "kept", pl.lit(True)),
)  # fmt: skip

DETAILS = (
    Rule("InvoiceNo with several customers, or with sales and returns: an order for each, the later ones renumbered",
         "mended", pl.col("order_id") != pl.col("number")),
    Rule("InvoiceDate that the clock skips when summer time begins: an hour later", "mended", skipped(pl.col("at"))),
    Rule("InvoiceDate later than the first of its order: placed when its first line was", "mended",
         pl.col("at") > pl.col("placed")),
    Rule("CustomerID with a decimal point: its whole number", "mended",
         pl.col("CustomerID").str.contains(".", literal=True)),
    Rule("Country other than on most of the customer's rows: where most are", "mended",
         pl.col("customer").is_not_null() & (pl.col("country") != pl.col("home"))),
    Rule("StockCode with lower-case letters: the product of the upper-case code", "mended",
         pl.col("code") != pl.col("StockCode")),
    Rule("Description with runs of spaces or invisible characters: single spaces", "mended",
         pl.col("description") != pl.col("Description")),
    Rule("Description other than on most rows of the product: the product has the most frequent one", "mended",
         pl.col("description").ne_missing(pl.col("name"))),
    Rule("UnitPrice with fractions of a penny: rounded to pennies, halves to the even one", "mended",
         pl.col("price") != pl.col("price").round(2)),
    Rule("no CustomerID: the order of a guest", "noticed", pl.col("customer").is_null()),
    Rule("UnitPrice 0 with a CustomerID: a gift of the shop's", "noticed", pl.col("price") == 0),
    Rule("StockCode of no product, as POST, M, BANK CHARGES: in a category of its own", "noticed",
         ~pl.col("code").str.contains(PRODUCT_CODE)),
)  # fmt: skip
"""About rows that are kept. A row can meet several."""


def judge(rows: pl.DataFrame) -> tuple[pl.DataFrame, list[Accounted]]:
    """Reads the fields and decides on each row.

    Args:
        rows: the columns of the file, as text.

    Returns:
        The rows that are kept, with the columns of the file and `row` (their position in it), `number`, `code`,
        `description`, `quantity`, `at` (local), `price` (four digits), `customer`, `country`, `kind`, `order_id`,
        `placed` (local), `home` (the customer's country) and `name` (the product's); and how many rows met each fate.
    """
    fate = pl.coalesce(pl.when(rule.met).then(pl.lit(index)) for index, rule in enumerate(FATES))
    judged = rows.with_row_index("row").with_columns(_fields()).with_columns(fate=fate)
    counts = dict(judged.group_by("fate").len().iter_rows())
    accounting = [Accounted(rule.text, counts.get(index, 0), rule.fate) for index, rule in enumerate(FATES)]
    kept = judged.filter(pl.col("fate").is_in([i for i, rule in enumerate(FATES) if rule.fate == "kept"]))
    kind = pl.when(pl.col("quantity") < 0).then(pl.lit("return")).otherwise(pl.lit("sale"))
    kept = _with_names(_with_homes(_with_orders(kept.with_columns(kind=kind))))
    return kept.drop("fate", "letter"), accounting


def details(kept: pl.DataFrame) -> list[Accounted]:
    """How many of the kept rows, one at least, meet each rule of `DETAILS`; then, the days without any row."""
    counts = kept.select(rule.met.sum().alias(str(index)) for index, rule in enumerate(DETAILS)).row(0)
    seen = days(kept)
    span = (seen[-1] - seen[0]).days + 1
    quiet = Accounted(
        "days, not rows: between the first and the last one, without any row", span - len(seen), "noticed"
    )
    return [*(Accounted(rule.text, n or 0, rule.fate) for rule, n in zip(DETAILS, counts, strict=True)), quiet]


def days(kept: pl.DataFrame) -> list[date]:
    """The local days on which an order was placed, in order."""
    found: list[date] = kept["placed"].dt.date().unique().sort().to_list()
    return found


def _fields() -> list[pl.Expr]:
    invoice = pl.col("InvoiceNo").str.to_uppercase().str.extract_groups(r"^([A-Z]?)(\d{1,15})$")
    at = pl.coalesce(pl.col("InvoiceDate").str.to_datetime(form, strict=False) for form in DATE_FORMATS)
    price = pl.when(pl.col("UnitPrice").str.contains(r"^-?\d{1,8}(\.\d{1,12})?$")).then(pl.col("UnitPrice"))
    return [
        invoice.struct.field("1").alias("letter"),
        invoice.struct.field("2").cast(pl.Int64).alias("number"),
        _tidy("StockCode").str.to_uppercase().alias("code"),
        _tidy("Description").alias("description"),
        pl.col("Quantity").str.extract(r"^(-?\d{1,9})(?:\.0+)?$").cast(pl.Int64).alias("quantity"),
        pl.when(at.dt.year().is_between(1990, 2099)).then(at).cast(pl.Datetime("us")).alias("at"),
        price.cast(pl.Decimal(14, 4), strict=False).alias("price"),
        pl.col("CustomerID").str.extract(r"^(\d{1,15})(?:\.0+)?$").cast(pl.Int64).alias("customer"),
        _tidy("Country").fill_null("Unspecified").alias("country"),
    ]


def _tidy(column: str) -> pl.Expr:
    """Text with single spaces, and without characters that nobody sees; null if nothing is left."""
    text = pl.col(column).str.replace_all(r"[\s\p{C}]+", " ").str.strip_chars()
    return pl.when(text != "").then(text)


def _with_orders(kept: pl.DataFrame) -> pl.DataFrame:
    """With `order_id` and `placed`: an order is what one customer bought, or brought back, under one invoice number.

    The first order of a number is called by it; further ones get numbers above all others.
    """
    key = ["InvoiceNo", "number", "kind", "customer"]
    orders = kept.group_by(key).agg(pl.col("row").min().alias("first"), pl.col("at").min().alias("placed"))
    orders = orders.sort("number", "first").with_columns(further=~pl.col("number").is_first_distinct())
    fresh = pl.col("number").max() + pl.col("further").cum_sum()
    orders = orders.with_columns(order_id=pl.when("further").then(fresh).otherwise("number"))
    return kept.join(orders.drop("first", "further"), on=key, how="left", nulls_equal=True, maintain_order="left")


def _with_homes(kept: pl.DataFrame) -> pl.DataFrame:
    """With `home`: the country that most rows of a customer name, the first by name of several."""
    known = kept.filter(pl.col("customer").is_not_null())
    homes = (
        known.group_by("customer", "country")
        .len()
        .sort(["customer", "len", "country"], descending=[False, True, False])
    )
    homes = homes.unique("customer", keep="first", maintain_order=True).select("customer", home="country")
    return kept.join(homes, on="customer", how="left", maintain_order="left")


def _with_names(kept: pl.DataFrame) -> pl.DataFrame:
    """With `name`: the description on most rows of a product, the first by name of several.

    Descriptions count that look like a name: on a row with a price, and with a capital letter, for people on the shop
    floor write notes as "damaged" in lower case. Without any, the first description at all, or the code names it.
    """
    valid = (pl.col("price") > 0) & pl.col("description").str.contains(r"[A-Z]")
    named = (
        kept.filter(pl.col("description").is_not_null()).group_by("code", "description").agg(valid.sum().alias("votes"))
    )
    names = named.sort(["code", "votes", "description"], descending=[False, True, False])
    names = names.unique("code", keep="first", maintain_order=True).select("code", name="description")
    joined = kept.join(names, on="code", how="left", maintain_order="left")
    return joined.with_columns(pl.col("name").fill_null(pl.col("code")))
