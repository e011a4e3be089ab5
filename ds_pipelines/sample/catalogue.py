"""What the invented shop sells.

What belongs here: categories, products, their prices, and how popular each is in each month. What does not: who buys
them. A real shop's catalogue comes from its transactions instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from ds_pipelines.sample.schema import conform, money

PRODUCTS_PER_CATEGORY = 50
NOT_A_PRODUCT = "Not a product"
POSTAGE = "POST"
"""Stock code of the line that charges for sending an order abroad."""

STYLES = (
    "Botanical", "Striped", "Scandinavian", "Recycled", "Hand-painted", "Polka Dot", "Rustic", "Art Deco", "Gingham",
    "Midnight Blue", "Coral", "Sage", "Herringbone", "Enamelled", "Woven", "Folk Art", "Geometric", "Heritage",
)  # fmt: skip


@dataclass(frozen=True)
class Range:
    """A category: what it holds, its middle price in pence, its tax and the months in which it sells better."""

    name: str
    articles: tuple[str, ...]
    pence: int
    tax: str = "0.200"
    season: tuple[int, ...] = ()
    lift: float = 1.0


RANGES = (
    Range("Bags & Travel", ("Tote Bag", "Wash Bag", "Rucksack", "Luggage Tag", "Weekend Bag", "Passport Cover",
                            "Lunch Bag", "Shopper"), 1450, season=(6, 7), lift=1.8),
    Range("Kitchen & Tableware", ("Mug", "Teapot", "Serving Bowl", "Side Plate", "Tea Towel", "Storage Jar",
                                  "Chopping Board", "Jug"), 1150),
    Range("Lighting & Candles", ("Candle", "Lantern", "Table Lamp", "Tealight Holder", "Fairy Lights", "Lampshade"),
          1350, season=(10, 11, 12), lift=1.5),
    Range("Christmas", ("Bauble", "Advent Calendar", "Wreath", "Stocking", "Tree Skirt", "Gift Tags"), 750,
          season=(10, 11, 12), lift=9.0),
    Range("Garden", ("Plant Pot", "Watering Can", "Bird Feeder", "Trowel", "Bunting", "Seed Tin"), 1250,
          season=(4, 5, 6, 7), lift=3.0),
    Range("Stationery & Cards", ("Notebook", "Greeting Card", "Pen Set", "Wrapping Paper", "Desk Calendar",
                                 "Pencil Case"), 450, season=(8, 9), lift=1.4),
    Range("Toys & Games", ("Wooden Puzzle", "Soft Toy", "Card Game", "Building Blocks", "Kite", "Spinning Top"), 1300,
          season=(11, 12), lift=2.2),
    Range("Jewellery & Accessories", ("Necklace", "Bracelet", "Earrings", "Silk Scarf", "Hair Clip", "Brooch"), 1900,
          season=(2, 12), lift=1.6),
    Range("Home Decoration", ("Cushion", "Throw", "Vase", "Wall Clock", "Rug", "Mirror", "Doorstop"), 2600),
    Range("Signs & Frames", ("Photo Frame", "Door Sign", "Chalkboard", "House Number", "Wall Print"), 1100),
    Range("Baking & Preserving", ("Cake Tin", "Cookie Cutter", "Rolling Pin", "Jam Jar Set", "Cupcake Cases", "Apron"),
          850, season=(3, 9), lift=1.4),
    Range("Books & Paper Crafts", ("Recipe Book", "Origami Set", "Sticker Book", "Colouring Book", "Scrapbook"), 950,
          tax="0.000"),
)  # fmt: skip

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Catalogue:
    """Two tables of the shop, and what the lines of orders are drawn by."""

    categories: pl.DataFrame
    products: pl.DataFrame
    popularity: Floats
    """(12, products on sale): how likely a line is for each product in each month; rows sum to 1."""
    tax: pl.Series
    """By position in `products`."""


def invent(rng: np.random.Generator) -> Catalogue:
    """Twelve categories of fifty products, and one entry for postage, which is no product."""
    names, category, middle, tax = [], [], [], []
    for number, offered in enumerate(RANGES, start=1):
        every = [f"{style} {article}" for style in STYLES for article in offered.articles]
        chosen = rng.choice(len(every), PRODUCTS_PER_CATEGORY, replace=False)
        names += [every[index] for index in np.sort(chosen)]
        category += [number] * PRODUCTS_PER_CATEGORY
        middle += [offered.pence] * PRODUCTS_PER_CATEGORY
        tax += [offered.tax] * PRODUCTS_PER_CATEGORY
    count = len(names)
    raw = np.array(middle) * rng.lognormal(0, 0.55, count)
    pence = np.maximum(np.round(raw / 50) * 50 - 5, 45).astype(np.int64)
    codes = (20_000 + np.cumsum(rng.integers(1, 60, count))).astype(str)
    products = pl.DataFrame(
        {
            "product_id": np.arange(1, count + 2),
            "stock_code": [*codes, POSTAGE],
            "name": [*names, "Postage"],
            "category_id": [*category, len(RANGES) + 1],
            "pence": [*pence.tolist(), 1200],
            "is_product": [True] * count + [False],
        }
    ).with_columns(list_price=money(pl.col("pence")))
    categories = pl.DataFrame(
        {
            "category_id": np.arange(1, len(RANGES) + 2),
            "name": [*(offered.name for offered in RANGES), NOT_A_PRODUCT],
        }
    )
    return Catalogue(
        categories=conform("categories", categories),
        products=conform("products", products),
        popularity=_popularity(rng, np.array(category) - 1),
        tax=pl.Series([*tax, "0.200"]).cast(pl.Decimal(4, 3)),
    )


def _popularity(rng: np.random.Generator, category: npt.NDArray[np.int64]) -> Floats:
    """Zipf's law over the products, whose categories have their seasons."""
    zipf = 1 / (3 + rng.permutation(len(category))) ** 0.9
    months = np.ones((12, len(RANGES)))
    for number, offered in enumerate(RANGES):
        months[[month - 1 for month in offered.season], number] = offered.lift
    weights = zipf * months[:, category]
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
