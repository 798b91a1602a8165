-- Why: what was decided on a refund as it was read is written only where nobody changed it since; this counts the changes.
ALTER TABLE refunds ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;
