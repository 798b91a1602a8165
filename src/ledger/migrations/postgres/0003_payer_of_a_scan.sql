-- Why: where the policy asks for the payer-present check, a scan of a payment code keeps who showed it, as an HMAC under
-- the pepper (contract §4 rule 11), to be compared with the order's payer, and to list that payer's orders.

ALTER TABLE scans ADD COLUMN payer_hash TEXT;
CREATE INDEX orders_by_payer ON orders (merchant_id, payer_hash, created_at);
