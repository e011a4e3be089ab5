"""Who orders when: the signal that is planted in the generated shop.

What belongs here: what differs between customers, and the days of their orders that follow from it. What does not:
what they order, or who they are.

Each customer has a propensity (a gamma variable: most order rarely, few often), a habit of following an order up
within 30 days, a day of registration and a day of leaving for good. So who ordered often and lately will probably
order again soon, longer silence tells of having left, and no feature tells all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

SEGMENTS = ("private", "business", "trade")
SEGMENT_SHARES = (0.80, 0.13, 0.07)
SEGMENT_LIFT = np.array([0.85, 1.35, 2.0])

ORDERS_PER_CUSTOMER = 3.0
"""On average over the period, guests and returns aside."""
REGISTERED_BEFORE = 0.6
"""Share of the customers who registered before the period."""
FIRST_ORDER_AT_ONCE = 0.75
"""Share of new customers who register in order to buy that day."""
STAY_DAYS = 700.0
"""How long a customer stays, on average."""

MONTH_WEIGHTS = (0.85, 0.85, 0.92, 0.95, 1.0, 0.95, 0.92, 0.9, 1.0, 1.1, 1.4, 1.3)
WEEKDAY_WEIGHTS = (1.1, 1.05, 1.0, 1.05, 1.1, 0.8, 0.9)
HOUR_WEIGHTS = (6, 3, 1.5, 1, 1, 2, 6, 14, 26, 40, 48, 52, 56, 52, 48, 46, 46, 48, 52, 58, 60, 50, 32, 14)

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Habits:
    """What is hidden in each customer; arrays of one length. Days count from the first day of the period."""

    segment: Integers
    propensity: Floats
    habit: Floats
    newsletter: npt.NDArray[np.bool_]
    registered: Integers
    """Negative before the period."""
    leaves: Floats


def draw(rng: np.random.Generator, customers: int, days: int) -> Habits:
    """Habits of the customers, in order of registration."""
    before = round(REGISTERED_BEFORE * customers)
    registered = np.concatenate([-rng.integers(1, 4 * 365, before), rng.integers(0, days, customers - before)])
    registered = np.sort(registered).astype(np.int64)
    segment = rng.choice(len(SEGMENTS), customers, p=SEGMENT_SHARES)
    individual = rng.gamma(1.0, 1.0, customers)
    propensity = individual * SEGMENT_LIFT[segment]
    habit = np.clip(rng.beta(1.0, 7.0, customers) + 0.05 * np.minimum(propensity, 3), 0, 0.75)
    newsletter = rng.random(customers) < 0.25 + 0.25 * propensity / (1 + propensity)
    # Who registered before the period and is still here stays as long as anybody: staying has no memory.
    leaves = np.maximum(registered, 0) + rng.exponential(STAY_DAYS, customers)
    leaves[:before] = np.where(rng.random(before) < 0.15, rng.uniform(-30, 60, before), leaves[:before])
    return Habits(segment, propensity, habit, newsletter, registered, leaves)


def day_weights(rng: np.random.Generator, first: date, days: int) -> Floats:
    """How busy each day is, 1 on average: seasons, weekdays and some noise."""
    every = [first + timedelta(days=day) for day in range(days)]
    weights = np.array([MONTH_WEIGHTS[day.month - 1] * WEEKDAY_WEIGHTS[day.weekday()] for day in every])
    weights *= rng.lognormal(0, 0.06, days)
    return np.asarray(weights / weights.mean())


def order_days(rng: np.random.Generator, habits: Habits, weights: Floats) -> tuple[Integers, Integers, Floats]:
    """The sales: index of the customer and day of each, and each customer's expected orders a year while active."""
    days = len(weights)
    busy = np.concatenate([[0.0], np.cumsum(weights)])
    end = np.clip(habits.leaves, 0, days)
    start = np.minimum(np.maximum(habits.registered, 0), end)
    opened, closed = np.interp(start, np.arange(days + 1), busy), np.interp(end, np.arange(days + 1), busy)
    new = (habits.registered >= 0) & (rng.random(len(end)) < FIRST_ORDER_AT_ONCE)
    follow = 1 / (1 - habits.habit)
    wanted = ORDERS_PER_CUSTOMER * len(end) - (new * follow).sum()
    scale = max(wanted, 0) / max((habits.propensity * (closed - opened) * follow).sum(), 1e-9)
    rate = habits.propensity * scale
    counts = rng.poisson(rate * (closed - opened))
    customer = np.repeat(np.arange(len(end)), counts)
    moment = opened[customer] + rng.random(len(customer)) * (closed - opened)[customer]
    day = np.searchsorted(busy, moment, side="right") - 1
    first_customer = np.flatnonzero(new)
    customer = np.concatenate([first_customer, customer])
    day = np.concatenate([habits.registered[first_customer], np.minimum(day, days - 1)])
    customer, day = _with_follow_ups(rng, customer, day, habits, end)
    return customer, day, np.asarray(rate * 365)


def _with_follow_ups(
    rng: np.random.Generator, customer: Integers, day: Integers, habits: Habits, end: Floats
) -> tuple[Integers, Integers]:
    """The orders, and those that follow them up; a follow-up may have one of its own, five deep at most."""
    customers, days = [customer], [day]
    for _ in range(5):
        again = rng.random(len(customer)) < habits.habit[customer]
        customer = customer[again]
        day = day[again] + 2 + rng.binomial(28, 0.45, len(customer))
        stays = day < end[customer]
        customer, day = customer[stays], day[stays]
        customers.append(customer)
        days.append(day)
    return np.concatenate(customers), np.concatenate(days)


def guest_days(rng: np.random.Generator, weights: Floats, days_with_orders: Integers, guests: int) -> Integers:
    """Days of orders without a customer: as busy as the rest, and at least one on a day that would have no order."""
    quiet = np.setdiff1d(np.arange(len(weights)), days_with_orders)
    others = rng.choice(len(weights), max(guests - len(quiet), 0), p=weights / weights.sum())
    return np.concatenate([quiet, others]).astype(np.int64)


def seconds_of_day(rng: np.random.Generator, count: int) -> Integers:
    """Seconds on the wall clock since midnight."""
    hours = np.array(HOUR_WEIGHTS)
    hour = rng.choice(24, count, p=hours / hours.sum())
    return np.asarray(hour * 3600 + rng.integers(0, 3600, count))
