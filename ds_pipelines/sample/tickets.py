"""What customers write: support tickets, and messages that go with a gift.

What belongs here: free text that mentions people as they mention themselves, and the tickets around it. What does not:
finding or removing such mentions.

`mood` is the target without a signal: it is drawn from a random stream of its own and depends on nothing at all.
"""

from datetime import datetime
from string import Formatter

import numpy as np
import polars as pl

from ds_pipelines.sample.people import plain
from ds_pipelines.sample.schema import conform
from ds_pipelines.sample.shop import stream

TICKETS_PER_ORDER = 0.15
WITHOUT_ORDER = 0.1
"""Share of the tickets that are about no order."""
DISSATISFIED = 0.4
GIFTS = 0.03
"""Share of the lines that carry a message."""

ABOUT_AN_ORDER = (
    ("delivery", "Hello, my order {order} has not arrived yet. Could you look into it? Thanks, {full}"),
    ("delivery", "The courier says nobody was in at {street}, {postcode}, but I was home all day. {first}"),
    ("delivery", "hi this is {lower}, wheres my parcel {order}?? please ring me on {phone}"),
    ("delivery", "Please leave order {order} with my neighbour {other} if I am out. Kind regards, {initials}"),
    ("delivery", "Can you send {order} to {street} in {city} instead of the office? It is for {full}."),
    ("delivery", "Tracking for {order} has not moved since Monday. Any news would be appreciated."),
    ("damaged", "One item in order {order} came broken. Photos follow from {email}. Best wishes, {first} {last}"),
    ("damaged", "Dear Sir or Madam, the box was crushed when it reached {city}. Yours faithfully, {title} {last}"),
    ("damaged", "Two pieces were chipped. My flatmate {other_first} opened the parcel and can tell you more. {first}"),
    ("damaged", "The lid does not close, and the colour is not what the page shows. Order {order}."),
    ("refund", "Please refund order {order} to the card ending {card}. {reversed}"),
    ("refund", "I sent everything back ten days ago and have heard nothing. Reach me at {email} or {phone}. {full}"),
    ("refund", "{full} here. The refund for {order} is short of the postage. Please check."),
    ("refund", "Am I right that {order} was charged twice? The statement says {reversed}."),
    ("invoice", "We need an invoice for {order} made out to {full}, {street}, {city} {postcode}."),
    ("invoice", "Could the invoice be sent to {email} rather than by post? Thank you, {initials}"),
    ("invoice", "The VAT on {order} looks wrong to our accountant {other}. Please call {title} {last} on {phone}."),
    ("product", "Does the one in order {order} come in a larger size? I could not find it on your pages."),
    ("product", "Lovely things, as always! When will they be back in stock? x {first}"),
    ("product", "I bought this for {other_first}'s birthday and would like a second one. Order {order}, name {plain}."),
)  # fmt: skip
ABOUT_NO_ORDER = (
    ("account", "I cannot sign in any more. My e-mail is {email}. Regards, {full}"),
    ("account", "Please change my address to {street}, {city}, {postcode}. Customer name: {reversed}"),
    ("account", "I married last month: please change {full} to {first} {other_last} on my account."),
    ("account", "Somebody opened an account as {plain} with my number {phone}. That was not me."),
    ("account", "Please stop the newsletter to {email}. {initials}"),
    ("account", "I would like to see all data you hold about me. {full}, born {born}, {street}, {postcode}."),
    ("product", "Do you deliver to {city}? And is gift wrapping free? {first}"),
    ("product", "Is there a shop in your town where one can look at things before buying?"),
    ("product", "My colleague {other} recommended you. Is there a price list for trade? {title} {last}, {phone}"),
    ("invoice", "Who is my contact for invoices? You can write to {email}. {first} {last}"),
)

GIFT_MESSAGES = (
    "Happy birthday, {other_first}! Love, {first}", "With all our love to {other}, from {first} and family",
    "Thank you for everything. {full}", "Congratulations on the new home! {first} & {other_first}",
    "Merry Christmas, {other_first}!", "Get well soon. {first} x",
)  # fmt: skip

_MINUTES = {"delivery": 150, "damaged": 240, "refund": 420, "invoice": 300, "product": 90, "account": 120}
"""Minutes until the answer, the middle value by topic."""


def write(orders: pl.DataFrame, customers: pl.DataFrame, *, seed: int, start: datetime, end: datetime) -> pl.DataFrame:
    """The table `tickets`: about 15 for 100 orders of customers, a tenth of them about no order.

    Args:
        orders: the shop's orders; those of guests get no ticket.
        customers: the shop's customers.
        seed: the shop's.
        start: of the period, an instant.
        end: of the period, exclusive; a ticket that would be opened later is not.
    """
    rng = stream(seed, "tickets")
    known = orders.filter(pl.col("customer_id").is_not_null())
    count = round(TICKETS_PER_ORDER * known.height)
    without = round(WITHOUT_ORDER * count)
    about = known[np.sort(rng.choice(known.height, count - without, replace=False))]
    delay = pl.Series(rng.lognormal(3.6, 1.1, about.height) * 3_600_000_000).cast(pl.Duration("us"))
    about = about.select("customer_id", "order_id", opened_at=pl.col("placed_at") + delay)
    about = about.with_columns(_template=_choice(rng, about.height, len(ABOUT_AN_ORDER)))
    other = customers[rng.integers(0, customers.height, without)].select(
        "customer_id", order_id=pl.lit(None, pl.Int64), _since=pl.max_horizontal("registered_at", pl.lit(start))
    )
    wait = (pl.lit(end) - pl.col("_since")) * pl.Series("share", rng.random(without))
    other = other.select(
        "customer_id", "order_id", opened_at=pl.col("_since") + wait,
        _template=_choice(rng, without, len(ABOUT_NO_ORDER)) + len(ABOUT_AN_ORDER),
    )  # fmt: skip
    opened = pl.col("opened_at").dt.truncate("1s").cast(pl.Datetime("us", "UTC"))
    asked = pl.concat([about, other]).with_columns(opened).filter(pl.col("opened_at") < end)
    asked = asked.sort("opened_at", "customer_id", "order_id", maintain_order=True)
    bodies = _fill([*ABOUT_AN_ORDER, *ABOUT_NO_ORDER], asked["_template"], _mentions(rng, asked, customers))
    middle = bodies["topic"].replace_strict(_MINUTES, return_dtype=pl.Float64).to_numpy()
    mood = stream(seed, "mood").random(asked.height) < DISSATISFIED
    return conform(
        "tickets",
        asked.with_columns(
            ticket_id=1_000 + pl.int_range(pl.len(), dtype=pl.Int64),
            topic=bodies["topic"],
            body=bodies["text"],
            minutes_to_answer=pl.Series(np.maximum(middle * rng.lognormal(0, 0.9, asked.height), 1).astype(np.int64)),
            mood=pl.when(pl.Series(mood)).then(pl.lit("dissatisfied")).otherwise(pl.lit("satisfied")),
        ),
    )


def gift_messages(customer_ids: pl.Series, customers: pl.DataFrame, *, seed: int) -> pl.Series:
    """A message for about 3 in 100 of the lines, null for the others and for those of guests.

    Args:
        customer_ids: of the customer of each line, null for guests.
        customers: the shop's customers.
        seed: the shop's.
    """
    rng = stream(seed, "gift messages")
    chosen = np.flatnonzero((rng.random(len(customer_ids)) < GIFTS) & customer_ids.is_not_null().to_numpy())
    asked = pl.DataFrame({"customer_id": customer_ids.gather(chosen), "order_id": chosen})
    template = _choice(rng, len(chosen), len(GIFT_MESSAGES))
    texts = _fill([("gift", text) for text in GIFT_MESSAGES], template, _mentions(rng, asked, customers))
    written = pl.DataFrame({"line": pl.Series(chosen, dtype=pl.Int64), "gift_message": texts["text"]})
    lines = pl.DataFrame({"line": pl.int_range(len(customer_ids), dtype=pl.Int64, eager=True)})
    return lines.join(written, on="line", how="left", maintain_order="left")["gift_message"]


def _choice(rng: np.random.Generator, count: int, options: int) -> pl.Series:
    return pl.Series("_template", rng.integers(0, options, count), dtype=pl.Int64)


def _mentions(rng: np.random.Generator, asked: pl.DataFrame, customers: pl.DataFrame) -> pl.DataFrame:
    """A row for each row of `asked`: what its text can mention, a column for each placeholder of the templates."""
    other = customers["full_name"].gather(rng.integers(0, customers.height, asked.height))
    name = pl.col("full_name").str.splitn(" ", 2)
    first, last = name.struct.field("field_0"), name.struct.field("field_1")
    other_name = pl.col("other").str.splitn(" ", 2)
    people = asked.select("customer_id", "order_id", other=other).join(
        customers, on="customer_id", how="left", maintain_order="left"
    )
    title = pl.Series(["Mr", "Mrs", "Ms", "Dr"]).gather(rng.integers(0, 4, asked.height))
    return people.select(
        "other", "email", "phone", "street", "postcode", "city",
        order=pl.col("order_id").cast(pl.String),
        full=pl.col("full_name"),
        first=first,
        last=last,
        title=title,
        lower=pl.col("full_name").str.to_lowercase(),
        plain=pl.col("full_name").map_elements(plain, return_dtype=pl.String),
        initials=pl.format("{}. {}", first.str.slice(0, 1), last),
        reversed=pl.format("{}, {}", last, first),
        card=pl.col("card_digits").str.slice(-4),
        born=pl.col("birth_date").dt.strftime("%d/%m/%Y"),
        other_first=other_name.struct.field("field_0"),
        other_last=other_name.struct.field("field_1"),
    )  # fmt: skip


def _fill(templates: list[tuple[str, str]], template: pl.Series, mentions: pl.DataFrame) -> pl.DataFrame:
    """Columns `topic` and `text`: each row's template with its own mentions."""
    rows = mentions.with_columns(_template=template).with_row_index("_row")
    parts = []
    for number, (topic, text) in enumerate(templates):
        pieces: list[pl.Expr] = []
        for literal, field, _, _ in Formatter().parse(text):
            pieces += [pl.lit(literal)] + ([pl.col(field)] if field else [])
        chosen = rows.filter(pl.col("_template") == number)
        parts.append(chosen.select("_row", topic=pl.lit(topic), text=pl.concat_str(pieces)))
    return pl.concat(parts).sort("_row").drop("_row")
