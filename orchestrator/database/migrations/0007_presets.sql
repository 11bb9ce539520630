-- Presets and webhooks of accounts. Columns are only added.
CREATE TABLE imagegen.presets (
    account_id bigint NOT NULL REFERENCES imagegen.accounts ON DELETE CASCADE,
    name text NOT NULL CHECK (name ~ '^[a-z0-9_]{1,64}$'),
    document jsonb NOT NULL,                                         -- parameters of the REST API
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, name)
);
ALTER TABLE imagegen.accounts
    ADD COLUMN webhook_url text,                                     -- of jobs whose request names none
    ADD COLUMN webhook_events text[] NOT NULL DEFAULT '{complete}';  -- what it is told: complete, failed
ALTER TABLE imagegen.jobs
    ADD COLUMN webhook_events text[];                                -- what its webhook is told; NULL: complete
