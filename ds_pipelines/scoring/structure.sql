-- The serving database's own tables: who delivers what, the receipts, and their order. Run by the scoring's role.

CREATE TABLE jobs (
    job text PRIMARY KEY,
    "table" text NOT NULL UNIQUE,
    description text NOT NULL,
    zone text NOT NULL,
    deadline time NOT NULL,
    today date
);
COMMENT ON TABLE jobs IS 'What is delivered here, and until when on the next day consumers shall have it';
COMMENT ON COLUMN jobs.today IS 'The business''s today, where its data has ended; null: the clock''s';

CREATE SEQUENCE batches;

CREATE TABLE beginnings (one boolean PRIMARY KEY DEFAULT true CHECK (one), last timestamptz NOT NULL);
INSERT INTO beginnings (last) VALUES (clock_timestamp());
COMMENT ON TABLE beginnings IS 'The last moment that a run was given as its beginning; later runs get later ones';

CREATE TABLE receipts (
    job text NOT NULL,
    day date NOT NULL,
    delivery uuid NOT NULL UNIQUE,
    release text NOT NULL,
    code text NOT NULL,
    rows bigint NOT NULL CHECK (rows > 0),
    checksum text NOT NULL,
    inputs jsonb NOT NULL,
    checks jsonb NOT NULL,
    began timestamptz NOT NULL,
    delivered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    replaces uuid,
    restores uuid,
    added bigint,
    removed bigint,
    changed bigint,
    batch bigint NOT NULL,
    PRIMARY KEY (job, day)
);
COMMENT ON TABLE receipts IS 'One row a job and day: what consumers see of it, and what it was made from';
COMMENT ON COLUMN receipts.began IS 'Before anything was read for it; a delivery that began earlier never replaces it';
COMMENT ON COLUMN receipts.checksum IS
    'SHA-256, in hex, of what COPY (SELECT the columns but day and release FROM the job''s view WHERE day = …
ORDER BY its key, texts by COLLATE "C") TO STDOUT (FORMAT csv) gives';
COMMENT ON COLUMN receipts.restores IS 'The delivery whose rows were brought back, if they were not computed anew';
COMMENT ON COLUMN receipts.changed IS 'Rows that the delivery which this one replaced had with another value';
COMMENT ON COLUMN receipts.batch IS 'The rows of the delivery, in the job''s table of rows';

CREATE TABLE receipts_replaced (
    LIKE receipts,
    replaced_at timestamptz NOT NULL,
    kept boolean NOT NULL,
    PRIMARY KEY (delivery)
);
CREATE INDEX ON receipts_replaced (job, day);
CREATE INDEX ON receipts_replaced (job) WHERE kept;
COMMENT ON TABLE receipts_replaced IS 'Receipts of deliveries that a later delivery of the same day replaced';
COMMENT ON COLUMN receipts_replaced.kept IS 'Whether the rows are there still, to be compared with and restored';

-- Whoever replaces a receipt: only by a run that began later, and never without keeping the old one.
CREATE FUNCTION replace_receipt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.began <= OLD.began THEN
        RAISE EXCEPTION 'a delivery never replaces one that began later' USING ERRCODE = 'DS001';
    END IF;
    NEW.replaces := OLD.delivery;
    INSERT INTO receipts_replaced SELECT OLD.*, clock_timestamp(), true;
    RETURN NEW;
END $$;
CREATE TRIGGER replaced BEFORE UPDATE ON receipts FOR EACH ROW
    WHEN (NEW.delivery IS DISTINCT FROM OLD.delivery) EXECUTE FUNCTION replace_receipt();

CREATE TABLE erasures (
    job text NOT NULL,
    day date NOT NULL,
    delivery uuid,
    rows bigint NOT NULL,
    erased_at timestamptz NOT NULL
);
COMMENT ON TABLE erasures IS 'Deliveries that lost rows of erased persons; their receipts tell what is left';

CREATE VIEW corrections AS
SELECT now.job, now.day, now.delivered_at, now.delivery, now.replaces, now.restores,
       old.release AS release_before, now.release, old.rows AS rows_before, now.rows,
       now.added, now.removed, now.changed
FROM (
    SELECT job, day, delivered_at, delivery, replaces, restores, release, rows, added, removed, changed FROM receipts
    UNION ALL
    SELECT job, day, delivered_at, delivery, replaces, restores, release, rows, added, removed, changed
    FROM receipts_replaced
) AS now JOIN receipts_replaced AS old ON old.delivery = now.replaces;
COMMENT ON VIEW corrections IS 'Every time that a day which was delivered became another, and how many rows of it';

CREATE VIEW freshness AS
SELECT job, "table", newest.day, newest.delivered_at, owed.day AS owed, coalesce(newest.day < owed.day, true) AS stale
FROM jobs
LEFT JOIN LATERAL (
    SELECT day, delivered_at FROM receipts WHERE receipts.job = jobs.job ORDER BY day DESC LIMIT 1
) AS newest ON true
CROSS JOIN LATERAL (
    SELECT (coalesce(today + time '12:00', now() AT TIME ZONE zone) - (deadline - time '00:00'))::date - 1 AS day
) AS owed;
COMMENT ON VIEW freshness IS 'The newest delivered day of each job, and whether a newer one was due by now';
