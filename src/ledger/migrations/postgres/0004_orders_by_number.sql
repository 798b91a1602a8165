-- Why: an order is looked for by its number before its wallet is known; without this every look read all orders of the merchant.
CREATE INDEX orders_by_number ON orders (merchant_id, order_no);
