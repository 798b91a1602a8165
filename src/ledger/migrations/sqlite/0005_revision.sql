-- Why: what was decided on a refund as it was read is written only where nobody changed it since; this counts the changes.
ALTER TABLE refunds ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;

-- A job is put in, moved and ended with each refund. Here, where one process has the file, nobody asks whose it is: one tree and
-- one index to change instead of four.
CREATE TABLE jobs_in_one_tree (
    kind         TEXT   NOT NULL,
    key          TEXT   NOT NULL,
    due_at       BIGINT NOT NULL,
    lease_until  BIGINT NOT NULL DEFAULT 0,
    attempts     BIGINT NOT NULL DEFAULT 0,
    owner        BIGINT NOT NULL DEFAULT 0,
    news         BIGINT NOT NULL DEFAULT 0,
    looked_at    BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID;
INSERT INTO jobs_in_one_tree (kind, key, due_at, lease_until, attempts, owner, news, looked_at)
SELECT kind, key, due_at, lease_until, attempts, owner, news, looked_at FROM jobs;
DROP TABLE jobs;
ALTER TABLE jobs_in_one_tree RENAME TO jobs;
CREATE INDEX jobs_by_due ON jobs (kind, due_at);
