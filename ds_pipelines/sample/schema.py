"""The shop's tables: the SQL that makes them, and the same columns as Polars types.

What belongs here: structure. What does not: rows, and who may read them.
"""

from __future__ import annotations

import polars as pl

MARK = "ds_pipelines sample"
"""Comment on each table of the sample: only tables that carry it are ever replaced."""

TABLES_SQL = """
CREATE TABLE categories (
    category_id int NOT NULL,
    name text NOT NULL
);
CREATE TABLE products (
    product_id int NOT NULL,
    stock_code text NOT NULL,
    name text NOT NULL,
    category_id int NOT NULL,
    list_price numeric(10,2) NOT NULL,
    is_product boolean NOT NULL
);
CREATE TABLE customers (
    customer_id bigint NOT NULL,
    full_name text NOT NULL,
    email text NOT NULL,
    phone text NOT NULL,
    street text NOT NULL,
    postcode text NOT NULL,
    city text NOT NULL,
    country text NOT NULL,
    birth_date date NOT NULL,
    national_id text NOT NULL,
    card_digits text NOT NULL,
    segment text NOT NULL,
    newsletter boolean NOT NULL,
    registered_at timestamptz NOT NULL
);
CREATE TABLE orders (
    order_id bigint NOT NULL,
    customer_id bigint,
    placed_at timestamptz NOT NULL,
    kind text NOT NULL,
    channel text NOT NULL,
    ship_postcode text NOT NULL,
    ship_city text NOT NULL,
    payment text NOT NULL
);
CREATE TABLE order_lines (
    order_line_id bigint NOT NULL,
    order_id bigint NOT NULL,
    customer_id bigint,
    product_id int NOT NULL,
    placed_at timestamptz NOT NULL,
    quantity int NOT NULL,
    unit_price numeric(10,2) NOT NULL,
    discount numeric(4,3) NOT NULL,
    tax_rate numeric(4,3) NOT NULL,
    channel text NOT NULL,
    ship_postcode text NOT NULL,
    gift_message text
);
CREATE TABLE tickets (
    ticket_id bigint NOT NULL,
    customer_id bigint NOT NULL,
    order_id bigint,
    opened_at timestamptz NOT NULL,
    topic text NOT NULL,
    body text NOT NULL,
    minutes_to_answer int NOT NULL,
    mood text NOT NULL
);
"""

CONSTRAINTS_SQL = """
ALTER TABLE categories ADD PRIMARY KEY (category_id);
ALTER TABLE products ADD PRIMARY KEY (product_id), ADD UNIQUE (stock_code),
    ADD FOREIGN KEY (category_id) REFERENCES categories;
ALTER TABLE customers ADD PRIMARY KEY (customer_id),
    ADD CHECK (segment IN ('private', 'business', 'trade'));
ALTER TABLE orders ADD PRIMARY KEY (order_id),
    ADD FOREIGN KEY (customer_id) REFERENCES customers,
    ADD CHECK (kind IN ('sale', 'return'));
ALTER TABLE order_lines ADD PRIMARY KEY (order_line_id),
    ADD FOREIGN KEY (order_id) REFERENCES orders,
    ADD FOREIGN KEY (product_id) REFERENCES products;
ALTER TABLE tickets ADD PRIMARY KEY (ticket_id),
    ADD FOREIGN KEY (customer_id) REFERENCES customers,
    ADD FOREIGN KEY (order_id) REFERENCES orders,
    ADD CHECK (mood IN ('satisfied', 'dissatisfied'));
CREATE INDEX orders_placed_at ON orders (placed_at);
CREATE INDEX order_lines_placed_at ON order_lines (placed_at);
CREATE INDEX tickets_opened_at ON tickets (opened_at);
"""
"""Applied once the rows are in: an index built whole is faster than one kept up row by row."""

_INSTANT = pl.Datetime("us", "UTC")

COLUMNS: dict[str, dict[str, pl.DataType]] = {
    "categories": {"category_id": pl.Int32(), "name": pl.String()},
    "products": {
        "product_id": pl.Int32(),
        "stock_code": pl.String(),
        "name": pl.String(),
        "category_id": pl.Int32(),
        "list_price": pl.Decimal(10, 2),
        "is_product": pl.Boolean(),
    },
    "customers": {
        "customer_id": pl.Int64(),
        "full_name": pl.String(),
        "email": pl.String(),
        "phone": pl.String(),
        "street": pl.String(),
        "postcode": pl.String(),
        "city": pl.String(),
        "country": pl.String(),
        "birth_date": pl.Date(),
        "national_id": pl.String(),
        "card_digits": pl.String(),
        "segment": pl.String(),
        "newsletter": pl.Boolean(),
        "registered_at": _INSTANT,
    },
    "orders": {
        "order_id": pl.Int64(),
        "customer_id": pl.Int64(),
        "placed_at": _INSTANT,
        "kind": pl.String(),
        "channel": pl.String(),
        "ship_postcode": pl.String(),
        "ship_city": pl.String(),
        "payment": pl.String(),
    },
    "order_lines": {
        "order_line_id": pl.Int64(),
        "order_id": pl.Int64(),
        "customer_id": pl.Int64(),
        "product_id": pl.Int32(),
        "placed_at": _INSTANT,
        "quantity": pl.Int32(),
        "unit_price": pl.Decimal(10, 2),
        "discount": pl.Decimal(4, 3),
        "tax_rate": pl.Decimal(4, 3),
        "channel": pl.String(),
        "ship_postcode": pl.String(),
        "gift_message": pl.String(),
    },
    "tickets": {
        "ticket_id": pl.Int64(),
        "customer_id": pl.Int64(),
        "order_id": pl.Int64(),
        "opened_at": _INSTANT,
        "topic": pl.String(),
        "body": pl.String(),
        "minutes_to_answer": pl.Int32(),
        "mood": pl.String(),
    },
}
"""Columns in the order of the SQL; tables in an order in which foreign keys hold."""

TRUTH: dict[str, pl.DataType] = {
    "customer_id": pl.Int64(),
    "propensity": pl.Float64(),
    "habit": pl.Float64(),
    "left_on": pl.Date(),
}


def conform(table: str, frame: pl.DataFrame) -> pl.DataFrame:
    """The table's columns, in its order and of its types; other columns are left behind."""
    columns = COLUMNS[table]
    return frame.select(pl.col(name).cast(dtype) for name, dtype in columns.items()).rechunk()


def money(pence: pl.Expr) -> pl.Expr:
    """Whole pence as exact pounds."""
    return (pence.cast(pl.Decimal(14, 2)) / 100).cast(pl.Decimal(10, 2))
