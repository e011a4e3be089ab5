"""What sells most in each category?

The five products of every category of which most pieces were sold, net of returns, over the four weeks that end with
the last day published. Ties go to the higher revenue, then to the lower product number. Postage, manual entries and
charges are no products.
"""

from datetime import timedelta

import polars as pl
from matplotlib.figure import Figure

from ds_pipelines import lab
from ds_pipelines.settings import load_settings

zone = lab.param("zone", load_settings().zone)
window = timedelta(days=lab.param("window_days", 28))
places = lab.param("places", 5)

# ---------------------------------------------------------------- the data

EXACT = pl.Decimal(18, 5)  # sums of money do not depend on their order, and come out the same everywhere
on = pl.col("placed_at").dt.convert_time_zone(zone).dt.date()
paid = pl.col("quantity").cast(pl.Int64) * pl.col("unit_price").cast(EXACT) * (1 - pl.col("discount").cast(EXACT))

lines = lab.table("order_lines", columns=["placed_at", "product_id", "quantity", "unit_price", "discount"])
sold = lines.select("product_id", quantity=pl.col("quantity").cast(pl.Int64), on=on, paid=paid).collect()
products = lab.table("products", columns=["product_id", "category_id", "name", "is_product"]).collect()
categories = lab.table("categories").collect()

# ---------------------------------------------------------------- the table

day = sold.select(pl.col("on").max()).item()
per_product = (
    sold.filter(pl.col("on") > day - window)
    .group_by("product_id")
    .agg(pl.col("quantity").sum(), revenue=pl.col("paid").sum())
    .filter(pl.col("quantity") > 0)
    .join(products.filter("is_product").rename({"name": "product"}), on="product_id")
    .join(categories.rename({"name": "category"}), on="category_id")
)
top_sellers = (
    per_product.sort("category", "quantity", "revenue", "product_id", descending=[False, True, True, False])
    .with_columns(rank=pl.int_range(1, pl.len() + 1).over("category"))
    .filter(pl.col("rank") <= places)
    .select(
        pl.lit(day).alias("day"),
        "category",
        "rank",
        "product_id",
        "product",
        "quantity",
        pl.col("revenue").round(2, mode="half_away_from_zero").cast(pl.Decimal(14, 2)),
    )
)
lab.save(top_sellers, "top_sellers")

lab.metric("categories", top_sellers["category"].n_unique())
lab.metric("products_sold", per_product.height)
pieces, of_top_sellers = (int(table["quantity"].sum()) for table in (per_product, top_sellers))
lab.metric("pieces_sold", pieces)
lab.metric("share_of_top_sellers", of_top_sellers / pieces)

# ---------------------------------------------------------------- a picture

INK, GREY, BLUE = "#22303c", "#8a97a3", "#1b6f8f"
names = top_sellers["category"].unique().sort().to_list()
across = 3
down = -(-len(names) // across)
drawing = Figure(figsize=(4.6 * across, 1.75 * down + 0.6), facecolor="white", layout="constrained")
grid = drawing.subplots(down, across, squeeze=False).flatten()
for axes, name in zip(grid, names, strict=False):
    best = top_sellers.filter(pl.col("category") == name)
    short = [text if len(text) <= 26 else f"{text[:25]}…" for text in best["product"].str.to_titlecase()]
    bars = axes.barh(best["rank"], best["quantity"], color=BLUE, height=0.7)
    axes.bar_label(bars, labels=[f"{pieces:,}" for pieces in best["quantity"]], padding=3, color=GREY, fontsize=8)
    axes.set_yticks(best["rank"], short, fontsize=8)
    axes.set_ylim(places + 0.6, 0.4)
    axes.margins(x=0.18)
    axes.set_xticks([])
    axes.tick_params(length=0, colors=INK)
    axes.spines[:].set_visible(False)
    axes.set_title(name, loc="left", fontsize=10, fontweight="bold", color=INK)
for axes in grid[len(names) :]:
    axes.set_axis_off()
drawing.suptitle(
    f"Pieces sold, net of returns, {day - window + timedelta(days=1)} to {day}", x=0.01, ha="left", color=INK
)
lab.figure(drawing, "top_sellers")
