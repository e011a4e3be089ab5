"""An invented shop of any size, the same for the same seed.

What belongs here: putting customers, catalogue and behaviour together into tables. What does not: each of these.
Whole columns are drawn at a time; every concern draws from a random stream of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl

from ds_pipelines.errors import SampleArgumentError
from ds_pipelines.sample import behaviour, catalogue, people, tickets
from ds_pipelines.sample.clock import instants
from ds_pipelines.sample.schema import TRUTH, conform, money
from ds_pipelines.sample.shop import CHANNELS, PAYMENTS, ZONE, Shop, drawn, stream

FIRST_DAY = date(2025, 1, 1)
LAST_DAY = date(2025, 12, 31)
DAYS = (LAST_DAY - FIRST_DAY).days + 1
LARGEST = 3_000_000
"""Customers; the shop would take about 10 GB of memory."""

GUESTS = 0.03
"""Share of the orders that nobody signed in for."""
RETURNS = 0.04
"""Share of the sales after which something comes back."""
SENT_ELSEWHERE = 0.08
"""Share of the orders that go to another address than the customer's."""
MORE_LINES = 1.26
"""Lines of an order beyond the first, on average."""
COUNTRIES = (people.HOME, "Ireland", "Germany", "France", "Netherlands", "Spain", "Sweden", "Poland")
COUNTRY_SHARES = (0.90, 0.03, 0.02, 0.015, 0.012, 0.01, 0.007, 0.006)
DISCOUNTS = (("0.000", 0.82), ("0.050", 0.06), ("0.100", 0.08), ("0.250", 0.04))

Integers = npt.NDArray[np.int64]


def generate(customers: int = 20_000, seed: int = 7) -> Shop:
    """A shop over the year 2025, with about 3 orders a customer and 2.3 lines an order.

    Args:
        customers: how many; guests' orders come on top.
        seed: equal seeds give equal shops; not negative.

    Raises:
        SampleArgumentError: a number is out of its range.
    """
    if not 1 <= customers <= LARGEST:
        raise SampleArgumentError("customers", f"a whole number from 1 to {LARGEST}")
    if seed < 0:
        raise SampleArgumentError("seed", "a whole number from 0")
    goods = catalogue.invent(stream(seed, "catalogue"))
    habits = behaviour.draw(stream(seed, "habits"), customers, DAYS)
    sales = _sales(seed, habits)
    who = _customers(seed, habits, sales)
    basket = _basket(seed, sales, habits, goods)
    sales, basket = _with_returns(stream(seed, "returns"), sales, basket)
    basket = _with_postage(basket, _abroad(sales, who), goods)
    orders = _orders(seed, sales, who)
    lines = _order_lines(seed, basket, orders, who, goods)
    order = np.argsort(sales.placed, kind="stable")
    orders = conform("orders", orders[order])
    start, end = (datetime.combine(day, time(), ZoneInfo(ZONE)) for day in (FIRST_DAY, LAST_DAY + timedelta(days=1)))
    asked = tickets.write(orders, who, seed=seed, start=start.astimezone(UTC), end=end.astimezone(UTC))
    truth = pl.DataFrame(
        {
            "customer_id": who["customer_id"],
            "propensity": sales.rate,
            "habit": habits.habit,
            "left_on": np.datetime64(FIRST_DAY) + np.ceil(habits.leaves).astype("timedelta64[D]"),
        },
        schema=TRUTH,
    )
    tables = {
        "categories": goods.categories,
        "products": goods.products,
        "customers": who,
        "orders": orders,
        "order_lines": lines,
        "tickets": asked,
    }
    return Shop(tables, truth, accounting=[], first_day=FIRST_DAY, last_day=LAST_DAY)


@dataclass(frozen=True)
class _Sales:
    """Orders as arrays of one length, in no particular order; returns come after the sales."""

    customer: Integers
    """Index of the customer, -1 for a guest."""
    day: Integers
    placed: Integers
    """Microseconds since 1970, UTC."""
    returns: int
    rate: npt.NDArray[np.float64]
    """By customer, not by order."""


@dataclass(frozen=True)
class _Basket:
    """Order lines as arrays of one length."""

    order: Integers
    product: Integers
    quantity: Integers
    pence: Integers
    discount: Integers


def _sales(seed: int, habits: behaviour.Habits) -> _Sales:
    rng = stream(seed, "orders")
    weights = behaviour.day_weights(rng, FIRST_DAY, DAYS)
    customer, day, rate = behaviour.order_days(rng, habits, weights)
    guest_day = behaviour.guest_days(rng, weights, day, round(len(day) * GUESTS))
    customer = np.concatenate([customer, np.full(len(guest_day), -1)])
    day = np.concatenate([day, guest_day])
    return _Sales(customer, day, _moments(rng, day), returns=0, rate=rate)


def _moments(rng: np.random.Generator, day: Integers) -> Integers:
    """An instant on each day, at a time when people shop."""
    midnight = int(datetime.combine(FIRST_DAY, time(), UTC).timestamp())
    local = (midnight + day * 86_400 + behaviour.seconds_of_day(rng, len(day))) * 1_000_000
    later = pl.Series(rng.random(len(day)) < 0.5)
    return instants(pl.Series(local).cast(pl.Datetime("us")), later=later).to_physical().to_numpy()


def _customers(seed: int, habits: behaviour.Habits, sales: _Sales) -> pl.DataFrame:
    rng = stream(seed, "customers")
    count = len(habits.registered)
    first_order = np.full(count, np.iinfo(np.int64).max)
    signed_in = sales.customer >= 0
    np.minimum.at(first_order, sales.customer[signed_in], sales.placed[signed_in])
    shortly_before = first_order - rng.integers(60, 3600, count) * 1_000_000
    registered = np.minimum(_moments(rng, habits.registered), shortly_before)
    countries = pl.Series(COUNTRIES).gather(rng.choice(len(COUNTRIES), count, p=COUNTRY_SHARES))
    return conform(
        "customers",
        people.invent(stream(seed, "people"), countries, on=FIRST_DAY).with_columns(
            customer_id=10_000 + np.cumsum(rng.integers(1, 4, count)),
            segment=pl.Series(behaviour.SEGMENTS).gather(habits.segment),
            newsletter=habits.newsletter,
            registered_at=pl.Series(registered).cast(pl.Datetime("us", "UTC")),
        ),
    )


def _basket(seed: int, sales: _Sales, habits: behaviour.Habits, goods: catalogue.Catalogue) -> _Basket:
    rng = stream(seed, "lines")
    sold = len(sales.customer)
    size = np.minimum(rng.geometric(1 / (1 + MORE_LINES), sold), 20)
    order = np.repeat(np.arange(sold), size)
    month = (np.datetime64(FIRST_DAY) + sales.day).astype("datetime64[M]").astype(np.int64)[order] % 12
    product = np.empty(len(order), np.int64)
    for number, popularity in enumerate(goods.popularity):
        chosen = np.flatnonzero(month == number)
        product[chosen] = rng.choice(len(popularity), len(chosen), p=popularity)
    segment = np.where(sales.customer >= 0, habits.segment[sales.customer], 0)[order]
    quantity = rng.geometric(1 / np.array([1.6, 3.0, 7.0])[segment])
    listed = (goods.products["list_price"] * 100).cast(pl.Int64).to_numpy()
    pence = np.round(listed[product] * np.array([1.0, 0.95, 0.88])[segment]).astype(np.int64)
    discount = rng.choice(len(DISCOUNTS), len(order), p=[share for _, share in DISCOUNTS])
    return _Basket(order, product, quantity, pence, discount)


def _abroad(sales: _Sales, who: pl.DataFrame) -> Integers:
    """Indices of the sales to customers in other countries."""
    foreign = (who["country"] != people.HOME).to_numpy()[np.maximum(sales.customer, 0)] & (sales.customer >= 0)
    foreign[len(foreign) - sales.returns :] = False
    return np.flatnonzero(foreign)


def _with_postage(basket: _Basket, abroad: Integers, goods: catalogue.Catalogue) -> _Basket:
    """The basket, with a line for postage in each of the orders that go abroad."""
    postage = goods.products.height - 1
    price = int(goods.products["list_price"][postage] * 100)
    one = np.ones(len(abroad), np.int64)
    return _Basket(
        np.concatenate([basket.order, abroad]),
        np.concatenate([basket.product, one * postage]),
        np.concatenate([basket.quantity, one]),
        np.concatenate([basket.pence, one * price]),
        np.concatenate([basket.discount, one * 0]),
    )


def _with_returns(rng: np.random.Generator, sales: _Sales, basket: _Basket) -> tuple[_Sales, _Basket]:
    """The sales and their lines, followed by those that customers sent back within the period."""
    day = sales.day + rng.integers(2, 21, len(sales.day))
    regret = (rng.random(len(day)) < RETURNS) & (sales.customer >= 0) & (day < DAYS)
    line = np.flatnonzero(regret[basket.order] & (rng.random(len(basket.order)) < 0.7))
    returned, position = np.unique(basket.order[line], return_inverse=True)
    back = -np.ceil(rng.random(len(line)) * basket.quantity[line]).astype(np.int64)
    both = _Sales(
        np.concatenate([sales.customer, sales.customer[returned]]),
        np.concatenate([sales.day, day[returned]]),
        np.concatenate([sales.placed, _moments(rng, day[returned])]),
        returns=len(returned),
        rate=sales.rate,
    )
    lines = _Basket(
        np.concatenate([basket.order, len(sales.day) + position]),
        np.concatenate([basket.product, basket.product[line]]),
        np.concatenate([basket.quantity, np.minimum(back, -1)]),
        np.concatenate([basket.pence, basket.pence[line]]),
        np.concatenate([basket.discount, basket.discount[line]]),
    )
    return both, lines


def _orders(seed: int, sales: _Sales, who: pl.DataFrame) -> pl.DataFrame:
    """The table `orders` in the order of `sales`; ids ascend with time."""
    rng = stream(seed, "shipping")
    count = len(sales.customer)
    order_id = np.empty(count, np.int64)
    order_id[np.argsort(sales.placed, kind="stable")] = 500_000 + np.cumsum(rng.integers(1, 5, count))
    guest = sales.customer < 0
    own = who.select("customer_id", "postcode", "city", "country")[np.maximum(sales.customer, 0)]
    other = people.addresses(rng, own["country"].set(pl.Series(guest), people.HOME))
    elsewhere = guest | (rng.random(count) < SENT_ELSEWHERE)
    elsewhere[count - sales.returns :] = False
    returned = np.arange(count) >= count - sales.returns
    return pl.DataFrame(
        {
            "order_id": order_id,
            "customer_id": own["customer_id"].set(pl.Series(guest), None),
            "placed_at": pl.Series(sales.placed).cast(pl.Datetime("us", "UTC")),
            "kind": pl.Series(["sale", "return"]).gather(returned.astype(np.int64)),
            "channel": drawn(rng, CHANNELS, count),
            "ship_postcode": other["postcode"].zip_with(pl.Series(elsewhere), own["postcode"]),
            "ship_city": other["city"].zip_with(pl.Series(elsewhere), own["city"]),
            "payment": drawn(rng, PAYMENTS, count),
        }
    )


def _order_lines(
    seed: int, basket: _Basket, orders: pl.DataFrame, who: pl.DataFrame, goods: catalogue.Catalogue
) -> pl.DataFrame:
    """The table `order_lines`, in the order of the orders' ids."""
    sequence = np.argsort(orders["order_id"].to_numpy()[basket.order], kind="stable")
    order, product = basket.order[sequence], basket.product[sequence]
    header = orders.select("order_id", "customer_id", "placed_at", "channel", "ship_postcode")[order]
    discounts = pl.Series([rate for rate, _ in DISCOUNTS]).cast(pl.Decimal(4, 3))
    lines = header.with_columns(
        order_line_id=1_000_000 + np.arange(len(order)),
        product_id=goods.products["product_id"].gather(product),
        quantity=basket.quantity[sequence],
        unit_price=basket.pence[sequence],
        discount=discounts.gather(basket.discount[sequence]),
        tax_rate=goods.tax.gather(product),
        gift_message=tickets.gift_messages(header["customer_id"], who, seed=seed),
    ).with_columns(money(pl.col("unit_price")))
    return conform("order_lines", lines)
