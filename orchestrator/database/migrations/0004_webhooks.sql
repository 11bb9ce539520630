-- Webhooks: taken in turns by account, listed, sent again; and two secrets while one is rotated. Columns are only added.
ALTER TABLE imagegen.accounts
    ADD COLUMN webhook_secret_before bytea,                          -- signs, too, until webhook_secret_before_until
    ADD COLUMN webhook_secret_before_until timestamptz;
ALTER TABLE imagegen.deliveries
    ADD COLUMN attempts_before integer NOT NULL DEFAULT 0;           -- attempts up to the last time it was sent again
CREATE INDEX deliveries_in_turn ON imagegen.deliveries (account_id, next_at) WHERE state = 'pending';
CREATE INDEX deliveries_by_account ON imagegen.deliveries (account_id, created_at DESC, id DESC);
