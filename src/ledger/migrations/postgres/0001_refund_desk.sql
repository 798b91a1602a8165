-- Why: the first tables of the desk. Money is BIGINT minor units, time BIGINT Unix microseconds, ids and JSON are TEXT,
-- so that nothing behaves differently on the two engines. The ceiling of contract §4 rule 1 is a CHECK: the database
-- itself refuses to refund more than was paid.

CREATE TABLE orders (
    id                  TEXT   NOT NULL PRIMARY KEY,
    merchant_id         TEXT   NOT NULL,
    wallet              TEXT   NOT NULL,
    order_no            TEXT   NOT NULL,
    transaction_id      TEXT,
    aliases             TEXT   NOT NULL DEFAULT '[]',
    amount              BIGINT NOT NULL CHECK (amount >= 0),
    currency            TEXT   NOT NULL,
    refunded            BIGINT NOT NULL DEFAULT 0 CHECK (refunded >= 0),
    reserved            BIGINT NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    fees                BIGINT NOT NULL DEFAULT 0 CHECK (fees >= 0),
    paid_back           BIGINT NOT NULL DEFAULT 0 CHECK (paid_back >= refunded),
    payment             TEXT   NOT NULL CHECK (payment IN ('unpaid', 'paid', 'closed', 'voided')),
    kind                TEXT   NOT NULL CHECK (kind IN ('sale', 'preorder')),
    paid_at             BIGINT,
    starts_at           BIGINT,
    store_id            TEXT,
    terminal_id         TEXT,
    payer_hash          TEXT,
    trade_type          TEXT,
    frozen              BIGINT NOT NULL DEFAULT 0,
    refunded_elsewhere  BIGINT NOT NULL DEFAULT 0,
    checked_at          BIGINT,
    refund_count        BIGINT NOT NULL DEFAULT 0 CHECK (refund_count >= 0),
    -- the pace between different refunds (contract §4 rule 8): whose turn it was, and when the next may go
    pace_refund_id      TEXT,
    pace_open_at        BIGINT NOT NULL DEFAULT 0,
    registration        TEXT,
    created_at          BIGINT NOT NULL,
    updated_at          BIGINT NOT NULL,
    CHECK (refunded + reserved + fees <= amount),
    UNIQUE (merchant_id, wallet, order_no)
);
CREATE INDEX orders_by_transaction ON orders (merchant_id, transaction_id);
CREATE INDEX orders_by_creation ON orders (merchant_id, created_at, id);

CREATE TABLE order_aliases (
    order_id     TEXT NOT NULL REFERENCES orders (id),
    merchant_id  TEXT NOT NULL,
    alias        TEXT NOT NULL,
    PRIMARY KEY (order_id, alias)
);
CREATE INDEX order_aliases_by_alias ON order_aliases (merchant_id, alias);

CREATE TABLE refunds (
    refund_id          TEXT   NOT NULL PRIMARY KEY,
    order_id           TEXT   NOT NULL REFERENCES orders (id),
    merchant_id        TEXT   NOT NULL,
    wallet             TEXT   NOT NULL,
    order_no           TEXT   NOT NULL,
    kind               TEXT   NOT NULL CHECK (kind IN ('refund', 'void')),
    origin             TEXT   NOT NULL CHECK (origin IN ('desk', 'external')),
    wallet_request_no  TEXT   NOT NULL,
    wallet_refund_id   TEXT,
    amount             BIGINT NOT NULL CHECK (amount > 0),
    fee                BIGINT NOT NULL CHECK (fee >= 0),
    currency           TEXT   NOT NULL,
    state              TEXT   NOT NULL CHECK (state IN ('awaiting_approval', 'submitting', 'processing', 'succeeded',
                                                        'failed', 'abnormal', 'declined', 'cancelled')),
    reason             TEXT   NOT NULL,
    reason_text        TEXT   NOT NULL,
    note               TEXT,
    operator_id        TEXT,
    approved_by        TEXT,
    asked_by           TEXT   NOT NULL,
    scan_id            TEXT,
    replaces           TEXT   UNIQUE,
    metadata           TEXT,
    not_before         BIGINT,
    -- every send is counted before it is made; a claim older than the newest fence can't record
    sends              BIGINT NOT NULL DEFAULT 0,
    fence              BIGINT NOT NULL DEFAULT 0,
    lease_until        BIGINT NOT NULL DEFAULT 0,
    last_sent_at       BIGINT,
    created_at         BIGINT NOT NULL,
    submitted_at       BIGINT,
    settled_at         BIGINT,
    failure_code       TEXT,
    failure_detail     TEXT,
    attention          TEXT,
    attention_since    BIGINT,
    -- part of the call: a repeat is the same byte for byte, whatever the settings of the day
    notify_url         TEXT,
    -- a refusal of the only send that a query must still confirm; a further send clears it
    refused_code       TEXT,
    refused_detail     TEXT,
    refused_proof      TEXT CHECK (refused_proof IN ('absence', 'absence_and_pace')),
    UNIQUE (merchant_id, wallet, wallet_request_no)
);
CREATE INDEX refunds_by_order ON refunds (order_id);
CREATE INDEX refunds_by_creation ON refunds (merchant_id, created_at, refund_id);

-- what happened to a refund; rows never change
CREATE TABLE refund_events (
    seq        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    refund_id  TEXT   NOT NULL REFERENCES refunds (refund_id),
    at         BIGINT NOT NULL,
    event      TEXT   NOT NULL,
    by_whom    TEXT   NOT NULL,
    note       TEXT
);
CREATE INDEX refund_events_by_refund ON refund_events (refund_id, seq);

-- who did what; rows never change
CREATE TABLE audit (
    seq          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at           BIGINT NOT NULL,
    merchant_id  TEXT   NOT NULL,
    actor        TEXT   NOT NULL,
    action       TEXT   NOT NULL,
    subject      TEXT   NOT NULL,
    detail       TEXT
);

-- the last word on Idempotency-Keys (contract §4 rule 2)
CREATE TABLE idempotency_keys (
    merchant_id  TEXT   NOT NULL,
    key          TEXT   NOT NULL,
    fingerprint  TEXT   NOT NULL,
    refund_id    TEXT   NOT NULL REFERENCES refunds (refund_id),
    lease_until  BIGINT NOT NULL,
    status       BIGINT,
    body         TEXT,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, key)
);

-- work that must be done although the process dies: one row a piece, leased while somebody does it
CREATE TABLE jobs (
    kind         TEXT   NOT NULL,
    key          TEXT   NOT NULL,
    due_at       BIGINT NOT NULL,
    lease_until  BIGINT NOT NULL DEFAULT 0,
    attempts     BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (kind, key)
);
CREATE INDEX jobs_by_due ON jobs (kind, due_at);

-- what a terminal showed; never the text of a payment code
CREATE TABLE scans (
    scan_id      TEXT   NOT NULL PRIMARY KEY,
    merchant_id  TEXT   NOT NULL,
    token_id     TEXT   NOT NULL,
    terminal_id  TEXT,
    subject      TEXT   NOT NULL CHECK (subject IN ('payment_code', 'order', 'transaction', 'voucher', 'unknown')),
    wallet       TEXT,
    order_id     TEXT   REFERENCES orders (id),
    created_at   BIGINT NOT NULL,
    used_by      TEXT   REFERENCES refunds (refund_id)
);

CREATE TABLE tokens (
    id           TEXT   NOT NULL PRIMARY KEY,
    hash         TEXT   NOT NULL UNIQUE,
    role         TEXT   NOT NULL CHECK (role IN ('terminal', 'merchant', 'auditor', 'admin')),
    merchant_id  TEXT   NOT NULL,
    terminal_id  TEXT,
    store_id     TEXT,
    name         TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    revoked_at   BIGINT
);

CREATE TABLE operators (
    merchant_id   TEXT   NOT NULL,
    operator_id   TEXT   NOT NULL,
    role          TEXT   NOT NULL CHECK (role IN ('cashier', 'manager', 'finance')),
    pin_hash      TEXT   NOT NULL,
    wrong_pins    BIGINT NOT NULL DEFAULT 0,
    locked_until  BIGINT,
    created_at    BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, operator_id)
);

CREATE TABLE webhook_endpoints (
    id             TEXT   NOT NULL PRIMARY KEY,
    merchant_id    TEXT   NOT NULL,
    url            TEXT   NOT NULL,
    types          TEXT,
    sealed_secret  TEXT   NOT NULL,
    created_at     BIGINT NOT NULL,
    deleted_at     BIGINT
);
CREATE INDEX webhook_endpoints_by_merchant ON webhook_endpoints (merchant_id, deleted_at);

-- the outbox: written in the transaction of the change that it tells of
CREATE TABLE webhook_deliveries (
    seq          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id           TEXT   NOT NULL UNIQUE,
    endpoint_id  TEXT   NOT NULL REFERENCES webhook_endpoints (id),
    merchant_id  TEXT   NOT NULL,
    subject      TEXT   NOT NULL,
    event_type   TEXT   NOT NULL,
    body         TEXT   NOT NULL,
    state        TEXT   NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'parked')),
    attempts     BIGINT NOT NULL DEFAULT 0,
    due_at       BIGINT NOT NULL,
    lease_until  BIGINT NOT NULL DEFAULT 0,
    last_error   TEXT,
    created_at   BIGINT NOT NULL,
    delivered_at BIGINT
);
CREATE INDEX webhook_deliveries_by_due ON webhook_deliveries (state, due_at);
CREATE INDEX webhook_deliveries_by_subject ON webhook_deliveries (endpoint_id, subject, seq);
