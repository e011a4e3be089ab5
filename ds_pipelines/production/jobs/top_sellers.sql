-- The independent definition of top_sellers, on production as it is: %(day)s is the business day, %(zone)s its zone.
WITH bought AS (
    SELECT l.order_id, l.quantity, l.quantity * l.unit_price * (1 - l.discount) AS paid, p.*, c.segment AS of_customer
    FROM order_lines l
    JOIN products p ON p.product_id = l.product_id AND p.is_product
    LEFT JOIN customers c ON c.customer_id = l.customer_id
    WHERE l.placed_at >= (%(day)s::date - 27)::timestamp AT TIME ZONE %(zone)s
      AND l.placed_at < (%(day)s::date + 1)::timestamp AT TIME ZONE %(zone)s
), net AS (
    SELECT CASE WHEN grouping(of_customer) = 1 THEN 'all' ELSE of_customer END AS segment,
           category_id, product_id, name, sum(quantity) AS pieces, sum(paid) AS paid
    FROM bought
    GROUP BY GROUPING SETS ((category_id, product_id, name), (of_customer, category_id, product_id, name))
), enough AS (
    SELECT of_customer AS segment, category_id
    FROM bought WHERE quantity > 0
    GROUP BY of_customer, category_id HAVING count(DISTINCT order_id) >= 10
), listed AS (
    SELECT n.*, row_number() OVER (PARTITION BY segment, category_id ORDER BY pieces DESC, paid DESC, product_id) AS place
    FROM net n
    WHERE pieces > 0 AND (segment = 'all' OR (segment, category_id) IN (SELECT segment, category_id FROM enough))
)
SELECT l.segment, c.name, l.place, l.product_id, l.name, l.pieces, round(l.paid, 2)
FROM listed l JOIN categories c USING (category_id)
WHERE l.place <= 5
ORDER BY l.segment COLLATE "C", c.name COLLATE "C", l.place
