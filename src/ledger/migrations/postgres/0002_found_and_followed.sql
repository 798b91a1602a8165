-- Why: refunds that were made elsewhere are found and counted (contract §4 rule 9), and the follow-up work of a process that
-- died is taken over at once instead of when its lease ends.

-- the most that the wallet said to have refunded of the order in all
ALTER TABLE orders ADD COLUMN wallet_refunded BIGINT NOT NULL DEFAULT 0;

-- which process has the job in hand, 0 for none; whether there was news of it since it was taken; when it was last taken
ALTER TABLE jobs ADD COLUMN owner BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN news BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN looked_at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX jobs_by_owner ON jobs (owner);
