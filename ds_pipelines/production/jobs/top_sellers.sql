-- Top sellers a second time, written without looking at the module: what the release is compared with.
-- Parameters: %(day)s, the last of the 28 days, and %(zone)s, the business's time zone.
WITH sold AS (
    SELECT product_id, sum(quantity::bigint) AS quantity, sum(quantity * unit_price * (1 - discount)) AS revenue
    FROM order_lines
    WHERE (placed_at AT TIME ZONE %(zone)s)::date BETWEEN %(day)s::date - 27 AND %(day)s::date
    GROUP BY product_id
    HAVING sum(quantity) > 0
), ranked AS (
    SELECT categories.name AS category,
        row_number() OVER (PARTITION BY category_id ORDER BY quantity DESC, revenue DESC, product_id) AS rank,
        product_id, products.name AS product, quantity, round(revenue, 2) AS revenue
    FROM sold JOIN products USING (product_id) JOIN categories USING (category_id)
    WHERE is_product
)
SELECT category, rank::smallint, product_id::bigint, product, quantity, revenue::numeric(14, 2)
FROM ranked WHERE rank <= 5 ORDER BY category, rank
